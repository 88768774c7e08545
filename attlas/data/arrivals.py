"""Rows that come after training: read as the first ones were, and joined to them so that every index keeps its meaning.

Shapes: N new rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from attlas.data.cleaning import Cleaning, settle
from attlas.data.columns import ROLES
from attlas.data.fields import Features
from attlas.data.interactions import FACTS, Interactions
from attlas.data.readers import bulk_index, read
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, DataError, nearest

NAMED = ("user", "item", "rating", "time", "separator", "repeat", "positive", "returns")  # what holds for later rows too


@dataclass(frozen=True, eq=False)
class Arrivals:
    """What is known once new rows have come.

    Attributes:
        data: all rows, with one for each pair of user and item; whoever was known has the index of before.
        new: the new rows, of the same vocabularies, in the order in which they came.
        num_users, num_items: how many were known before.
        notes: what a person should hear, one sentence each.
    """

    data: Interactions
    new: Interactions
    num_users: int
    num_items: int
    notes: tuple[str, ...] = ()


def read_events(source: Any, settings: Mapping[str, Any], **named: Any) -> Interactions:
    """New rows as the settings of ``[data]`` say that the first ones were read.

    Args:
        source: whatever ``attlas.read`` takes, Interactions, or a list of rows: mappings of a column's name to its cell, or
            sequences that begin with user and item, then perhaps rating and time.
        settings: of the run, by name; what is not among them is guessed.
        named: what differs now, of ``NAMED``, items and users; None means as before, and ``positive=""`` that all rows count.

    Raises:
        DataError: no row can be used, a column is missing, or a cell cannot be understood.
        ConfigError: there is no such setting.
    """
    for name in named:
        if name not in (*NAMED, "items", "users"):
            raise ConfigError(f"new rows have no setting {name!r}; {nearest(name, (*NAMED, 'items', 'users'))}")
    if isinstance(source, Interactions):
        return source
    said = {name: settings[name] for name in NAMED if settings.get(name) is not None}
    said |= {name: value for name, value in named.items() if value is not None}
    if said.get("positive") == "":
        del said["positive"]
    return read(_framed(source, said) if isinstance(source, Sequence) and not isinstance(source, str) else source, **said)


def _framed(rows: Sequence[Any], said: Mapping[str, Any]) -> pl.DataFrame:
    """A list of rows as a frame whose columns bear the names that are looked for."""
    if not len(rows):
        raise DataError("no new rows came; expected at least one with a user and an item")
    if all(isinstance(row, Mapping) for row in rows):
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)
    widths = {len(row) if isinstance(row, Sequence) and not isinstance(row, str) else 0 for row in rows}
    if len(widths) != 1 or not widths <= {2, 3, 4}:
        raise DataError(
            f"new rows have {', '.join(map(str, sorted(widths)))} cells; expected user and item, then perhaps rating and time, "
            "in all alike, or a mapping of column to cell for each row"
        )
    names = [said.get(role) or role for role in ROLES[: widths.pop()]]
    return pl.DataFrame([list(row) for row in rows], schema=names, orient="row", infer_schema_length=None, strict=False)


def joined(known: Interactions, events: Interactions, *, repeat: str = "count") -> Arrivals:
    """What is known with new rows behind it.

    Args:
        known: the rows of before, of which a pair may have several.
        events: with vocabularies of their own.
        repeat: what several rows of one user and item become; see ``attlas.data.cleaning.Cleaning``.

    Raises:
        DataError: there are no new rows, or an id cannot be spelled as those that are known.
    """
    if not len(events):
        raise DataError("no new rows came; expected at least one with a user and an item")
    users, user = _with_newcomers(known.users, events.users)
    items, item = _with_newcomers(known.items, events.items)
    new = replace(events, users=users, items=items, user=user[events.user], item=item[events.item])
    lost = [name for name in ("rating", "time") if getattr(known, name) is not None and getattr(new, name) is None]
    notes = [f"the new rows have no {name}, so that the history has none from now on" for name in lost]
    both = end_to_end(replace(known, users=users, items=items), new)
    return Arrivals(_settled(both, repeat), new, len(known.users), len(known.items), (*events.origin.notes, *notes))


def _with_newcomers(known: Vocabulary, came: Vocabulary) -> tuple[Vocabulary, np.ndarray]:
    """The known ids with new ones behind them, and the index there of each that came."""
    ids = came.ids.cast(known.ids.dtype, strict=False) if len(known) else came.ids
    if ids.null_count():
        odd = came.ids.filter(ids.is_null())[0]
        raise DataError(f"{known.noun} {odd!r} is no whole number, and all known {known.noun}s are, such as {known.ids[0]}")
    is_new = ~ids.is_in(known.ids.cast(ids.dtype).implode())
    fresh = ids.filter(is_new).unique(maintain_order=True)
    every = pl.concat([known.ids.rename("id"), fresh.rename("id")]) if len(known) else fresh
    columns = known.columns
    if columns is not None or (came.columns is not None and len(fresh)):
        before = pl.DataFrame({"id": known.ids}) if columns is None else columns
        after = pl.DataFrame({"id": ids}) if came.columns is None else came.columns
        both = pl.concat([before, after.filter(is_new)], how="diagonal_relaxed")
        columns = both.select(before.columns if columns is not None else after.columns)
    grown = Vocabulary(every, columns, noun=known.noun)
    return grown, bulk_index(ids, grown)


def _both(name: str, known: Interactions, new: Interactions) -> np.ndarray | None:
    """A fact about all rows; None where one part lacks it, but for counts, which are 1 where none was counted."""
    if name == "count":
        if known.count is None and new.count is None:
            return None
        counts = [np.ones(len(part), np.float32) if part.count is None else part.count for part in (known, new)]
        return np.concatenate(counts)
    lacks = any(getattr(part, name) is None for part in (known, new))
    return None if lacks else np.concatenate([getattr(part, name) for part in (known, new)])


def _settled(both: Interactions, repeat: str) -> Interactions:
    """One row per pair, as cleaning would have left it had all rows come at once; counts add up."""
    is_counted = repeat not in ("first", "last")
    cleaning = Cleaning("sum:count") if is_counted else Cleaning(repeat)
    amount = np.ones(len(both), np.float64) if both.count is None else both.count.astype(np.float64)
    found = settle(both.user * len(both.items) + both.item, cleaning, both.time, amount if is_counted else None)
    count = found.amount
    if count is not None and both.count is None and (count == 1).all():
        count = None
    kept = both if len(found.row) == len(both) else both.take(found.row)
    return replace(kept, count=count)


def end_to_end(one: Interactions, other: Interactions) -> Interactions:
    """The rows of both, of the same vocabularies; a fact that one of them lacks is left out, but for counts."""
    facts: dict[str, Any] = {name: _both(name, one, other) for name in FACTS}
    user, item = (np.concatenate([getattr(part, name) for part in (one, other)]) for name in ("user", "item"))
    return replace(one, user=user, item=item, **facts)


def of_labelled(features: Features, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How new rows are read where labelled rows were learned from: by the names of their fields, and positive ones only."""
    user, item = (features.names[features.places(role)[0]] for role in ("user", "item"))
    label = settings.get("label")
    said = {"user": user, "item": item, "rating": "", "time": "", "repeat": "last"}
    return said | ({"positive": f"{label}>0"} if label else {})
