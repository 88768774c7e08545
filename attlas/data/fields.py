"""Feature fields: what each is called and knows, what is known of each user and item, and rows of them as tensors.

All fields' categories stand one after another in one table, the features; behind the categories of each field stands its
"unknown", for whatever was not there in training. A row names one feature of each field. A field that holds several at once
(genres) names a bag: bags are numbered behind the last feature, and stand for the mean of what they hold.

Shapes: B pairs or rows, F fields, U users, I items, V askers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, nearest
from attlas.ops.ragged import Ragged

Role = Literal["user", "item", "context"]
Kind = Literal["category", "number", "buckets", "bag"]
UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Field:
    """One field of a row.

    Attributes:
        name: what the table calls it.
        known: its categories; of a number only its name, of buckets their bounds.
        role: whether it is known of the user, of the item, or belongs to the moment.
        kind: what its cells say: one category, a number that weighs its one feature, a number put into buckets, or several
            categories.
        edges: where the buckets of a number end, rising.
        centre, spread: what is taken from a number, and what it is then divided by.
    """

    name: str
    known: Vocabulary
    role: Role = "context"
    kind: Kind = "category"
    edges: tuple[float, ...] = ()
    centre: float = 0.0
    spread: float = 1.0

    @property
    def size(self) -> int:
        """How many features it has: its categories and the unknown."""
        return len(self.known) + 1


@dataclass(frozen=True, eq=False)
class Fields:
    """Rows of features.

    Attributes:
        index: int64[B, F], the feature of each field, or behind the last feature the bag.
        value: float32[B, F], what each feature is multiplied by, or None where all are taken as they are.
        bags: the features that each bag holds, or None where there are none.
    """

    index: Tensor
    value: Tensor | None = None
    bags: Ragged | None = None

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device) -> Fields:
        """The same on a device."""
        value = None if self.value is None else self.value.to(device)
        return Fields(self.index.to(device), value, None if self.bags is None else self.bags.to(device))


@dataclass(frozen=True, eq=False)
class Crossed:
    """Every asker's row crossed with every item's: V x I rows, of which neither half is ever repeated.

    Attributes:
        asker: V rows of the fields at ``asker_place``: the user's and the moment's.
        item: I rows of the fields at ``item_place``.
        asker_place, item_place: which of the F fields each half holds.
    """

    asker: Fields
    item: Fields
    asker_place: tuple[int, ...]
    item_place: tuple[int, ...]

    def rows(self, asker: int) -> Fields:
        """All rows of one asker, written out, [I, F]."""
        order = np.argsort([*self.asker_place, *self.item_place])
        count = len(self.item)

        def joined(mine_F: Tensor, theirs_IF: Tensor) -> Tensor:
            return torch.cat([mine_F.expand(count, -1), theirs_IF], dim=1)[:, torch.from_numpy(order)].contiguous()

        value = None
        if self.asker.value is not None and self.item.value is not None:
            value = joined(self.asker.value[asker], self.item.value)
        return Fields(joined(self.asker.index[asker], self.item.index), value, self.asker.bags)


@dataclass(frozen=True, eq=False)
class Features:
    """All fields, and what is known of each user and item.

    Attributes:
        fields: in the order of a row.
        user_index, item_index: int64[U, Fu] and int64[I, Fi], the features of every user and item, in the order of the fields
            of that role.
        user_value, item_value: float32 of the same shapes, or None where all are 1.
        bags: the features that each bag holds, or None.
        is_seen: bool, of each feature whether training has it, or None where it has all.
    """

    fields: tuple[Field, ...]
    user_index: np.ndarray
    item_index: np.ndarray
    user_value: np.ndarray | None = None
    item_value: np.ndarray | None = None
    bags: Ragged | None = None
    is_seen: np.ndarray | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of_ids(cls, users: Vocabulary, items: Vocabulary) -> Features:
        """Two fields, the user and the item: nothing else is known."""
        fields = Field("user", users, "user"), Field("item", items, "item")
        return cls(fields, np.arange(len(users))[:, None], len(users) + 1 + np.arange(len(items))[:, None])

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many features each field has."""
        return tuple(one.size for one in self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """What each field is called."""
        return tuple(one.name for one in self.fields)

    @cached_property
    def first(self) -> np.ndarray:
        """The first feature of each field, and behind them how many features there are, int64[F + 1]."""
        return np.cumsum([0, *self.sizes])

    @property
    def unknown(self) -> np.ndarray:
        """The feature of each field that stands for what was not there in training, int64[F]."""
        return self.first[1:] - 1

    def places(self, *roles: Role) -> tuple[int, ...]:
        """Which fields have one of the roles."""
        return tuple(place for place, one in enumerate(self.fields) if one.role in roles)

    def place_of(self, name: str) -> int:
        """Which field has that name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.names:
            raise ConfigError(f"no field is called {name!r}; {nearest(name, self.names)}")
        return self.names.index(name)

    def is_known(self, user: np.ndarray) -> np.ndarray:
        """Whether training has seen each user, bool[V]; -1 is one whom it has not."""
        return (user >= 0) & (self.user_index[user, 0] != self.unknown[self.places("user")[0]])

    def said(self, index_F: Sequence[int], bags: Ragged | None = None) -> list[str]:
        """What the features of one row are called, in the order of the fields; bags are those of the row, or the known ones."""
        return [self._called(place, int(index), bags or self.bags) for place, index in enumerate(index_F)]

    def _called(self, place: int, index: int, bags: Ragged | None) -> str:
        if index >= self.first[-1] and bags is not None:
            bag = index - int(self.first[-1])
            held = bags.index[bags.start[bag] : bags.start[bag + 1]].tolist()
            return ", ".join(self._called(place, one, None) for one in held)
        one, inside = self.fields[place], index - int(self.first[place])
        return UNKNOWN if inside == len(one.known) else one.known.titles_of([inside])[0]

    def pairs(self, user_B: Tensor, item_B: Tensor, context: Fields | None = None) -> Fields:
        """The rows of B pairs of user and item.

        Args:
            user_B, item_B: int64[B]; -1 is one whom training has not seen.
            context: B rows of the context's fields; None where nothing is known of the moment.
        """
        index_BF = self._tensor("unknown", self.unknown, user_B).repeat(len(user_B), 1)
        weighs = any(value is not None for value in (self.user_value, self.item_value, context and context.value))
        value_BF = torch.ones(index_BF.shape, device=index_BF.device) if weighs else None
        for role, of_B in (("user", user_B), ("item", item_B)):
            places = self.places(role)  # type: ignore[arg-type]
            for name, all_BF in (("index", index_BF), ("value", value_BF)):
                known = getattr(self, f"{role}_{name}")
                if all_BF is not None and known is not None:
                    known_BF = self._tensor(f"{role}_{name}", known, of_B)[of_B.clamp(min=0)]
                    all_BF[:, places] = torch.where((of_B < 0)[:, None], all_BF[:, places], known_BF)
        if context is not None:
            places = self.places("context")
            index_BF[:, places] = context.index
            if value_BF is not None and context.value is not None:
                value_BF[:, places] = context.value
        return Fields(index_BF, value_BF, self.bags_on(index_BF.device) if context is None else context.bags)

    def crossed(self, user_V: Tensor, context: Fields | None = None) -> Crossed:
        """Every asker's row with that of every item.

        Args:
            user_V: int64[V]; -1 is one whom training has not seen.
            context: V rows of the context's fields; None where nothing is known of the moment.
        """
        mine, theirs = self.places("user", "context"), self.places("item")
        asker, item = self.pairs(user_V, torch.full_like(user_V, -1), context), self._items(user_V.device)
        if asker.value is not None and item.value is None:
            item = replace(item, value=torch.ones(item.index.shape, device=item.index.device))
        return Crossed(_columns(asker, mine), item, mine, theirs)

    def _items(self, device: torch.device) -> Fields:
        """The fields of every item, made once."""
        if "items" not in self.made or self.made["items"].index.device != device:
            item_I = torch.arange(len(self.item_index), device=device)
            self.made["items"] = _columns(self.pairs(torch.full_like(item_I, -1), item_I), self.places("item"))
        items: Fields = self.made["items"]
        return items

    def bags_on(self, device: torch.device) -> Ragged | None:
        """What each bag holds, where rows lie; moved there once."""
        if self.bags is None or self.bags.start.device == device:
            return self.bags
        if "bags" not in self.made or self.made["bags"].start.device != device:
            self.made["bags"] = self.bags.to(device)
        bags: Ragged = self.made["bags"]
        return bags

    def _tensor(self, name: str, array: np.ndarray, like: Tensor) -> Tensor:
        if name not in self.tensors or self.tensors[name].device != like.device:
            self.tensors[name] = torch.from_numpy(np.ascontiguousarray(array)).to(like.device)
        return self.tensors[name]


def _columns(rows: Fields, places: tuple[int, ...]) -> Fields:
    value = None if rows.value is None else rows.value[:, list(places)].contiguous()
    return replace(rows, index=rows.index[:, list(places)].contiguous(), value=value)
