"""From (user, item) pairs to the tensors that a model's ``forward`` names.

Shapes: B pairs, G distinct users (or items) among them, T history entries, E distinct history items (or users).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from attlas.data.fields import Crossed, Features, Fields
from attlas.data.interactions import Interactions
from attlas.data.observed import Observed
from attlas.errors import ConfigError, DataError, nearest
from attlas.ops.ragged import Ragged

NAMES = ("user", "item", "user_history", "item_history", "observed", "fields")
LeaveOut = Literal["remove", "matched", "keep"]
FULL_TABLE_SHARE = 0.25


@dataclass(frozen=True)
class Sizes:
    """How many users, items and features a model has tables for.

    Attributes:
        num_users, num_items: how many there are.
        field_sizes: how many features each field has; () where the user and the item are the fields, with an unknown each.
    """

    num_users: int
    num_items: int
    field_sizes: tuple[int, ...] = ()

    @property
    def fields(self) -> tuple[int, ...]:
        """How many features each field has."""
        return self.field_sizes or (self.num_users + 1, self.num_items + 1)


@dataclass(frozen=True, eq=False)
class History:
    """What each distinct user has chosen (or who has chosen each distinct item), and who among B pairs asks for it.

    Attributes:
        distinct: int64[E], the items that occur in any of the lists.
        lists: G lists of places in ``distinct``.
        row: int64[B], which list each pair reads.
        left_out: int64[B], the entry (place in T) that the pair leaves out of its list, or -1.
        value: float32[T], how often each entry was chosen, or None where each counts once.
    """

    distinct: Tensor
    lists: Ragged
    row: Tensor
    left_out: Tensor
    value: Tensor | None = None

    @property
    def index(self) -> Tensor:
        """The place in ``distinct`` of each entry, int64[T]."""
        return self.lists.index

    @property
    def owner(self) -> Tensor:
        """The list, 0 to G - 1, that each entry belongs to, int64[T]."""
        return self.lists.owner

    @property
    def count(self) -> int:
        """G, the number of lists."""
        return self.lists.count

    @property
    def length(self) -> Tensor:
        """The number of entries that each pair is left with, int64[B]."""
        return self.lists.length[self.row] - (self.left_out >= 0).long()

    def of_pairs(self, pairs: slice | Tensor) -> History:
        """The same lists, asked for by some of the pairs only."""
        return replace(self, row=self.row[pairs], left_out=self.left_out[pairs])

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]], width: int, *, row: Sequence[int] | None = None) -> History:
        """The history that a list of lists spells out; without ``row`` each list is asked for once, in order."""
        ragged = Ragged.of([sorted(set(items)) for items in lists], width)
        asked = torch.arange(len(lists)) if row is None else torch.tensor(row)
        return cls(torch.arange(width), ragged, asked, torch.full_like(asked, -1))


class Inputs:
    """Gathers whatever a model's ``forward`` asks for, by name, from the training interactions.

    Args:
        train: what is known of the past.
        device: where the tensors go.
        features: the fields of a row; None where the user and the item are all that is known.
    """

    def __init__(self, train: Interactions, *, device: str | torch.device = "cpu", features: Features | None = None):
        self.train = train
        self.device = find_device(device)
        self.given_features = features
        self.sizes = Sizes(len(train.users), len(train.items), features.sizes if features else ())

    @property
    def data(self) -> Any:
        """What is learned from: interactions, or of examples the labelled rows."""
        return self.train

    @cached_property
    def features(self) -> Features:
        """The fields of a row."""
        return self.given_features or Features.of_ids(self.train.users, self.train.items)

    @cached_property
    def user_lists(self) -> Ragged:
        """The sorted items of every user."""
        return _ragged(self.train.by_user, self.device)

    @cached_property
    def item_lists(self) -> Ragged:
        """The sorted users of every item."""
        return _ragged(self.train.by_item, self.device)

    @cached_property
    @torch.inference_mode(False)
    def observed(self) -> Observed:
        """The whole matrix with nothing hidden; where a pair has several ratings, their mean."""
        lists, rating = self.user_lists, self.train.rating
        value_T = torch.ones(len(lists.index), device=self.device)
        if rating is not None:
            user_N, item_N = (torch.from_numpy(index).to(self.device) for index in (self.train.user, self.train.item))
            entry_N = lists.find(user_N, item_N).cpu().numpy()
            total_T = np.bincount(entry_N, weights=rating, minlength=len(lists.index))
            value_T.copy_(torch.from_numpy(total_T / np.bincount(entry_N, minlength=len(lists.index))))
        return Observed.of(lists, self.item_lists, value_T)

    def gather(
        self,
        names: Sequence[str],
        user: np.ndarray | Tensor,
        item: np.ndarray | Tensor,
        *,
        leave_out: LeaveOut = "remove",
        rng: np.random.Generator | None = None,
    ) -> dict[str, Any]:
        """The named inputs of B pairs. Histories come without the pair's own target, the whole matrix without those of all.

        Args:
            names: a choice of ``NAMES``.
            user, item: int64[B], indices.
            leave_out: ``remove`` takes the target out of the pair's two histories; ``matched`` also takes one random entry
                out of each history that does not hold the target, so that no length tells the label; ``keep`` takes
                out nothing, from the whole matrix neither.
            rng: needed by ``matched``.

        Raises:
            ConfigError: no input has that name, or ``matched`` came without rng.
            DataError: an index is out of range.
        """
        user_B = self._indices(user, self.sizes.num_users, "user")
        item_B = self._indices(item, self.sizes.num_items, "item")
        ways: dict[str, Callable[[], Any]] = {
            "user": lambda: user_B,
            "item": lambda: item_B,
            "user_history": lambda: self._history(self.user_lists, user_B, item_B, leave_out, rng),
            "item_history": lambda: self._history(self.item_lists, item_B, user_B, leave_out, rng),
            "observed": lambda: self.observed if leave_out == "keep" else self.observed.hide(user_B, item_B),
            "fields": lambda: self.features.pairs(user_B, item_B),
        }
        for name in names:
            if name not in NAMES:
                raise ConfigError(f"no input is called {name!r}; {nearest(name, NAMES)}")
        return {name: ways[name]() for name in names}

    def crossed(self, user: np.ndarray | Tensor, context: Fields | None = None) -> Crossed:
        """The rows of every item for each user, int64[V], in the context that goes with each; -1 is an unknown user."""
        return self.features.crossed(torch.as_tensor(user, device=self.device), context)

    def _indices(self, index: np.ndarray | Tensor, count: int, noun: str) -> Tensor:
        index_B = torch.as_tensor(index, dtype=torch.int64, device=self.device)
        if len(index_B) and (int(index_B.min()) < 0 or int(index_B.max()) >= count):
            raise DataError(
                f"{noun} indices reach from {int(index_B.min())} to {int(index_B.max())}; expected 0 to {count - 1}"
            )
        return index_B

    def _history(
        self, lists: Ragged, asker_B: Tensor, target_B: Tensor, leave_out: LeaveOut, rng: np.random.Generator | None
    ) -> History:
        left_out_B = torch.full_like(asker_B, -1) if leave_out == "keep" else lists.find(asker_B, target_B)
        if leave_out == "matched":
            left_out_B = _matched(lists, asker_B, left_out_B, rng)
        return ask(lists, asker_B, left_out_B)


def find_device(name: str | torch.device) -> torch.device:
    """The device of that name, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: there is no such device here.
    """
    kind, _, number = str(name).partition(":")
    if kind not in ("cpu", "cuda") or not (number.isdigit() or not number):
        raise ConfigError(f"device {str(name)!r} is not known; use cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {str(name)!r} is not there: torch finds no CUDA; use --device cpu")
    return torch.device(name)


def ask(lists: Ragged, asker_B: Tensor, left_out_B: Tensor) -> History:
    """The history of B pairs: the whole table where they ask for much of it, else a table of what they ask for.

    Both say the same. Few askers get a small table; many share one that is never copied.
    """
    if len(asker_B) >= FULL_TABLE_SHARE * lists.count:
        return History(torch.arange(lists.width, device=asker_B.device), lists, asker_B, left_out_B)
    if len(asker_B) == 1:
        return _ask_alone(lists, int(asker_B), left_out_B)
    distinct_G, row_B = torch.unique(asker_B, return_inverse=True)
    few = lists.take(distinct_G)
    moved_B = left_out_B - lists.start[asker_B] + few.start[row_B]
    is_listed_E = torch.zeros(lists.width, dtype=torch.bool, device=asker_B.device)
    is_listed_E[few.index] = True
    distinct_E = is_listed_E.nonzero().squeeze(-1)
    place_E = is_listed_E.cumsum(0) - 1
    narrow = Ragged(few.start, place_E[few.index], len(distinct_E))
    return History(distinct_E, narrow, row_B, torch.where(left_out_B >= 0, moved_B, -1))


def _ask_alone(lists: Ragged, asker: int, left_out_1: Tensor) -> History:
    """``ask`` for a single pair, whose own list is the table: what many askers need would take longer than an answer."""
    first, past = lists.start[asker : asker + 2].tolist()
    length, device = past - first, lists.index.device
    alone = Ragged(torch.tensor([0, length], device=device), torch.arange(length, device=device), length)
    moved_1 = torch.where(left_out_1 >= 0, left_out_1 - first, -1)
    return History(lists.index[first:past], alone, torch.zeros_like(left_out_1), moved_1)


def whole(lists: Ragged, asker_B: Tensor) -> History:
    """The full histories of the askers, with nothing left out."""
    return ask(lists, asker_B, torch.full_like(asker_B, -1))


def _matched(lists: Ragged, asker_B: Tensor, left_out_B: Tensor, rng: np.random.Generator | None) -> Tensor:
    if rng is None:
        raise ConfigError("leave_out='matched' draws random entries; pass rng")
    length_B = lists.length[asker_B]
    draw_B = torch.from_numpy(rng.random(len(asker_B))).to(asker_B.device)
    random_B = lists.start[asker_B] + (draw_B * length_B).long()
    return torch.where((left_out_B < 0) & (length_B > 0), random_B, left_out_B)


@torch.inference_mode(False)  # whoever asks first: what is kept may be learned from
def _ragged(matrix: sparse.csr_array, device: torch.device) -> Ragged:
    start = torch.from_numpy(matrix.indptr.astype(np.int64)).to(device)
    return Ragged(start, torch.from_numpy(matrix.indices.astype(np.int64)).to(device), matrix.shape[1])
