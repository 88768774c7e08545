"""What a person should know about data before training on it: sizes, shares, tails, and what looks wrong."""

from __future__ import annotations

import time as clock
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from attlas.data.columns import interaction_header, is_amount
from attlas.data.interactions import Interactions
from attlas.data.readers import open_table, read
from attlas.data.split import Split, looks_like_split, read_split
from attlas.data.suspecting import Finding, column_suspicions, iso, suspicions
from attlas.errors import ConfigError

RARE = 5  # an item with fewer rows has hardly anything to be learnt from
TOP_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
MOST_BARS = 12
LATEST = 253_402_300_799  # the end of the year 9999, beyond which there are no dates
# How each period is written, and how many seconds the longest of its kind has.
PERIODS = {
    "1h": ("%Y-%m-%d %H:00", 3_600),
    "1d": ("%Y-%m-%d", 86_400),
    "1w": ("%Y-%m-%d", 7 * 86_400),
    "1mo": ("%Y-%m", 31 * 86_400),
    "1q": ("%Y-%m", 92 * 86_400),
    "1y": ("%Y", 366 * 86_400),
}


@dataclass(frozen=True)
class Spread:
    """Rows per user or per item, over those that have any."""

    median: float
    mean: float
    p90: float
    max: int


@dataclass(frozen=True)
class Bar:
    """One bar of a plot: a label and how many rows."""

    label: str
    rows: int


@dataclass(frozen=True)
class Description:
    """The facts. Shares are fractions in 0..1.

    Attributes:
        source: where the rows came from.
        rows: rows read; ``pairs`` of user and item are left of them, each counted once, and everything below counts pairs.
        users, items: those that have a row.
        filled: share of the user-item table that is filled.
        repeats, repeat_share: rows that tell of a pair again, and their share of all rows that can be used.
        first, last: the earliest and latest time, ISO, UTC; None without times.
        per_user, per_item: how many each has.
        top_users: share of the pairs that the busiest 1 % of users hold (at least one user).
        top_items: share of the pairs that the most popular 1 %, 5 %, ... of items hold, by that fraction.
        rare_items: items with fewer than 5 pairs.
        single_users: users with one pair, which cannot be held out.
        ratings: a histogram, None without ratings.
        times: pairs over time, None without times.
        parts: rows of train, validation and test where the source was split already.
        dropped: rows left aside, by reason.
        notes: what the reader said.
        findings: what looks suspicious.
    """

    source: str
    rows: int
    pairs: int
    users: int
    items: int
    filled: float
    repeats: int
    repeat_share: float
    first: str | None
    last: str | None
    per_user: Spread
    per_item: Spread
    top_users: float
    top_items: dict[str, float]
    rare_items: int
    single_users: int
    ratings: tuple[Bar, ...] | None = None
    times: tuple[Bar, ...] | None = None
    parts: dict[str, int] | None = None
    dropped: dict[str, int] | None = None
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def describe_source(source: Any, **options: Any) -> Description:
    """Read and describe whatever ``read`` or ``read_split`` takes.

    Args:
        options: those of ``read``; a given split takes none. Returns are left out, and counted, where nothing is said of them.
    """
    now, given = int(clock.time()), {name: value for name, value in options.items() if value is not None}
    if isinstance(source, str | Path) and looks_like_split(source):
        if given:
            raise ConfigError(f"{source} is split already and its columns are known; leave out {', '.join(given)}")
        made = read_split(source)
        parts = {"train": made.train, "validation": made.valid, "test": made.test}
        return describe(_together(made), now=now, parts={name: len(part) for name, part in parts.items() if part is not None})
    if sparse.issparse(source):
        return describe(read(source, **given), now=now)
    raw = open_table(source, given.get("separator"), interaction_header)
    told = {"returns": "drop"} if any(map(is_amount, raw.names)) else {}
    data = read(source, **{**told, **given})
    return describe(data, now=now, table=raw.take(raw.names))


def describe(
    data: Interactions, *, now: int, table: pl.DataFrame | None = None, parts: dict[str, int] | None = None
) -> Description:
    """The facts about rows of (user, item), of which there is at least one, and what looks wrong in them.

    Args:
        now: seconds since 1970; later times lie in the future.
        table: the raw columns that the rows were read from, to look at them too.
        parts: rows of each part of a given split.
    """
    per_user, per_item = _counts(data.user, len(data.users)), _counts(data.item, len(data.items))
    origin, pairs = data.origin, len(data)
    usable = pairs + origin.repeats
    return Description(
        source=origin.source,
        rows=max(origin.rows, pairs),
        pairs=pairs,
        users=len(per_user),
        items=len(per_item),
        filled=pairs / (len(per_user) * len(per_item)),
        repeats=origin.repeats,
        repeat_share=origin.repeats / usable,
        first=None if data.time is None else iso(data.time.min()),
        last=None if data.time is None else iso(data.time.max()),
        per_user=_spread(per_user),
        per_item=_spread(per_item),
        top_users=held_by_top(per_user, TOP_SHARES[0]),
        top_items={f"{share:g}": held_by_top(per_item, share) for share in TOP_SHARES},
        rare_items=int((per_item < RARE).sum()),
        single_users=int((per_user == 1).sum()),
        ratings=None if data.rating is None else rating_bars(data.rating),
        times=None if data.time is None else time_bars(data.time),
        parts=parts,
        dropped=dict(origin.dropped),
        notes=origin.notes,
        findings=(column_suspicions(table, origin.columns, has_repeats=origin.repeats > 0) if table is not None else ())
        + suspicions(data, now=now),
    )


def held_by_top(count: np.ndarray, share: float) -> float:
    """The share of all rows that the largest ``share`` of the counts hold; at least one counts as the top."""
    top = max(1, round(share * len(count)))
    return float(np.partition(count, len(count) - top)[len(count) - top :].sum() / count.sum())


def rating_bars(rating: np.ndarray) -> tuple[Bar, ...]:
    """Rows for each rating; for many different ones, rows in ranges that grow by powers of ten, or else of equal width."""
    value, rows = np.unique(rating, return_counts=True)
    if len(value) <= MOST_BARS:
        return tuple(Bar(f"{one:g}", int(count)) for one, count in zip(value, rows, strict=True))
    if value[0] > 0 and value[-1] / value[0] >= 1000:
        low, high = int(np.floor(np.log10(value[0]))), int(np.floor(np.log10(value[-1])))
        edges = 10.0 ** np.arange(low, high + 2)
    else:
        edges = np.linspace(value[0], value[-1], 11, dtype=np.float64)
    counts, _ = np.histogram(rating, edges)
    less = 1 if (value % 1 == 0).all() and (edges % 1 == 0).all() else 0  # whole numbers: 10 to 99, and not to 100
    highs = [*(edges[1:-1] - less), edges[-1] - (less if edges[-1] > value[-1] else 0)]
    labels = [f"{_short(low)} to {_short(high)}" for low, high in zip(edges[:-1], highs, strict=True)]
    return tuple(Bar(label, int(count)) for label, count in zip(labels, counts, strict=True))


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def time_bars(time: np.ndarray) -> tuple[Bar, ...]:
    """Rows per hour, day, week, month, quarter or year: the shortest that makes at most twelve; empty ones count too.

    Where twelve years are too few, the years are taken together in even steps.
    """
    seconds = np.clip(time, 0, LATEST)
    when = pl.Series("when", seconds * 1000).cast(pl.Datetime("ms"))
    first, last = (pl.Series([edge]).cast(when.dtype) for edge in (when.min(), when.max()))
    for period, (_, longest) in PERIODS.items():
        if period != "1y" and np.ptp(seconds) > MOST_BARS * longest:
            continue  # more than twelve however they lie, and perhaps millions
        begin = first.dt.truncate(period)[0]
        starts: pl.Series = pl.select(pl.datetime_range(begin, last[0], period)).to_series()
        if len(starts) <= MOST_BARS or period == "1y":
            break
    step = -(-len(starts) // MOST_BARS)
    starts = starts.gather_every(step)
    place = np.searchsorted(starts.dt.epoch("s").to_numpy(), seconds, side="right") - 1
    rows = np.bincount(place, minlength=len(starts))
    return tuple(Bar(start.strftime(PERIODS[period][0]), int(count)) for start, count in zip(starts, rows, strict=True))


def _together(made: Split) -> Interactions:
    """The rows of all parts, with the repeats among them counted as such."""
    parts = [part for part in (made.train, made.valid, made.test) if part is not None]
    names = set.intersection(*(set(part.facts) for part in parts))
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "item", *names)}
    data = Interactions(made.train.users, made.train.items, **columns)  # type: ignore[arg-type]
    once, origins = data.without_repeats(), (made.train.origin, made.test.origin)
    origin = replace(
        made.train.origin,
        source=" and ".join(origin.source for origin in origins),
        rows=sum(origin.rows for origin in origins),
        columns={},
        repeats=sum(origin.repeats for origin in origins) + len(data) - len(once),
        dropped={reason: sum(o.dropped.get(reason, 0) for o in origins) for o in origins for reason in o.dropped},
    )
    return replace(once, origin=origin)


def _counts(index: np.ndarray, size: int) -> np.ndarray:
    count = np.bincount(index, minlength=size)
    return count[count > 0]


def _spread(count: np.ndarray) -> Spread:
    return Spread(float(np.median(count)), float(count.mean()), float(np.percentile(count, 90)), int(count.max()))
