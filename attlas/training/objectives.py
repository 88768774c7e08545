"""What a batch is and what it costs.

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
from attlas.data.negatives import draw_negatives
from attlas.models.protocol import asked_by

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
class Pointwise:
    """Binary cross-entropy: every training pair once an epoch, each with fresh random negatives.

    Attributes:
        negatives: how many items that the user has not chosen are drawn for each that was; none for a user who has chosen all.
        batch_size: pairs in a batch, negatives included; None takes the largest power of two, from 256 to 16,384, that
            leaves an epoch at least 200 batches: small data want many steps, large data few that are dear to start.
    """

    negatives: int = Field(default=4, ge=1)
    batch_size: int | None = Field(default=None, ge=2)

    def count(self, data: Inputs) -> int:
        """The number of batches in an epoch."""
        return -(-len(data.train) // self._positives(data))

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Iterator[Batch]:
        """The training pairs in random order, positives first within each batch."""
        names, train = asked_by(model), data.train
        leave_out: LeaveOut = getattr(getattr(model, "config", None), "leave_out", "remove")
        order = rng.permutation(len(train))
        positives = self._positives(data)
        has_others_U = np.diff(train.by_user.indptr) < len(train.items)
        for first in range(0, len(order), positives):
            rows = order[first : first + positives]
            user, item = train.user[rows], train.item[rows]
            others = user[has_others_U[user]]
            drawn = draw_negatives(train.by_user, others, self.negatives, rng)
            users = np.concatenate([user, np.repeat(others, self.negatives)])
            items = np.concatenate([item, drawn.ravel()])
            label = torch.zeros(len(users), device=data.device)
            label[: len(user)] = 1.0
            yield Batch(data.gather(names, users, items, leave_out=leave_out, rng=rng), label)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean binary cross-entropy of the logits."""
        return functional.binary_cross_entropy_with_logits(model(**batch.inputs), batch.label)

    def _positives(self, data: Inputs) -> int:
        pairs = len(data.train) * (1 + self.negatives)
        fitting = max(pairs // LEAST_BATCHES, SMALLEST_BATCH)
        size = self.batch_size or min(2 ** (fitting.bit_length() - 1), LARGEST_BATCH)
        return max(1, size // (1 + self.negatives))


OBJECTIVES: dict[str, type] = {"pointwise": Pointwise}
