"""Titles and other facts about items or users, from a second table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from attlas.data import columns as cols
from attlas.data.doors import open_table
from attlas.data.interactions import Interactions
from attlas.data.vocabulary import TITLE_COLUMNS, Vocabulary
from attlas.errors import DataError


def with_facts(data: Interactions, items: Any, item: str | None = None) -> Interactions:
    """The same rows with titles and other facts about the items, from a path or a frame.

    The id column is the one that ``item`` or the usual names point to, or else the one that shares most ids with the data.
    """
    facts, notes = facts_about(data.items, items, item)
    return replace(data.with_items(facts), origin=replace(data.origin, notes=(*data.origin.notes, *notes)))


def with_user_facts(data: Interactions, users: Any, user: str | None = None) -> Interactions:
    """The same rows with facts about the users, found in the same way."""
    facts, notes = facts_about(data.users, users, user)
    known = data.users.with_columns(facts)
    return replace(data, users=known, origin=replace(data.origin, notes=(*data.origin.notes, *notes)))


def facts_about(known: Vocabulary, source: Any, column: str | None) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The facts of a table about each id in its order, and what a person should know.

    Raises:
        DataError: the table holds no facts, or none of its columns shares an id.
    """
    noun = known.noun
    table = open_table(source, None, cols.item_header if noun == "item" else cols.user_header)
    if len(table.names) < 2:
        raise DataError(
            f"{table.source} has only the column {table.names}; expected {noun} ids and, beside them, titles or other facts"
        )
    facts = table.take(table.names)
    ids = {name: _spelled(facts[name], known.ids.dtype) for name in table.names}
    wanted = pl.DataFrame({"id": known.ids})
    shared = {name: wanted.join(pl.DataFrame({"id": id_}), on="id", how="semi").height for name, id_ in ids.items()}
    named = [name for name in table.names if name.lower() not in TITLE_COLUMNS]
    by_name = [column] if column in ids else cols.best_columns(named, noun) or [name for name in named if name.lower() == "id"]
    name = by_name[0] if len(by_name) == 1 and shared[by_name[0]] else max(table.names, key=shared.__getitem__)
    if not shared[name]:
        raise DataError(
            f"no column of {table.source} shares an id with the {len(known):,} {noun}s, such as {known.ids[0]!r}; "
            f"expected a table with the same {noun} ids (its columns are {', '.join(map(repr, table.names[:20]))})"
        )
    id_ = ids[name].drop_nulls()
    repeats = len(id_) - id_.n_unique()
    note = f"{table.source}: facts about {shared[name]:,} of {len(known):,} {noun}s, matched by column {name!r}"
    note += f"; of repeated ids the first row was kept ({repeats:,} repeats)" if repeats else ""
    place = pl.DataFrame({"id": ids[name]}).with_row_index("row").drop_nulls().unique("id", keep="first")
    row = known.ids.replace_strict(place["id"], place["row"], default=None, return_dtype=pl.UInt32)
    return facts.drop(name).select(pl.all().gather(row)), (*table.notes, note)


def _spelled(cells: pl.Series, kind: pl.DataType) -> pl.Series:
    """Ids spelled in the way of a vocabulary's; all null where a column can hold no ids."""
    if cells.dtype.is_float() and (cells.fill_nan(None) % 1 == 0).all():
        cells = cells.fill_nan(None).cast(pl.Int64, strict=False)
    if not (cells.dtype.is_integer() or cells.dtype in (pl.String, pl.Categorical, pl.Enum)):
        return pl.Series(cells.name, [None], dtype=kind).new_from_index(0, len(cells))
    text = cells.cast(pl.String).str.strip_chars()
    return text if kind == pl.String else text.cast(pl.Int64, strict=False)
