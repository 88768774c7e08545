"""The whole training matrix, sparse, and which of its cells a batch may not read.

Shapes: U users, I items, T cells, H hidden ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from attlas.ops.ragged import Ragged

Side = Literal["user", "item"]


@dataclass(frozen=True, eq=False)
class Observed:
    """Every rating of training by user and by item, less the cells that are asked about: all of a batch, together.

    To hide them pair by pair would give each pair a matrix of its own, and whatever reads it would be done as often.

    Attributes:
        by_user: the sorted items of every user, hidden ones included.
        by_item: the sorted users of every item, likewise.
        user_value, item_value: float32[T], the rating in each cell in either order; 1 where ratings are not known.
        user_hidden, item_hidden: int64[H], the hidden cells (places in T) in either order, each once.
    """

    by_user: Ragged
    by_item: Ragged
    user_value: Tensor
    item_value: Tensor
    user_hidden: Tensor
    item_hidden: Tensor

    @classmethod
    def of(cls, by_user: Ragged, by_item: Ragged, user_value: Tensor) -> Observed:
        """The matrix with nothing hidden, from its values by user."""
        user_T, item_T = by_user.owner, by_user.index
        item_value = torch.empty_like(user_value)
        item_value[by_item.find(item_T, user_T)] = user_value
        none = torch.zeros(0, dtype=torch.int64, device=user_value.device)
        return cls(by_user, by_item, user_value, item_value, none, none)

    def hide(self, user_B: Tensor, item_B: Tensor) -> Observed:
        """The same without the cells of these pairs; a pair that is no cell hides nothing."""
        entry_B = self.by_user.find(user_B, item_B)
        user_hidden = torch.unique(entry_B[entry_B >= 0])
        item_hidden = self.by_item.find(self.by_user.index[user_hidden], self.by_user.owner[user_hidden])
        return replace(self, user_hidden=user_hidden, item_hidden=item_hidden)

    def lists(self, side: Side) -> Ragged:
        """Who is in the matrix with whom, hidden cells included."""
        return self.by_user if side == "user" else self.by_item

    def values(self, side: Side) -> Tensor:
        """What stands in each cell of ``lists``, hidden cells included, [T]."""
        return self.user_value if side == "user" else self.item_value

    def hidden(self, side: Side) -> Tensor:
        """The places in ``lists`` that may not be read, [H]."""
        return self.user_hidden if side == "user" else self.item_hidden

    def count(self, side: Side) -> Tensor:
        """How many cells each user, or each item, is left with, int64[U] or int64[I]."""
        lists, hidden_H = self.lists(side), self.hidden(side)
        return lists.length - torch.bincount(lists.owner[hidden_H], minlength=lists.count)

    def without_hidden(self, value_T: Tensor, side: Side) -> Tensor:
        """Values of the cells of ``lists`` with zeros where none may be read, [T]."""
        return value_T.index_fill(0, self.hidden(side), 0.0)
