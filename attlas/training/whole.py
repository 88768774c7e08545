"""Objectives without sampling: every cell of the matrix, or every rating.

Shapes: U users, I items, V users in a batch, C code, N observed pairs of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Inputs, whole
from attlas.errors import ConfigError
from attlas.models.protocol import InnerProduct, asked_by
from attlas.training.grouping import in_blocks
from attlas.training.objectives import LARGEST_BATCH, SMALLEST_BATCH, Batch, left_out_by

LEAST_BATCHES = 50  # of ratings in an epoch, where the data allow it


class Block(NamedTuple):
    """Some users with all that they have chosen, and the whole catalogue.

    Attributes:
        users, items: what the halves of the model ask for.
        row: int64[N], which of the V users each observed pair is of.
        item: int64[N].
        inputs: what ``forward`` asks for, for the observed pairs.
        label: float32[V I], one for each cell, observed or not, for an epoch counts its pairs and weighs its losses by them.
        share: by what the sums of the block are multiplied to be those of all users, per training pair.
    """

    users: dict[str, Any]
    items: dict[str, Any]
    row: Tensor
    item: Tensor
    inputs: dict[str, Any]
    label: Tensor
    share: float


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WholeData:
    """Squared error over all U x I cells: 1 for what was chosen, 0, with less weight, for all else (Hu et al., ICDM 2008).

    The cells are never built: the squared scores of all of them sum to <A'A, B'B> for user codes A and item codes B, and the
    observed ones are put right, each scored as ``forward`` scores it, without itself in its histories.

    Attributes:
        unobserved_weight: of a cell that was not chosen; one that was has 1.
        users: in a batch; None takes a sixteenth of all, from 32 to 1,024.
    """

    unobserved_weight: float = Field(default=0.1, ge=0)
    users: int | None = Field(default=None, ge=1)

    def count(self, data: Inputs) -> int:
        """The number of batches in an epoch."""
        return -(-data.sizes.num_users // self._users(data))

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Iterator[Block]:
        """All users in random order, in blocks, each with the rows of training that are theirs."""
        if not isinstance(model, InnerProduct):
            raise ConfigError(
                f"objective 'whole-data' needs a score that is an inner product of codes, and that of {type(model).__name__} "
                "is none; choose pointwise, bpr or sampled-softmax"
            )
        order = rng.permutation(data.sizes.num_users)
        by_user, size = data.train.by_user, self._users(data)
        for first in range(0, len(order), size):
            user_V = np.sort(order[first : first + size])
            rows = by_user[user_V].tocoo()
            inputs = data.gather(asked_by(model), user_V[rows.row], rows.col, leave_out=left_out_by(model), rng=rng)
            share = data.sizes.num_users / len(user_V) / max(len(data.train), 1)
            row, item = (torch.from_numpy(index.astype(np.int64)).to(data.device) for index in (rows.row, rows.col))
            label = torch.ones(1, device=data.device).expand(len(user_V) * data.sizes.num_items)
            yield Block(_half(data, model, "user", user_V), _half(data, model, "item"), row, item, inputs, label, share)

    def loss(self, model: Any, batch: Block) -> Tensor:
        """The objective of the block per observed pair, as if all users were like these."""
        user_VC, item_IC = model.encode_user(**batch.users), model.encode_item(**batch.items)
        everywhere = ((user_VC.T @ user_VC) * (item_IC.T @ item_IC)).sum()
        by_code_N = (user_VC.index_select(0, batch.row) * item_IC.index_select(0, batch.item)).sum(-1)
        score_N = model(**batch.inputs)
        zeros = self.unobserved_weight * (everywhere - by_code_N.square().sum())
        return ((1 - score_N).square().sum() + zeros) * batch.share

    def _users(self, data: Inputs) -> int:
        return self.users or min(max(data.sizes.num_users // 16, 32), 1024)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Ratings:
    """Squared error of every rating once an epoch, for models whose score is a rating.

    Attributes:
        batch_size: ratings in a batch; None takes the largest power of two, from 256 to 16,384, that leaves an epoch at least
            50 batches.
    """

    batch_size: int | None = Field(default=None, ge=1)

    def count(self, data: Inputs) -> int:
        """The number of batches in an epoch."""
        return -(-len(data.train) // self._size(data))

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Iterator[Batch]:
        """The ratings in random order."""
        train = data.train
        if train.rating is None:
            raise ConfigError("objective 'ratings' needs ratings, and these data have none; name their column with --rating")
        for rows in in_blocks(len(train), self._size(data), rng):
            inputs = data.gather(asked_by(model), train.user[rows], train.item[rows], leave_out=left_out_by(model), rng=rng)
            yield Batch(inputs, torch.from_numpy(train.rating[rows]).to(data.device))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error."""
        return (model(**batch.inputs) - batch.label).square().mean()

    def _size(self, data: Inputs) -> int:
        fitting = max(len(data.train) // LEAST_BATCHES, SMALLEST_BATCH)
        return self.batch_size or min(2 ** (fitting.bit_length() - 1), LARGEST_BATCH)


def _half(data: Inputs, model: nn.Module, side: str, users: np.ndarray | None = None) -> dict[str, Any]:
    """What one half of the model asks for: some users, or every item, with whole histories."""
    count = data.sizes.num_users if side == "user" else data.sizes.num_items
    index = torch.arange(count, device=data.device) if users is None else torch.from_numpy(users).to(data.device)
    lists = data.user_lists if side == "user" else data.item_lists
    return {name: index if name == side else whole(lists, index) for name in asked_by(model, f"encode_{side}")}
