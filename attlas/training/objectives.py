"""What a batch of sampled pairs is and what it costs; ``whole.py`` has the objectives that leave no pair out.

Shapes: P positives, N negatives for each of them, B = P + P N pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import Inputs, LeaveOut
from attlas.data.interactions import Interactions
from attlas.data.negatives import draw_negatives
from attlas.models.protocol import asked_by, grouped_by
from attlas.training.grouping import in_blocks, in_whole_groups
from attlas.training.halves import score_pairs

SMALLEST_BATCH, LARGEST_BATCH = 256, 16384  # pairs
LEAST_BATCHES = 200  # in an epoch, where the data allow it


class Batch(NamedTuple):
    """What a model is shown and what it should have said.

    Attributes:
        inputs: what the model's ``forward`` asks for.
        label: float32[B].
    """

    inputs: dict[str, Any]
    label: Tensor


class Objective(Protocol):
    """A way to train any model that scores pairs."""

    def count(self, data: Inputs) -> int:
        """The number of batches in an epoch."""
        ...

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Iterator[Any]:
        """One epoch of batches; equal generators give equal batches."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The cost of one batch, a scalar."""
        ...


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Sampled:
    """Every training pair once an epoch, each with fresh random negatives; what they cost is another's word.

    Attributes:
        negatives: how many items that the user has not chosen are drawn for each that was; none for a user who has chosen all.
        batch_size: pairs in a batch, negatives included; None takes the largest power of two, from 256 to 16,384, that
            leaves an epoch at least 200 batches: small data want many steps, large data few that are dear to start.
    """

    negatives: int = Field(default=4, ge=1)
    batch_size: int | None = Field(default=None, ge=2)

    def count(self, data: Inputs) -> int:
        """The number of batches in an epoch; more or less, where the model wants whole users or items."""
        return -(-len(data.train) // self._positives(data))

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Iterator[Batch]:
        """The training pairs in random order; in each batch the positives, those with negatives first, then the negatives.

        A model that wants whole users gets users in random order, each with all of their pairs.
        """
        train, size = data.train, self._positives(data)
        whole_users = grouped_by(model) == "user"
        for rows in in_whole_groups(train.user, size, rng) if whole_users else in_blocks(len(train), size, rng):
            yield gathered(data, model, *self.draw(train, rows, rng), rng)

    def draw(self, train: Interactions, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        """The users and items of the rows, those with negatives first, then of their negatives; and how many the rows are."""
        has_others_U = np.diff(train.by_user.indptr) < len(train.items)
        rows = rows[np.argsort(~has_others_U[train.user[rows]], kind="stable")]
        user, item = train.user[rows], train.item[rows]
        others = user[has_others_U[user]]
        drawn = draw_negatives(train.by_user, others, self.negatives, rng)
        users = np.concatenate([user, np.repeat(others, self.negatives)])
        return users, np.concatenate([item, drawn.ravel()]), len(rows)

    def score(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scores of the P positives that have negatives, and of their negatives, [P] and [P, N]."""
        score_B = score_pairs(model, batch.inputs)
        positives = int(batch.label.sum())
        negative_PN = score_B[positives:].view(-1, self.negatives)
        return score_B[: len(negative_PN)], negative_PN

    def _positives(self, data: Inputs) -> int:
        pairs = len(data.train) * (1 + self.negatives)
        fitting = max(pairs // LEAST_BATCHES, SMALLEST_BATCH)
        size = self.batch_size or min(2 ** (fitting.bit_length() - 1), LARGEST_BATCH)
        return max(1, size // (1 + self.negatives))


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Pointwise(Sampled):
    """Binary cross-entropy of each pair and of its negatives (He et al., WWW 2017, equation 7)."""

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Iterator[Batch]:
        """As for any; a model that wants whole items gets items in random order, each with all of the epoch's pairs."""
        if grouped_by(model) != "item":
            yield from super().batches(data, model, rng)
            return
        user, item, positives = self.draw(data.train, np.arange(len(data.train)), rng)
        for pairs in in_whole_groups(item, self._positives(data) * (1 + self.negatives), rng):
            pairs.sort()  # positives first, as everywhere
            yield gathered(data, model, user[pairs], item[pairs], int(np.searchsorted(pairs, positives)), rng)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean binary cross-entropy of the logits."""
        return functional.binary_cross_entropy_with_logits(score_pairs(model, batch.inputs), batch.label)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Pairwise(Sampled):
    """Bayesian personalised ranking: each pair should stand above its negatives (Rendle et al., UAI 2009)."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean of -log sigmoid(score of the pair - score of a negative)."""
        positive_P, negative_PN = self.score(model, batch)
        return functional.softplus(negative_PN - positive_P[:, None]).sum() / max(negative_PN.numel(), 1)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SampledSoftmax(Sampled):
    """Which of the pair and its negatives was chosen: cross-entropy over them (Jean et al., ACL 2015).

    Negatives are drawn uniformly, so that the correction of each logit by its chance is the same for all and drops out.
    """

    negatives: int = Field(default=32, ge=1)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean of -log softmax of the pair's score among its own and its negatives'."""
        positive_P, negative_PN = self.score(model, batch)
        score_PN = torch.cat([positive_P[:, None], negative_PN], dim=1)
        return (score_PN.logsumexp(1) - positive_P).sum() / max(len(positive_P), 1)


def gathered(
    data: Inputs, model: nn.Module, user: np.ndarray, item: np.ndarray, positives: int, rng: np.random.Generator
) -> Batch:
    """What the model asks for of some pairs, of which the first are positives."""
    label = torch.zeros(len(user), device=data.device)
    label[:positives] = 1.0
    return Batch(data.gather(asked_by(model), user, item, leave_out=left_out_by(model), rng=rng), label)


def left_out_by(model: nn.Module) -> LeaveOut:
    """What the model wants taken out of histories in training."""
    chosen: LeaveOut = getattr(getattr(model, "config", None), "leave_out", "remove")
    return chosen
