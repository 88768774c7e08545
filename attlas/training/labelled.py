"""Objectives over labelled rows of feature fields: every row once an epoch, and no negatives but those that are rows.

Shapes: B rows, F fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.examples import ExampleInputs
from attlas.data.inputs import Fields
from attlas.errors import ConfigError
from attlas.training.objectives import LARGEST_BATCH, LEAST_BATCHES, SMALLEST_BATCH, Batch


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Labelled:
    """Every labelled row once an epoch; what they cost is another's word.

    Attributes:
        batch_size: rows in a batch; None takes the largest power of two, from 256 to 16,384, that leaves an epoch at least 200
            batches.
        unknown_share: the share of the cells that are shown as unknown, so that what "unknown" means is learned.
    """

    batch_size: int | None = Field(default=None, ge=2)
    unknown_share: float = Field(default=0.01, ge=0, lt=1)

    def count(self, data: Any) -> int:
        """The number of batches in an epoch."""
        return -(-len(_examples(data).examples) // self._rows(data))

    def batches(self, data: Any, model: nn.Module, rng: np.random.Generator) -> Iterator[Batch]:
        """All rows in random order.

        Raises:
            ConfigError: the data are interactions, or the model asks for more than fields.
        """
        data = _examples(data)
        order, size = rng.permutation(len(data.examples)), self._rows(data)
        for first in range(0, len(order), size):
            fields, label_B = data.rows(order[first : first + size])
            yield Batch({"fields": self._blinded(fields, data, rng)}, label_B)

    def _blinded(self, fields: Fields, data: ExampleInputs, rng: np.random.Generator) -> Fields:
        """The same rows, some of their cells unknown; an unknown number weighs 1."""
        if not self.unknown_share:
            return fields
        is_hidden_BF = torch.from_numpy(rng.random(tuple(fields.index.shape), np.float32) < self.unknown_share).to(data.device)
        unknown_F = torch.from_numpy(data.features.unknown).to(data.device)
        value_BF = None if fields.value is None else torch.where(is_hidden_BF, 1.0, fields.value)
        return replace(fields, index=torch.where(is_hidden_BF, unknown_F, fields.index), value=value_BF)

    def _rows(self, data: Any) -> int:
        fitting = max(len(_examples(data).examples) // LEAST_BATCHES, SMALLEST_BATCH)
        return self.batch_size or min(2 ** (fitting.bit_length() - 1), LARGEST_BATCH)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Logistic(Labelled):
    """The score is the logit of the label."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean binary cross-entropy."""
        return functional.binary_cross_entropy_with_logits(model(**batch.inputs), batch.label)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Squared(Labelled):
    """The score aims at +1 for label 1 and at -1 for label 0, as the papers on FM, NFM and AFM train."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error."""
        return (2 * batch.label - 1 - model(**batch.inputs)).square().mean()


def _examples(data: Any) -> ExampleInputs:
    if not isinstance(data, ExampleInputs):
        raise ConfigError(
            "objectives 'logistic' and 'squared' learn from labelled rows, and these data are interactions; name the column of "
            "labels with [data] label, or take objective 'pointwise'"
        )
    return data
