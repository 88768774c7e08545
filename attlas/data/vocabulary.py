"""Outside ids and inside indices, and the facts that are known of each id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from attlas.errors import DataError, UnknownId

TITLE_COLUMNS = ("title", "name", "item_name", "movie_title", "product", "description")
STRANGERS = (
    "; a history serves strangers: recommend_for(item_ids) or --history; "
    "the most popular serve anybody: unknown='popular' or --unknown popular"
)


class Vocabulary:
    """The ids of users or of items, in the order of their indices.

    Args:
        ids: unique, without missing ones; text or whole numbers.
        columns: one row per id in the same order: titles and other facts.
        noun: what an id names, for messages: ``user`` or ``item``.
    """

    def __init__(self, ids: pl.Series | Sequence[str | int], columns: pl.DataFrame | None = None, *, noun: str = "id"):
        series = ids if isinstance(ids, pl.Series) else pl.Series("id", list(ids))
        if not len(series):
            series = series.cast(pl.String)
        self.ids = series.cast(pl.Int64) if series.dtype.is_integer() else series
        self.noun = noun
        self._check(columns)
        self.columns = columns

    def _check(self, columns: pl.DataFrame | None) -> None:
        if self.ids.dtype not in (pl.String, pl.Int64):
            raise DataError(f"{self.noun} ids are {self.ids.dtype}; expected text or whole numbers")
        if self.ids.null_count():
            raise DataError(f"{self.ids.null_count():,} {self.noun} ids are missing; drop those rows first")
        if self.ids.n_unique() != len(self.ids):
            raise DataError(f"{self.noun} ids repeat: {len(self.ids):,} given, {self.ids.n_unique():,} distinct")
        if columns is not None and columns.height != len(self.ids):
            raise DataError(
                f"{columns.height:,} rows of {self.noun} columns for {len(self.ids):,} ids; expected one row per id"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.ids.dtype == other.ids.dtype and self.ids.equals(other.ids)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} {self.noun}s)"

    @cached_property
    def _index(self) -> dict[str | int, int]:
        return {id_: index for index, id_ in enumerate(self.ids.to_list())}

    def find(self, ids: Iterable[str | int]) -> np.ndarray:
        """The index of each id, int64[N]; -1 where an id is unknown.

        Whole numbers find text ids that spell them and the other way round, since a terminal knows only text. Blanks beside an
        id are no part of it, and a whole number that is stored as a float is that number, as where tables are read.
        """
        spelled = (self.spell(id_) for id_ in ids)
        return np.fromiter((-1 if id_ is None else self._index.get(id_, -1) for id_ in spelled), dtype=np.int64)

    def spell(self, id_: Any) -> str | int | None:
        """An id, known or not, in the type of the vocabulary's own; None where it has no such spelling."""
        if id_ is None or isinstance(id_, bool | np.bool_):
            return None
        if self.ids.dtype != pl.String:
            return _whole_number(id_)
        text = str(id_)
        if text in self._index:
            return text
        is_whole = isinstance(id_, float | np.floating) and float(id_).is_integer()
        return str(int(id_)) if is_whole else text.strip()  # as it would have been read

    def spelled(self, ids: Sequence[Any]) -> pl.Series:
        """The ids, known or not, in the type of the vocabulary's own; all as text where one cannot be spelled so."""
        ours = [self.spell(id_) for id_ in ids]
        if None in ours:
            return pl.Series(
                [str(given if id_ is None else id_) for given, id_ in zip(ids, ours, strict=True)], dtype=pl.String
            )
        return pl.Series(ours, dtype=self.ids.dtype)

    def index_of(self, ids: Iterable[str | int]) -> np.ndarray:
        """The index of each id, int64[N].

        Raises:
            UnknownId: at least one id is not in the vocabulary.
        """
        ids = list(ids)
        index = self.find(ids)
        unknown = [id_ for id_, place in zip(ids, index, strict=True) if place < 0]
        if unknown:
            others = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
            raise UnknownId(
                f"{self.noun} {unknown[0]!r}{others} is not among the {len(self):,} known {self.noun}s"
                + (STRANGERS if self.noun == "user" else "")
            )
        return index

    def ids_of(self, index: Sequence[int] | np.ndarray) -> list[str | int]:
        """The outside id of each index."""
        return self.ids.gather(np.asarray(index, dtype=np.int64)).to_list()

    def titles_of(self, index: Sequence[int] | np.ndarray) -> list[str]:
        """A readable name of each index: its title where one is known, else its id."""
        ids = [str(id_) for id_ in self.ids_of(index)]
        column = self.title_column
        if column is None or self.columns is None:
            return ids
        titles = self.columns[column].gather(np.asarray(index, dtype=np.int64)).cast(pl.String).to_list()
        return [title if title else id_ for title, id_ in zip(titles, ids, strict=True)]

    @cached_property
    def title_column(self) -> str | None:
        """The column that holds titles, or None."""
        if self.columns is None:
            return None
        lower = {name.lower(): name for name in self.columns.columns}
        return next((lower[name] for name in TITLE_COLUMNS if name in lower), None)

    def with_columns(self, columns: pl.DataFrame) -> Vocabulary:
        """The same ids with other facts beside them, one row per id in the same order."""
        return Vocabulary(self.ids, columns, noun=self.noun)


def listed(ids: Any) -> list[str | int]:
    """Ids as a list; one id alone is a list of one."""
    return list([ids] if isinstance(ids, str | int | np.integer) else ids)


def _whole_number(id_: Any) -> int | None:
    is_whole = (
        isinstance(id_, int | np.integer)
        or (isinstance(id_, float | np.floating) and id_.is_integer())
        or (isinstance(id_, str) and re.fullmatch(r"[+-]?\d{1,19}", id_.strip()) is not None)
    )
    number = int(id_) if is_whole else None
    return number if number is not None and -(2**63) <= number < 2**63 else None
