"""iALS: matrix factorisation that weighs every cell, observed or not (Hu, Koren & Volinsky, ICDM 2008; Rendle et al. 2022).

paper             here                   shape
w_u, h_i          user, item tables      [B, D]
alpha_0           unobserved_weight      how much a cell weighs because it is there
alpha, r_ui       weight_T               [T]       how much an observed cell weighs besides
lambda, nu        l2, l2_exponent
h_i'h_i summed    gram                   D x D     the Gram matrix of one side, made once per half sweep

A half sweep holds one side and solves a ridge regression for each row of the other:

    (alpha_0 H'H + sum over R_u of a_ui h_i h_i' + lambda_u I) w_u = sum over R_u of t_ui h_i
    lambda_u = lambda (|R_u| + alpha_0 |I|)^nu

Shapes: B pairs, D embedding, G rows of one side, E rows of the other, T interactions, I items, V users.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, Inputs, Sizes
from attlas.models.layers import embedding
from attlas.ops.gram import inner_products
from attlas.ops.ragged import Ragged
from attlas.ops.ridge import ridge_rows, ridge_rows_nearly
from attlas.spaces import Choice, Space, Span


class IALS(nn.Module):
    """The score is the inner product of two vectors; alternating ridge regressions fit them to the whole matrix."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding",)
    is_inner_product: ClassVar[bool] = True
    reasons: ClassVar[Literal["contribution"]] = "contribution"

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The papers' hyper-parameters.

        Attributes:
            embedding_dim: D, the size of both tables.
            alpha: what an observed pair weighs, times its count where counts are known.
            unobserved_weight: alpha_0, what every cell weighs; small for sparse data and large catalogues.
            zeros: whether the pull towards zero holds ``everywhere`` (Rendle et al.) or for ``unobserved`` cells only (Hu et
                al., whose confidence 1 + alpha r is this with an unobserved_weight of 1).
            counts: how counts become weights: ``linear`` is r, ``log`` is log(1 + r / epsilon), ``binary`` is 1.
            epsilon: of ``log``.
            l2: lambda, the penalty on squared vectors.
            l2_exponent: nu; with 1 the penalty grows with what a row has to fit, with 0 all rows have the same.
            stddev: spread of a vector's length at the start, about.
            positive_start: whether vectors begin without negative entries, so that every first score is positive, as the
                preferences are; False is the normal start of Rendle et al.
        """

        embedding_dim: int = Field(default=64, ge=1)
        alpha: float = Field(default=1.0, gt=0)
        unobserved_weight: float = Field(default=0.3, ge=0)
        zeros: Literal["everywhere", "unobserved"] = "everywhere"
        counts: Literal["linear", "log", "binary"] = "linear"
        epsilon: float = Field(default=1.0, gt=0)
        l2: float = Field(default=0.003, gt=0)
        l2_exponent: float = Field(default=1.0, ge=0)
        stddev: float = Field(default=0.1, gt=0)
        positive_start: bool = True

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((32, 64, 128, 256)),
        "model.unobserved_weight": Span(0.003, 1.0, log=True),
        "model.l2": Span(0.0003, 0.3, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or IALS.Config()
        stddev = config.stddev / config.embedding_dim**0.5
        self.user_embedding = embedding(sizes.num_users, config.embedding_dim, stddev=stddev)
        self.item_embedding = embedding(sizes.num_items, config.embedding_dim, stddev=stddev)
        if config.positive_start:
            self.user_embedding.weight.data.abs_()
            self.item_embedding.weight.data.abs_()

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """w_u . h_i, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """The vector of each user, [B, D]."""
        return self.user_embedding(user)

    def encode_item(self, item: Tensor) -> Tensor:
        """The vector of each item, [B, D]."""
        return self.item_embedding(item)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """Their inner product; leading dimensions broadcast."""
        return (user_code * item_code).sum(-1)

    def score_catalogue(self, user: Tensor) -> Tensor:
        """The whole catalogue in one product, [V, I]."""
        return self.user_embedding(user) @ self.item_embedding.weight.T

    def fold_in(self, user_history: History) -> Tensor:
        """The vector of each asking list, by one exact solve as in a half sweep, [B, D]; without counts, all count once."""
        return self._solved(self.item_embedding.weight, user_history)

    @torch.no_grad()
    def admit(self, item: Tensor, item_history: History) -> None:
        """Give new items the vectors of a half sweep, by one exact solve over who chose them."""
        self.item_embedding.weight[item] = self._solved(self.user_embedding.weight, item_history)

    def _solved(self, table_ED: Tensor, history: History) -> Tensor:
        every_T = torch.arange(len(history.index), device=table_ED.device)
        mine = Ragged(history.lists.start, every_T, len(every_T)).take(history.row)
        count_T = self._counted(history)[mine.index]
        chosen = Ragged(mine.start, history.distinct[history.index[mine.index]], len(table_ED))
        return ridge_rows(table_ED, chosen, *self.weights(count_T), *self.shared(table_ED, chosen))

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry adds to the score of the one item, for the vector that solves for the one history, [T].

        With A the normal matrix of that solve, the score is the sum over the history of t_uj h_i' A^-1 h_j (Hu et al.,
        section 5).
        """
        chosen_TD = self.item_embedding(user_history.distinct[user_history.index])
        weight_T, target_T = self.weights(self._counted(user_history))
        gram_DD, penalty_1 = self.shared(self.item_embedding.weight, user_history.lists)
        normal_DD = gram_DD + chosen_TD.T @ (weight_T[:, None] * chosen_TD) + penalty_1 * torch.eye(len(gram_DD)).to(gram_DD)
        return {"user_history": target_T * (chosen_TD @ torch.linalg.solve(normal_DD, self.item_embedding(item[0])))}

    @staticmethod
    def _counted(history: History) -> Tensor:
        return torch.ones_like(history.index, dtype=torch.float32) if history.value is None else history.value

    def weights(self, count_T: Tensor) -> tuple[Tensor, Tensor]:
        """What each observed pair adds to the normal matrix, a, and to the right side, t, [T] each."""
        config = self.config
        strength = {
            "linear": lambda r: r,
            "log": lambda r: torch.log1p(r / config.epsilon),
            "binary": torch.ones_like,
        }[config.counts](count_T)
        weight_T = config.alpha * strength
        return weight_T, weight_T if config.zeros == "everywhere" else weight_T + config.unobserved_weight

    def shared(self, table_ED: Tensor, rows: Ragged) -> tuple[Tensor, Tensor]:
        """alpha_0 H'H, which all rows share, and each row's penalty."""
        return self.config.unobserved_weight * (table_ED.T @ table_ED), self.penalty(table_ED, rows)

    def penalty(self, table_ED: Tensor, rows: Ragged) -> Tensor:
        """lambda (|R_u| + alpha_0 |I|)^nu of each row, [G]."""
        mass_G = rows.length + self.config.unobserved_weight * len(table_ED)
        return (self.config.l2 * mass_G**self.config.l2_exponent).to(table_ED)

    @torch.no_grad()
    def loss(self, data: Inputs) -> float:
        """The whole objective over all U x I cells, at the cost of the observed ones.

        Squared scores of all cells sum to <W'W, H'H>; the observed cells are then put right.
        """
        user_UD, item_ID, lists = self.user_embedding.weight, self.item_embedding.weight, data.user_lists
        gram_DD, user_penalty_U = self.shared(item_ID, lists)
        weight_T, target_T = self.weights(_counts(data, "user"))
        score_T = inner_products(user_UD, item_ID, lists)
        # a x^2 - 2 t x + t is a (1 - x)^2 for t = a, and the step from alpha_0 x^2 to (a + alpha_0) (1 - x)^2 otherwise.
        observed = (weight_T * score_T.square() - 2 * target_T * score_T + target_T).sum(dtype=torch.float64)
        item_penalty_I = self.penalty(user_UD, data.item_lists)
        penalty = user_penalty_U @ user_UD.square().sum(-1) + item_penalty_I @ item_ID.square().sum(-1)
        return float(((user_UD.T @ user_UD) * gram_DD).sum() + observed + penalty)

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Alternating:
        """Solves for all users, then for all items; one epoch is one sweep.

        Attributes:
            method: ``cg`` takes a few steps of conjugate gradients from the last vectors on, ``cholesky`` solves exactly.
            steps: of conjugate gradients in a half sweep.
        """

        one_epoch: ClassVar[bool] = False
        method: Literal["cg", "cholesky"] = "cg"
        steps: int = Field(default=3, ge=1)

        @torch.no_grad()
        def epoch(self, model: IALS, data: Inputs, rng: np.random.Generator) -> float:
            """One sweep; returns the objective after it, per interaction."""
            user_UD, item_ID = model.user_embedding.weight, model.item_embedding.weight
            user_UD.copy_(self.half_sweep(model, user_UD, item_ID, data.user_lists, _counts(data, "user")))
            item_ID.copy_(self.half_sweep(model, item_ID, user_UD, data.item_lists, _counts(data, "item")))
            return model.loss(data) / len(data.train)

        def half_sweep(self, model: IALS, own_GD: Tensor, other_ED: Tensor, rows: Ragged, count_T: Tensor) -> Tensor:
            """The vectors of one side, given those of the other, [G, D]."""
            equations = (other_ED, rows, *model.weights(count_T), *model.shared(other_ED, rows))
            if self.method == "cholesky":
                return ridge_rows(*equations)
            return ridge_rows_nearly(*equations, own_GD, steps=self.steps)

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between sweeps but the vectors."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"als": Alternating}


def _counts(data: Inputs, side: Literal["user", "item"]) -> Tensor:
    """How often each entry of one side's lists was chosen, float32[T]; 1 where counts are not known."""
    lists = data.user_lists if side == "user" else data.item_lists
    count_T = torch.ones(len(lists.index), device=data.device)
    if data.train.count is None:
        return count_T
    user_N, item_N = (torch.from_numpy(index).to(data.device) for index in (data.train.user, data.train.item))
    entry_N = lists.find(user_N, item_N) if side == "user" else lists.find(item_N, user_N)
    return count_T.index_copy_(0, entry_N, torch.from_numpy(data.train.count).to(data.device))
