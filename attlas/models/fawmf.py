"""FAWMF: every cell weighs what the chance is that it was seen, learned by communities (Chen et al., AAAI 2020).

paper             here                       shape
u_i, v_j          user, item tables          [B, D]
theta_i           share_BC                   communities of a user, a softmax of membership
alpha_l           influence                  [V]
s_jd              evidence_IC                what a community has chosen of an item
w_j, b_j          item_weight, item_bias     [I]
phi_jd            exposure_IC                sigmoid(w_j s_jd + b_j): how likely a community comes across an item
gamma_ij          gamma                      theta_i . phi_j: how likely a user does
mu, lambda        prior, precision
eps, eta          unseen_mean, unseen_precision

The objective over all users and items, r = 1 where an item was chosen, else 0, x = u_i . v_j:

    sum of gamma (x - r)^2 + eta (1 - gamma) (eps - r)^2 + 2/lambda KL(gamma, mu) + penalties

Shapes: B pairs, D embedding, C communities, V users of a block, I items, T interactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import History, Inputs, Sizes
from attlas.models.fawmf_solvers import FBGD, HELD_BACK, USER_SIDE, Alternating, admit_items, flipped, start
from attlas.models.layers import embedding
from attlas.ops.exposure import CellCost, exposed_error, mixed_grams, responsibilities
from attlas.ops.gram import inner_products
from attlas.ops.mixed_ridge import mixed_ridge_rows
from attlas.ops.ragged import Ragged
from attlas.ops.segments import segment_sum
from attlas.spaces import Choice, Space, Span

FOLD_STEPS = 20  # of expectation maximisation


class FAWMF(nn.Module):
    """Inner products fitted to the whole matrix, each cell by the chance that its user came across its item."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding", "membership")
    reasons: ClassVar[Literal["contribution"]] = "contribution"
    exposure_table: Tensor

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters, and what its sources leave open.

        Attributes:
            embedding_dim: the size of both tables of factors.
            num_communities: how many communities share their exposure.
            rank: by ``preference`` alone, or by ``expected`` choice, which is preference times gamma.
            kl: what keeps gamma from ending at the matrix itself: ``exact`` takes gamma for the prior too, so that a chosen
                pair was seen for sure and any other with chance gamma; ``bound`` is an upper bound of the divergence from a
                prior of its own; ``none`` leaves it out, as the authors' code does.
            prior: of ``bound``: ``constant`` for all pairs; by ``popularity``, prior_exposure for the most chosen item and in
                proportion for the others; ``learned``, one per item that begins there.
            prior_exposure: mu, the chance of coming across an item before anything is known; also of ``exact``, where it is
                what exposures are held up to as if so many more had been chosen.
            precision: lambda, how exactly scores are held to fit; the larger, the less the prior counts.
            exposure_cost: of ``exact``: what it costs, in nats, to believe that an item was seen and not chosen; exposures are
                about the share of pairs that was chosen, over this, plus prior_exposure.
            unseen_mean: eps, what a pair that was not seen is expected to hold.
            unseen_precision: eta, how its error counts beside that of a pair that was seen; of ``bound`` and ``none``.
            evidence: ``sum`` over all who chose an item; ``mean``, their share in each community; ``sqrt``, between the two.
            influence: alpha of each user, ``learned`` or ``one`` for all.
            signs: ``positive`` keeps item_weight and influence above zero, ``free`` lets them be.
            l2: the penalty on squared factors.
            l2_exponent: with 0 all rows have the same penalty, with 1 it grows with what they have to fit: their choices and
                prior_exposure of all else.
            membership_l2: the penalty on the logits of memberships.
            exposure_l2: the penalty on item_weight and item_bias.
            stddev: spread of a vector of factors at the start, about.
            membership_stddev: spread of the logits of memberships at the start.
            start: ``mixture`` begins with communities that draw the choices of their members, found by expectation maximisation
                from there, and with exposures in proportion; ``random`` descends from there.
        """

        embedding_dim: int = Field(default=64, ge=1)
        num_communities: int = Field(default=10, ge=1)
        rank: Literal["preference", "expected"] = "expected"
        kl: Literal["exact", "bound", "none"] = "exact"
        prior: Literal["constant", "popularity", "learned"] = "popularity"
        prior_exposure: float = Field(default=0.03, gt=0, lt=1)
        precision: float = Field(default=20.0, gt=0)
        exposure_cost: float = Field(default=3.0, gt=0)
        unseen_mean: float = Field(default=1e-5, ge=0, lt=1)
        unseen_precision: float = Field(default=1.0, gt=0)
        evidence: Literal["sum", "mean", "sqrt"] = "mean"
        influence: Literal["learned", "one"] = "one"
        signs: Literal["positive", "free"] = "positive"
        l2: float = Field(default=0.03, ge=0)
        l2_exponent: float = Field(default=1.0, ge=0)
        membership_l2: float = Field(default=0.0005, ge=0)
        exposure_l2: float = Field(default=0.0, ge=0)
        stddev: float = Field(default=0.1, gt=0)
        membership_stddev: float = Field(default=0.5, gt=0)
        start: Literal["mixture", "random"] = "mixture"

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((32, 64, 128)),
        "model.prior_exposure": Span(0.001, 0.8, log=True),
        "model.exposure_cost": Span(0.1, 30.0, log=True),
        "model.l2": Span(0.0003, 0.3, log=True),
        "model.rank": Choice(("preference", "expected")),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or FAWMF.Config()
        users, items, communities = sizes.num_users, sizes.num_items, config.num_communities
        stddev = config.stddev / config.embedding_dim**0.5
        self.user_embedding = embedding(users, config.embedding_dim, stddev=stddev)
        self.item_embedding = embedding(items, config.embedding_dim, stddev=stddev)
        self.user_embedding.weight.data.abs_()
        self.item_embedding.weight.data.abs_()
        self.membership = embedding(users, communities, stddev=config.membership_stddev)
        self.influence = nn.Parameter(torch.ones(users), requires_grad=config.influence == "learned")
        self.item_weight = nn.Parameter(torch.empty(items).uniform_(0.01, 0.02))
        self.item_bias = nn.Parameter(torch.empty(items).uniform_(-0.5, 0.5))
        prior_I, is_learned = torch.full((items,), config.prior_exposure), config.kl == "bound" and config.prior == "learned"
        self.prior_logit = nn.Parameter(prior_I.logit(), requires_grad=is_learned)
        self.register_buffer("exposure_table", torch.full((items, communities), config.prior_exposure))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """u_i . v_j, times gamma_ij if that ranks, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """The factors of each user and the communities, [B, D + C]."""
        return torch.cat([self.user_embedding(user), self.communities(user)], dim=-1)

    def encode_item(self, item: Tensor) -> Tensor:
        """The factors of each item and its exposure in each community, [B, D + C]."""
        return torch.cat([self.item_embedding(item), self.exposure(item)], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """The inner product of the factors, times that of the rest if gamma ranks too; leading dimensions broadcast."""
        product = user_code * item_code
        preference, gamma = product.split([self.config.embedding_dim, self.config.num_communities], dim=-1)
        return preference.sum(-1) * gamma.sum(-1) if self.config.rank == "expected" else preference.sum(-1)

    def score_catalogue(self, user: Tensor) -> Tensor:
        """The whole catalogue, [V, I]."""
        score_VI = self.user_embedding(user) @ self.item_embedding.weight.T
        return score_VI * (self.communities(user) @ self.exposure_table.T) if self.config.rank == "expected" else score_VI

    def communities(self, user: Tensor) -> Tensor:
        """How far each user belongs to each community, [B, C]; rows sum to 1."""
        return self.membership(user).softmax(-1)

    def exposure(self, item: Tensor) -> Tensor:
        """How likely each community comes across each item, [B, C] in (0, 1)."""
        return self.exposure_table.index_select(0, item)

    def preference(self, user: Tensor, item: Tensor) -> Tensor:
        """u_i . v_j, [B]: near 1 what is liked once seen, near 0 what is not."""
        return (self.user_embedding(user) * self.item_embedding(item)).sum(-1)

    def gamma(self, user: Tensor, item: Tensor) -> Tensor:
        """How likely each user came across each item, [B] in (0, 1)."""
        return (self.communities(user) * self.exposure(item)).sum(-1)

    def begin(self, data: Inputs) -> None:
        """Take the prior from the items' popularity and, if so set, the first memberships and exposures from a mixture."""
        start(self, data)

    @torch.no_grad()
    def settle(self, data: Inputs) -> None:
        """Work out the exposures that scores are made of, once the network has changed."""
        parts = dict(self.named_parameters())
        self.exposure_table.copy_(self.exposures(parts, self.evidence(parts, data.item_lists), data))

    def evidence(self, parts: Mapping[str, Tensor], choosers: Ragged) -> Tensor:
        """sum over l of alpha_l theta_ld r_lj, [I, C], over the users who are listed for each item."""
        return segment_sum(parts["influence"][:, None] * parts["membership.weight"].softmax(-1), choosers)

    def scaled(self, evidence_IC: Tensor, choosers: Ragged) -> Tensor:
        """The evidence of the users who are listed for each item, divided as the settings say."""
        length_I = choosers.length.clamp(min=1).to(evidence_IC)
        return evidence_IC * (length_I ** -{"sum": 0.0, "sqrt": 0.5, "mean": 1.0}[self.config.evidence])[:, None]

    def exposures(self, parts: Mapping[str, Tensor], evidence_IC: Tensor, data: Inputs) -> Tensor:
        """sigmoid(w_j s_jd + b_j), [I, C]."""
        return (
            parts["item_weight"][:, None] * self.scaled(evidence_IC, data.item_lists) + parts["item_bias"][:, None]
        ).sigmoid()

    def cost(self) -> CellCost:
        """What a cell costs, by the settings."""
        config, weight = self.config, 2 / self.config.precision
        if config.kl == "exact":
            return CellCost(is_certain=True, surprise=weight, toll=weight * config.exposure_cost)
        return CellCost(config.unseen_mean, config.unseen_precision)

    def divergence(self, share_VC: Tensor, exposure_IC: Tensor, prior_logit_I: Tensor) -> Tensor:
        """An upper bound of the sum of KL(gamma_ij, mu_j): sum over d of theta_id KL(phi_jd, mu_j), for it is convex."""
        own_IC = exposure_IC.clamp(1e-7, 1 - 1e-7)
        entropy_IC = own_IC * own_IC.log() + (1 - own_IC) * (1 - own_IC).log()
        kl_IC = entropy_IC - own_IC * prior_logit_I[:, None] + functional.softplus(prior_logit_I)[:, None]
        return share_VC.sum(0) @ kl_IC.sum(0)

    def expectation(self, share_VC: Tensor, exposure_IC: Tensor) -> Tensor:
        """What keeps exposures of the divergence ``exact`` from zero: as if a pair in 1 / (kappa mu) more had been chosen."""
        strength = self.config.exposure_cost * self.config.prior_exposure
        return -strength * (share_VC.sum(0) @ exposure_IC.clamp_min(1e-7).log().sum(0))

    def penalty(self, length_G: Tensor, width: int) -> Tensor:
        """What each row's squared factors cost, [G], by how much it has to fit: its choices, and what it may have seen."""
        mass_G = (length_G + self.config.prior_exposure * width).to(self.item_bias)
        return self.config.l2 * mass_G**self.config.l2_exponent

    def tensors(self, users: Tensor | None = None, names: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """Everything learned, by name, ready for gradients where it is among the names; of some users their rows only."""
        parts = {}
        for name, parameter in self.named_parameters():
            part = parameter.detach()
            if users is not None and name in USER_SIDE:
                part = part.index_select(0, users)
            parts[name] = part.requires_grad_(parameter.requires_grad and (names is None or name in names))
        return parts

    def objective(
        self, parts: Mapping[str, Tensor], data: Inputs, *, users: Tensor | None = None, evidence_IC: Tensor | None = None
    ) -> Tensor:
        """The whole objective; of some users their share of it, with the evidence of all, in which theirs can move.

        Args:
            parts: of ``tensors``, for the same users.
        """
        config, lists = self.config, data.user_lists if users is None else data.user_lists.take(users)
        mine_IC = self.evidence(parts, data.item_lists if users is None else flipped(lists))
        moving_IC = data.sizes.num_users / lists.count * (mine_IC - mine_IC.detach())  # zero; a block's errors stand for all
        evidence_IC = mine_IC if evidence_IC is None else evidence_IC + moving_IC
        share_VC, exposure_IC = parts["membership.weight"].softmax(-1), self.exposures(parts, evidence_IC, data)
        user_VD, item_ID = parts["user_embedding.weight"], parts["item_embedding.weight"]
        total = exposed_error(user_VD, share_VC, item_ID, exposure_IC, lists, self.cost())
        if config.kl == "bound":
            total = total + 2 / config.precision * self.divergence(share_VC, exposure_IC, parts["prior_logit"])
        elif config.kl == "exact":
            total = total + 2 / config.precision * self.expectation(share_VC, exposure_IC)
        user_penalty = self.penalty(lists.length, lists.width) @ user_VD.square().sum(-1)
        user_penalty = user_penalty + config.membership_l2 * parts["membership.weight"].square().sum()
        network = config.exposure_l2 * (parts["item_weight"].square().sum() + parts["item_bias"].square().sum())
        item_penalty = network + self.penalty(data.item_lists.length, data.item_lists.width) @ item_ID.square().sum(-1)
        return total + user_penalty + len(user_VD) / data.sizes.num_users * item_penalty

    def factors(
        self, other_ED: Tensor, other_share_EC: Tensor, rows: Ragged, share_GC: Tensor, begin_GD: Tensor, steps: int | None
    ) -> Tensor:
        """The factors of one side given those of the other, [G, D]: solved exactly, or a few steps of conjugate gradients.

        (sum over d of theta_d B_d + penalty I) u = sum over the chosen of gamma v; a pair seen for sure has 1 for gamma.
        """
        gamma_T = inner_products(share_GC, other_share_EC, rows)
        weight_T, target_T = (1 - gamma_T, torch.ones_like(gamma_T)) if self.config.kl == "exact" else (None, gamma_T)
        gram_DCD, penalty_G = mixed_grams(other_ED, other_share_EC), self.penalty(rows.length, rows.width)
        return mixed_ridge_rows(other_ED, rows, weight_T, target_T, gram_DCD, share_GC, penalty_G, begin_GD, steps=steps)

    def attention(self, user: Tensor, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry of the one history adds to the score of the one item, for the factors that solve for it, [T].

        With A the matrix of that solve, u . v_i is the sum over the history of gamma_uj v_i' A^-1 v_j.
        """
        item_ID, share_1C = self.item_embedding.weight, self.communities(user)
        chosen_T = user_history.distinct[user_history.index]
        chosen_TD, gamma_T = item_ID[chosen_T], (self.exposure(chosen_T) * share_1C).sum(-1)
        normal_DD = torch.einsum("c,kcl->kl", share_1C[0], mixed_grams(item_ID, self.exposure_table))
        normal_DD = normal_DD + self.penalty(user_history.length, len(item_ID)) * torch.eye(len(normal_DD)).to(normal_DD)
        if self.config.kl == "exact":
            normal_DD, gamma_T = normal_DD + chosen_TD.T @ ((1 - gamma_T)[:, None] * chosen_TD), torch.ones_like(gamma_T)
        added_T = gamma_T * (chosen_TD @ torch.linalg.solve(normal_DD, item_ID[item[0]]))
        return {"user_history": added_T * self.gamma(user, item) if self.config.rank == "expected" else added_T}

    @torch.no_grad()
    def fold_in(self, user_history: History) -> Tensor:
        """Factors and logits of memberships of each asking list, [B, D + C].

        Communities are the shares of a mixture that draws items as its communities come across them, by expectation
        maximisation. Given them, the factors are one exact solve.
        """
        mine, item_ID = user_history.lists.take(user_history.row), self.item_embedding.weight
        chosen = Ragged(mine.start, user_history.distinct[mine.index], len(item_ID))
        emission_IC, even = self.exposure_table / self.exposure_table.sum(0), 1 / self.config.num_communities
        share_BC = item_ID.new_full((chosen.count, self.config.num_communities), even)
        for _ in range(FOLD_STEPS):
            drawn_BC = responsibilities(share_BC, emission_IC, chosen)
            share_BC = (drawn_BC + HELD_BACK * even) / (chosen.length[:, None] + HELD_BACK)
        begin_BD = item_ID.new_zeros(chosen.count, item_ID.shape[1])
        return torch.cat([self.factors(item_ID, self.exposure_table, chosen, share_BC, begin_BD, None), share_BC.log()], dim=1)

    admit = admit_items
    Solvers: ClassVar[dict[str, Any]] = {"als": Alternating, "fbgd": FBGD}
