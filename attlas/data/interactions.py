"""Interactions: who chose what, how much, and when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from attlas.data.cleaning import Cleaning, settle
from attlas.data.vocabulary import Vocabulary
from attlas.errors import DataError

FACTS = ("rating", "time", "count")


@dataclass(frozen=True)
class Origin:
    """Where interactions came from and what became of the rows.

    Attributes:
        source: the file or the kind of frame.
        rows: rows read.
        columns: what the table calls the user, the item, the rating and the time, and the count where a column was added up.
        dropped: how many rows were left aside for which reason.
        repeats: how many rows told of a pair of user and item that another row had told of.
        notes: what else a person should know, one sentence each.
    """

    source: str = "memory"
    rows: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What a person should hear after reading: columns guessed, rows read, kept and dropped."""
        named = ", ".join(f"{role} = {name!r}" for role, name in self.columns.items())
        kept = self.rows - sum(self.dropped.values())
        said = [f"{self.source}: columns {named}"] if named else []
        said.append(f"{self.rows:,} rows read, {kept:,} kept")
        said += [f"{count:,} rows dropped: {reason}" for reason, count in self.dropped.items() if count]
        share = self.repeats / (kept + self.repeats) if self.repeats else 0.0
        if share >= 0.005:
            hint = "think about --include-seen (exclude_seen=False)"
            said.append(f"{share:.0%} of rows repeat an earlier choice of the same user and item; {hint}")
        return said + list(self.notes)


@dataclass(frozen=True, eq=False)
class Interactions:
    """Rows of (user, item), with a rating and a time where they are known.

    Attributes:
        users, items: the vocabularies; they may know more ids than the rows mention.
        user, item: int64[N], indices into the vocabularies.
        rating: float32[N], or None where the source has none.
        time: int64[N] in seconds since 1970, or None.
        count: float32[N], how often or how much the pair was chosen, or None where nothing tells one row from another.
        origin: where the rows came from.
    """

    users: Vocabulary
    items: Vocabulary
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray | None = None
    time: np.ndarray | None = None
    origin: Origin = field(default_factory=Origin)
    count: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("user", "item", *FACTS):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.user):
                raise DataError(f"{name} has {len(values):,} values for {len(self.user):,} interactions")
        for name, known in (("user", self.users), ("item", self.items)):
            index = getattr(self, name)
            if len(index) and (index.min() < 0 or index.max() >= len(known)):
                raise DataError(f"{name} indices reach from {index.min()} to {index.max()}; expected 0 to {len(known) - 1}")

    @classmethod
    def of(cls, user: Any, item: Any, rating: Any = None, time: Any = None) -> Interactions:
        """Interactions from parallel sequences of outside ids; indices follow the order of first appearance."""
        user_series, item_series = pl.Series("user", user), pl.Series("item", item)
        users = Vocabulary(user_series.unique(maintain_order=True), noun="user")
        items = Vocabulary(item_series.unique(maintain_order=True), noun="item")
        return cls(
            users,
            items,
            users.index_of(user_series.to_list()),
            items.index_of(item_series.to_list()),
            None if rating is None else np.asarray(rating, dtype=np.float32),
            None if time is None else np.asarray(time, dtype=np.int64),
            Origin(rows=len(user_series)),
        )

    @classmethod
    def of_matrix(cls, matrix: Any) -> Interactions:
        """Interactions from the cells that are not zero of a sparse matrix with a row per user and a column per item.

        The places of rows and columns become the ids; values become ratings, unless all of them are 1.
        """
        cells = sparse.csr_array(matrix, copy=True)
        cells.sum_duplicates()
        cells = cells.tocoo()
        rating = np.asarray(cells.data, dtype=np.float32)
        bad = {"missing rating": ~np.isfinite(rating), "explicit zeros": rating == 0}
        keep = ~np.any(list(bad.values()), axis=0)
        if not keep.any():
            raise DataError(
                f"the sparse matrix of shape {matrix.shape} is empty; expected one cell that is not zero per interaction"
            )
        users, items = (
            Vocabulary(pl.int_range(n, eager=True), noun=noun) for n, noun in zip(matrix.shape, ("user", "item"), strict=True)
        )
        user, item = cells.row[keep].astype(np.int64), cells.col[keep].astype(np.int64)
        idle = (len(users) - len(np.unique(user)), len(items) - len(np.unique(item)))
        notes = ["ids are the places of rows (users) and columns (items) in the matrix"]
        notes += [f"{idle[0]:,} users and {idle[1]:,} items of the matrix have no interaction"] if any(idle) else []
        dropped = {reason: int(rows.sum()) for reason, rows in bad.items() if rows.any()}
        origin = Origin("sparse matrix", len(rating), {}, dropped, notes=tuple(notes))
        return cls(users, items, user, item, None if (rating[keep] == 1).all() else rating[keep], None, origin)

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} of {len(self.users):,} users and {len(self.items):,} items)"

    @cached_property
    def by_user(self) -> sparse.csr_array:
        """The set of items of each user, binary [U, I], each row sorted by item."""
        return self._pattern(self.user, self.item, (len(self.users), len(self.items)))

    @cached_property
    def by_item(self) -> sparse.csr_array:
        """The set of users of each item, binary [I, U], each row sorted by user."""
        return self._pattern(self.item, self.user, (len(self.items), len(self.users)))

    @cached_property
    def counts_by_user(self) -> sparse.csr_array:
        """How often each user chose each item, [U, I], in the rows of ``by_user``; 1 where counts are not known."""
        if self.count is None:
            return self.by_user
        matrix = sparse.csr_array((self.count, (self.user, self.item)), shape=(len(self.users), len(self.items)))
        matrix.sort_indices()
        return matrix

    @staticmethod
    def _pattern(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
        matrix = sparse.csr_array((np.ones(len(row), np.float32), (row, column)), shape=shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix

    def take(self, rows: np.ndarray) -> Interactions:
        """The given rows (indices or a mask) with the same vocabularies."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            **{name: values[rows] for name, values in self.facts.items()},
        )

    @property
    def facts(self) -> dict[str, np.ndarray]:
        """What is known of each row beside its user and item, by name: rating, time and count."""
        return {name: values for name in FACTS if (values := getattr(self, name)) is not None}

    def without_repeats(self) -> Interactions:
        """Of equal pairs of user and item only the latest row, or of equal times the later one, in the order of the rows."""
        row = settle(self.user * len(self.items) + self.item, Cleaning("last"), self.time).row
        return self if len(row) == len(self) else self.take(row)

    def with_items(self, columns: pl.DataFrame) -> Interactions:
        """The same rows with facts about each item, one row per item in the order of the vocabulary."""
        return replace(self, items=self.items.with_columns(columns))

    def to_frame(self) -> pl.DataFrame:
        """The rows in outside ids, as a frame of polars: user, item and, where known, rating, time and count."""
        columns = {"user": self.users.ids.gather(self.user), "item": self.items.ids.gather(self.item)}
        return pl.DataFrame(columns | self.facts)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids, rows and their facts: equal data in equal order have equal fingerprints."""
        digest = hashlib.sha256()
        for ids in (self.users.ids, self.items.ids):
            digest.update("\x1f".join(map(str, ids.to_list())).encode())
        for values in (self.user, self.item, self.rating, self.time):
            digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
        if self.count is not None:
            digest.update(np.ascontiguousarray(self.count).tobytes())
        return digest.hexdigest()
