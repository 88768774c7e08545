"""How FAWMF begins and learns: fBGD, which descends on every cell at the cost of the chosen ones, and alternating solves.

Shapes: U users, I items, D embedding, C communities.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attlas.data.inputs import History, Inputs
from attlas.ops.exposure import responsibilities
from attlas.ops.ragged import Ragged
from attlas.ops.segments import segment_sum

if TYPE_CHECKING:
    from attlas.models.fawmf import FAWMF

USER_SIDE = ("user_embedding.weight", "membership.weight", "influence")
NETWORK = ("membership.weight", "influence", "item_weight", "item_bias", "prior_logit")
LEAST_WEIGHT = 1e-5  # of item_weight and influence where they may not change their sign
MIXTURE_STEPS = 60
HELD_BACK = 0.5  # choices of each user, and percents of each community's draws, that a mixture spreads evenly


@torch.no_grad()
def start(model: FAWMF, data: Inputs) -> None:
    """Take the prior from the items' popularity and, if so set, the first memberships and exposures from a mixture."""
    config, count_I = model.config, data.item_lists.length.to(model.item_bias)
    rate_I = config.prior_exposure * (count_I + 1) / (count_I.max() + 1)
    if config.prior != "constant":
        model.prior_logit.copy_(rate_I.logit())
    if config.start == "mixture":
        share_UC, drawn_IC = mixture(model, data)
        model.membership.weight.copy_(share_UC.log())
        chosen_IC = drawn_IC / share_UC.sum(0)
        seen = config.exposure_cost if config.kl == "exact" else count_I.max() / len(share_UC)
        _aim(model, (chosen_IC / seen + config.prior_exposure).clamp(1e-4, 0.9), data)
    model.settle(data)


def flipped(rows: Ragged) -> Ragged:
    """Which rows list each place."""
    first, row, _ = rows.transposed
    return Ragged(first, row, rows.count)


def mixture(model: FAWMF, data: Inputs) -> tuple[Tensor, Tensor]:
    """Communities that draw their members' choices, by expectation maximisation from the model's memberships on.

    Returns:
        Each user's shares of them, [U, C], and how many choices of each item each of them drew, [I, C].
    """
    share_UC, even = model.membership.weight.softmax(-1), 1 / model.config.num_communities
    drawn_IC = segment_sum(share_UC, data.item_lists)
    for _ in range(MIXTURE_STEPS):
        emission_IC = drawn_IC / drawn_IC.sum(0) + HELD_BACK / 100 / len(drawn_IC)
        drawn_UC = responsibilities(share_UC, emission_IC, data.user_lists)
        drawn_IC = responsibilities(emission_IC, share_UC, data.item_lists)
        share_UC = (drawn_UC + HELD_BACK * even) / (data.user_lists.length[:, None] + HELD_BACK)
    return share_UC, drawn_IC


def _aim(model: FAWMF, exposure_IC: Tensor, data: Inputs) -> None:
    """Let each item's weight and bias be those whose exposures come nearest to the given ones, as logits."""
    parts = dict(model.named_parameters())
    evidence_IC, logit_IC = model.scaled(model.evidence(parts, data.item_lists), data.item_lists), exposure_IC.logit()
    off_IC = evidence_IC - evidence_IC.mean(1, keepdim=True)
    slope_I = (off_IC * logit_IC).sum(1) / off_IC.square().sum(1).clamp_min(1e-6)
    model.item_weight.copy_(slope_I.clamp(0.01, 100.0))
    model.item_bias.copy_(logit_IC.mean(1) - model.item_weight * evidence_IC.mean(1))


@torch.no_grad()
def admit_items(model: FAWMF, item: Tensor, item_history: History) -> None:
    """Give new items the exposures that their choosers are evidence for and, by one exact solve, the factors."""
    lists = item_history.lists.take(item_history.row)
    choosers = Ragged(lists.start, item_history.distinct[lists.index], model.user_embedding.num_embeddings)
    user_UD, share_UC = model.user_embedding.weight, model.membership.weight.softmax(-1)
    evidence_JC = model.scaled(segment_sum(model.influence[:, None] * share_UC, choosers), choosers)
    exposure_JC = (model.item_weight[item, None] * evidence_JC + model.item_bias[item, None]).sigmoid()
    model.exposure_table[item] = exposure_JC
    begin_JD = user_UD.new_zeros(len(item), user_UD.shape[1])
    model.item_embedding.weight[item] = model.factors(user_UD, share_UC, choosers, exposure_JC, begin_JD, None)


@dataclass(config=ConfigDict(extra="forbid"))
class FBGD:
    """Gradients over all cells at the cost of the chosen ones, taken by Adam; one epoch shows every user once.

    Attributes:
        learning_rate: the size of a step of the factors.
        exposure_learning_rate: of memberships, influence, item_weight, item_bias and a learned prior.
        users: in a batch; None takes all at once, as published. With fewer the evidence of all others is kept and
            brought up to date after each batch, so that only the rows of a batch are worked on; where memberships move the
            errors of all users by the evidence, those of the batch stand for them.
    """

    one_epoch: ClassVar[bool] = False
    learning_rate: float = Field(default=0.1, gt=0)
    exposure_learning_rate: float = Field(default=0.1, gt=0)
    users: int | None = Field(default=None, ge=1)
    moments: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def epoch(self, model: FAWMF, data: Inputs, rng: np.random.Generator) -> float:
        """One step, or one for every batch of users; returns the mean objective of these, per interaction."""
        num_users = data.sizes.num_users
        if self.users is None or self.users >= num_users:
            total = self.step(model, data)
        else:
            evidence_IC, total = model.evidence(model.tensors(names=()), data.item_lists), 0.0
            order = torch.from_numpy(rng.permutation(num_users)).to(data.device)
            for users in order.split(self.users):
                choosers = flipped(data.user_lists.take(users))
                before_IC = model.evidence(model.tensors(users, ()), choosers)
                total += self.step(model, data, users=users, evidence_IC=evidence_IC)
                evidence_IC = evidence_IC + (model.evidence(model.tensors(users, ()), choosers) - before_IC)
        model.settle(data)
        return total / len(data.train)

    def step(self, model: FAWMF, data: Inputs, names: tuple[str, ...] | None = None, **block: Any) -> float:
        """One step of what is named, or of all, for a block of users, or all; returns their objective before it."""
        parts, users = model.tensors(block.get("users"), names), block.get("users")
        total = model.objective(parts, data, **block)
        moved = {name: part for name, part in parts.items() if part.requires_grad}
        gradients = torch.autograd.grad(total, list(moved.values()), allow_unused=True)
        weights = dict(model.named_parameters())
        for name, gradient in zip(moved, gradients, strict=True):
            if gradient is not None:
                rate = self.exposure_learning_rate if name in NETWORK else self.learning_rate
                _adam(weights[name].data, gradient, self.moments, name, rate, users if name in USER_SIDE else None)
        if model.config.signs == "positive":
            model.item_weight.data.clamp_(min=LEAST_WEIGHT)
            model.influence.data.clamp_(min=LEAST_WEIGHT)
        return total.item()

    def state(self) -> dict[str, Tensor]:
        """What Adam remembers, by parameter."""
        return dict(self.moments)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on with what Adam remembered."""
        self.moments = dict(state)


@dataclass(config=ConfigDict(extra="forbid"))
class Alternating(FBGD):
    """Solves for all users' factors, then for all items', and lets the exposures descend in between.

    Attributes:
        method: ``cg`` takes a few steps of conjugate gradients from the last factors on, ``cholesky`` solves exactly.
        steps: of conjugate gradients in a half sweep.
        exposure_steps: of Adam in a sweep.
    """

    method: Literal["cg", "cholesky"] = "cg"
    steps: int = Field(default=3, ge=1)
    exposure_steps: int = Field(default=1, ge=0)

    def epoch(self, model: FAWMF, data: Inputs, rng: np.random.Generator) -> float:
        """One sweep; returns the objective after its solves, per interaction."""
        user_UD, item_ID = model.user_embedding.weight.data, model.item_embedding.weight.data
        share_UC, exposure_IC = model.membership.weight.data.softmax(-1), model.exposure_table
        steps = self.steps if self.method == "cg" else None
        user_UD.copy_(model.factors(item_ID, exposure_IC, data.user_lists, share_UC, user_UD, steps))
        item_ID.copy_(model.factors(user_UD, share_UC, data.item_lists, exposure_IC, item_ID, steps))
        totals = [self.step(model, data, NETWORK) for _ in range(self.exposure_steps)]
        model.settle(data)
        total = totals[0] if totals else model.objective(model.tensors(names=()), data).item()
        return total / len(data.train)


def _adam(
    weight: Tensor, gradient: Tensor, moments: dict[str, Tensor], name: str, rate: float, rows: Tensor | None = None
) -> None:
    """A step of Adam in place (0.9, 0.999, 1e-8); of some rows alone, whose moments then stand still in between."""
    if f"{name}/step" not in moments:
        moments |= {f"{name}/step": torch.zeros(()), f"{name}/first": torch.zeros_like(weight)}
        moments[f"{name}/second"] = torch.zeros_like(weight)
    for memory in (f"{name}/first", f"{name}/second"):  # a checkpoint is read to the CPU
        moments[memory] = moments[memory].to(weight.device)
    kept = weight, moments[f"{name}/first"], moments[f"{name}/second"]
    own, first, second = kept if rows is None else (whole.index_select(0, rows) for whole in kept)
    moments[f"{name}/step"] += 1
    count = moments[f"{name}/step"].item()
    first.lerp_(gradient, 0.1)
    second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    spread = (second / (1 - 0.999**count)).sqrt_().add_(1e-8)
    own.addcdiv_(first, spread, value=-rate / (1 - 0.9**count))
    if rows is not None:
        for whole, part in zip(kept, (own, first, second), strict=True):
            whole.index_copy_(0, rows, part)
