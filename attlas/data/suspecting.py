"""What looks wrong in data: each finding is one sentence that says what was seen and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from attlas.data.cells import MISSING
from attlas.data.columns import best_columns
from attlas.data.interactions import Interactions

SAMPLE = 100_000  # what the first rows rule out need not be asked of all
EARLIEST = 631_152_000  # 1990: interactions with a computer are hardly older
MOST_COMPARED = 30  # columns
DULL = ("constant-column", "all-distinct", "key-column", "empty-column")  # such columns go one to one with nothing
MANY, HEAVY = 100, 0.05  # of so many users, one with such a share of the rows stands out


@dataclass(frozen=True)
class Finding:
    """Something suspicious: a short code, one sentence that says what and what to do, and of which share of the data it is."""

    code: str
    sentence: str
    size: float = 1.0


def suspicions(data: Interactions, *, now: int) -> tuple[Finding, ...]:
    """What looks wrong in rows of (user, item).

    Args:
        now: seconds since 1970; times after that lie in the future.
    """
    return (*_of_users(data), *_of_times(data, now), *_of_ratings(data))


def column_suspicions(table: pl.DataFrame, columns: dict[str, str], *, has_repeats: bool) -> tuple[Finding, ...]:
    """What looks wrong in the columns of a table as it was read.

    Args:
        table: the raw columns.
        columns: what the user, the item, the rating and the time are called in it.
        has_repeats: whether pairs of user and item come again; only then can whole rows.
    """
    if len(table) < 2:
        return ()
    roles = {name: role for role, name in columns.items()}
    text = {name: _text(table[name]) for name in table.columns}
    of_column = {name: [*_of_column(text[name], name, roles.get(name))] for name in table.columns}
    found = [finding for each in of_column.values() for finding in each]
    dull = {name for name, each in of_column.items() if any(finding.code in DULL for finding in each)}
    found += _of_ids(table, columns)
    copies = len(table) - table.n_unique() if has_repeats else 0
    if copies:
        twice = "were they written twice? If not, they only say how often"
        found.append(
            Finding("copies", f"{copies:,} rows say the same as another in every column: {twice}", copies / len(table))
        )
    told = [name for name in table.columns if name not in dull][:MOST_COMPARED]
    found += [pair for one, other in combinations(told, 2) for pair in _one_to_one(text[one], text[other], one, other, roles)]
    return tuple(found)


def percent(share: float, digits: int = 1) -> str:
    """A share of 0..1 as a person reads it."""
    return f"{100 * share:.{digits}f} %"


def iso(seconds: Any) -> str:
    """Seconds since 1970 as ``2003-02-28 17:49:50``; beyond the year 9999 as a number of seconds."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{int(seconds)} seconds"


def _of_users(data: Interactions) -> Iterator[Finding]:
    rows = np.bincount(data.user, minlength=len(data.users))
    users, single = int((rows > 0).sum()), int((rows == 1).sum())
    if single:
        share = single / users
        more = "; leave them out, or see them as strangers" if share > 0.5 else ""
        yield Finding(
            "single-users",
            f"{single:,} of {users:,} users ({percent(share)}) have one row: it cannot be both learnt from and held out, so "
            f"they are never measured{more}",
            share,
        )
    if users >= MANY and rows.max() >= HEAVY * len(data):
        who, share = data.users.ids[int(rows.argmax())], float(rows.max() / len(data))
        yield Finding(
            "heavy-user",
            f"user {who!r} alone has {percent(share)} of the rows: if that is a robot or a shared account, leave its rows out",
            share,
        )
    if data.origin.repeats:
        share = data.origin.repeats / (len(data) + data.origin.repeats)
        yield Finding(
            "repeats",
            f"{percent(share)} of the rows choose an item again: decide whether to recommend what was chosen already "
            "(exclude_seen, or --include-seen)",
            share,
        )
    if not any(_are_numbers(known.ids) for known in (data.users, data.items)):  # numbers from 1 are shared by any two
        shared = int(data.items.ids.is_in(data.users.ids.implode()).sum())
        if shared * 2 >= len(data.items):
            yield Finding(
                "items-are-users",
                f"{shared:,} of {len(data.items):,} item ids are user ids too: is this a table of who knows whom? Name the "
                "right column with --item",
                shared / len(data.items),
            )


def _are_numbers(ids: pl.Series) -> bool:
    return ids.cast(pl.Int64, strict=False).null_count() == 0


def _of_times(data: Interactions, now: int) -> Iterator[Finding]:
    if data.time is None or len(data) < 2:
        return
    first, last = int(data.time.min()), int(data.time.max())
    if first == last:
        yield Finding("equal-times", f"all times are {iso(first)}: they give no order; read none with --time ''")
        return
    late = int((data.time > now).sum())
    if late:
        yield Finding(
            "future-times",
            f"{late:,} times lie in the future, up to {iso(last)}: check their unit, or leave those rows out",
            late / len(data),
        )
    early = int((data.time < EARLIEST).sum())
    if early:
        yield Finding(
            "early-times",
            f"{early:,} times lie before 1990, from {iso(first)}: are they seconds since 1970? Name another column with "
            "--time, or '' for none",
            early / len(data),
        )
    elif not (data.time % 86_400).any():
        yield Finding(
            "whole-days",
            "times are whole days: within a day the order of the rows stands in for time, so a split by time is rough",
        )


def _of_ratings(data: Interactions) -> Iterator[Finding]:
    if data.rating is not None and len(data) > 1 and (data.rating == data.rating[0]).all():
        yield Finding("equal-ratings", f"all ratings are {data.rating[0]:g}: they say nothing; read none with --rating ''")


def _of_column(text: pl.Series, name: str, role: str | None) -> Iterator[Finding]:
    missing = text.null_count() / len(text)
    leave = f"; name another with --{role}" if role in ("user", "item") else f"; read none with --{role} ''" if role else ""
    if missing == 1:
        yield Finding("empty-column", f"column {name!r} is empty{leave}")
    elif missing > 0.5:
        yield Finding(
            "mostly-missing",
            f"column {name!r} is empty in {percent(missing, 0)} of the rows; those rows say nothing by it{leave}",
            missing,
        )
    elif role not in ("rating", "time") and _distinct(text, at_most=1) == 1:  # of those the values themselves were looked at
        yield Finding("constant-column", f"column {name!r} says {text.drop_nulls()[0]!r} in every row: it tells nothing{leave}")
    elif role in ("user", "item") and _distinct(text) == len(text):
        other = "item" if role == "user" else "user"
        yield Finding(
            "all-distinct",
            f"column {name!r} has a new {role} in every row, as a row number has: nothing can be learnt of a {role} seen once; "
            f"is the {role} or the {other} another column? Name it with --{role}",
        )
    elif role is None and _distinct(text) == len(text):
        yield Finding("key-column", f"column {name!r} has a new value in every row, as a key or text has; it is not read")


def _of_ids(table: pl.DataFrame, columns: dict[str, str]) -> Iterator[Finding]:
    for role in ("user", "item"):
        numbers = table[columns[role]].cast(pl.Int64, strict=False) if role in columns else pl.Series([None])
        if not numbers.null_count() and (numbers.diff().drop_nulls() == 1).all():
            yield Finding(
                "row-number",
                f"column {columns[role]!r} counts {numbers[0]}, {numbers[1]}, ...: it numbers the rows and is no {role}; name "
                f"the right column with --{role}",
            )
    if best_columns([columns.get("item", "")], "user") and not best_columns([columns["item"]], "item"):
        yield Finding(
            "items-named-as-users",
            f"column {columns['item']!r} was taken for the item and is called like a user; check --user and --item",
        )


def _one_to_one(one: pl.Series, other: pl.Series, name: str, twin: str, roles: dict[str, str]) -> Iterator[Finding]:
    if not _go_together(one.head(SAMPLE), other.head(SAMPLE)) or not _go_together(one, other):
        return
    both = {roles.get(name), roles.get(twin)} - {None}
    if both == {"user", "item"}:
        what = "each user has one item and each item one user, so nothing connects them; name other columns with --user, --item"
    elif "item" in both and len(both) == 1:
        what = "if one names the items, put the two into a table of their own and give it with --items"
    else:
        what = "they say the same twice; one is enough"
    yield Finding("one-to-one", f"columns {name!r} and {twin!r} go one to one; {what}")


def _go_together(one: pl.Series, other: pl.Series) -> bool:
    count = one.n_unique()
    return count == other.n_unique() == pl.DataFrame({"one": one, "other": other}).n_unique()


def _distinct(text: pl.Series, *, at_most: int | None = None) -> int:
    """How many different values; beyond ``at_most``, or below as many as rows, whatever the first rows have shown."""
    first = text.head(SAMPLE)
    count = first.n_unique() - (first.null_count() > 0)
    if (at_most is not None and count > at_most) or (at_most is None and count < len(first)):
        return count
    return text.n_unique() - (text.null_count() > 0)


def _text(cells: pl.Series) -> pl.Series:
    """Cells with what means "missing" as null."""
    if cells.dtype != pl.String:
        return cells.fill_nan(None) if cells.dtype.is_float() else cells
    return cells.set(cells.is_in(MISSING), None) if cells.is_in(MISSING).any() else cells
