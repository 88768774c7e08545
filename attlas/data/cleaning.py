"""What the rows of a table become: one row per user and item, of users and items with enough of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from attlas.errors import ConfigError, DataError, nearest

REPEATS = ("count", "sum:COLUMN", "first", "last")
RETURNS = ("drop", "cancel")


@dataclass(frozen=True)
class Cleaning:
    """How a table is cleaned.

    Attributes:
        repeat: what several rows of one user and item become: ``count`` keeps the latest and counts them, ``sum:COLUMN`` adds
            up a column instead, ``first`` and ``last`` keep one row by time and count nothing.
        positive: the condition that a row must meet, such as ``rating>=4``.
        min_user, min_item: how many items a user and how many users an item must have, both at once.
        since: rows before this date or moment are left out; ISO text, a date, or seconds since 1970.
        returns: what negative amounts do: ``drop`` leaves their rows out, ``cancel`` takes them from earlier purchases.
    """

    repeat: str = "count"
    positive: str | None = None
    min_user: int = 0
    min_item: int = 0
    since: Any = None
    returns: str | None = None

    def __post_init__(self) -> None:
        if self.repeat not in ("count", "first", "last") and not self.summed:
            raise ConfigError(f"repeat={self.repeat!r} is not known; {nearest(str(self.repeat), REPEATS)}")
        if self.returns not in (None, *RETURNS):
            raise ConfigError(f"returns={self.returns!r} is not known; {nearest(str(self.returns), RETURNS)}")
        for name, least in (("min_user", self.min_user), ("min_item", self.min_item)):
            if not isinstance(least, int) or isinstance(least, bool) or least < 0:
                raise ConfigError(f"{name}={least!r} does not fit; expected a whole number, 0 to keep all")
        if self.positive is not None and not isinstance(self.positive, str):
            raise ConfigError(f"positive={self.positive!r} is no condition; expected text such as 'rating>=4'")
        self.seconds()

    @property
    def summed(self) -> str:
        """The column that is added up; "" where none is."""
        return self.repeat[4:].strip() if isinstance(self.repeat, str) and self.repeat.startswith("sum:") else ""

    def seconds(self) -> int | None:
        """``since`` in seconds since 1970; a moment without a zone is in UTC."""
        return None if self.since is None or self.since == "" else seconds_of(self.since)


def seconds_of(moment: Any) -> int:
    """A date, a datetime, ISO text or a number of seconds, as whole seconds since 1970.

    Raises:
        ConfigError: it is none of these, or could be read in two ways.
    """
    said = str(moment).strip()
    is_number = not isinstance(moment, date | bool) and re.fullmatch(r"[+-]?\d{1,18}(\.\d*)?", said) is not None
    if is_number and not re.fullmatch(r"(19|20)\d\d(\d{4})?", said):
        if abs(float(said)) >= 1e11:
            raise ConfigError(f"since={moment!r} is too large for seconds since 1970; milliseconds must be divided by 1000")
        return int(float(said))
    try:
        if is_number:
            raise ValueError
        found = datetime.fromisoformat(said)
    except ValueError as error:
        raise ConfigError(
            f"since={moment!r} is no moment; expected a date such as 2020-01-31, perhaps with a time, or seconds since 1970"
        ) from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


class Settled(NamedTuple):
    """One row per pair of user and item: which row stands for it, how many it had, and how much of it was chosen."""

    row: np.ndarray
    size: np.ndarray
    amount: np.ndarray | None


def settle(pair: np.ndarray, cleaning: Cleaning, time: np.ndarray | None = None, amount: np.ndarray | None = None) -> Settled:
    """One row per pair, in the order of the rows.

    Args:
        pair: int64[N], equal for rows of the same user and item.
        cleaning: says what repeated and negative rows become.
        time: int64[N], or None where the order of the rows is that of time.
        amount: float64[N], negative for returns, or None.
    """
    ordered = pl.Series(pair).sort()
    repeated = ordered.filter(ordered == ordered.shift(1)).unique()
    is_alone = ~pl.Series(pair).is_in(repeated.implode()).to_numpy() if len(repeated) else np.ones(len(pair), np.bool_)
    if amount is not None:
        is_alone &= amount >= 0
    size = is_alone.astype(np.int32)
    count = np.where(is_alone, 1.0 if amount is None or not cleaning.summed else amount, 0.0).astype(np.float32)
    if not is_alone.all():
        rows = np.flatnonzero(~is_alone)
        known = {"pair": pair, "time": time, "amount": amount}
        frame = pl.DataFrame({"row": rows} | {name: values[rows] for name, values in known.items() if values is not None})
        found = one_row_per_pair(frame, cleaning)
        size[found["row"]] = found["size"]
        count[found["row"]] = found["count"]
    row = np.flatnonzero(size)
    size, count = size[row], count[row]
    is_counted = cleaning.summed or (cleaning.repeat == "count" and size.max(initial=0) > 1)
    return Settled(row, size, count if is_counted else None)


def one_row_per_pair(rows: pl.DataFrame, cleaning: Cleaning) -> pl.DataFrame:
    """For each pair the row that stands for it, how many purchases it had (size) and how much was chosen (count).

    Args:
        rows: pair and row, and where they are known time and amount. Negative amounts are returns: with ``cancel`` each is
            taken from what had been bought before it, and pairs of which nothing is left have no row.
        cleaning: says which row stands for a pair, and what is counted.
    """
    rows = rows.sort([name for name in ("time", "row") if name in rows.columns])
    bought = rows.filter(pl.col("amount") >= 0) if "amount" in rows.columns else rows
    row = pl.col("row").first() if cleaning.repeat == "first" else pl.col("row").last()
    count = pl.col("amount").sum() if cleaning.summed else pl.len().cast(pl.Float64)
    found = bought.group_by("pair").agg(row, size=pl.len().cast(pl.Int64), count=count)
    if cleaning.returns != "cancel" or "amount" not in rows.columns:
        return found
    returned = rows.filter((pl.col("amount") < 0).any().over("pair"))
    step = pl.when(pl.col("amount") < 0).then(-1.0).otherwise(1.0)
    left = returned.group_by("pair").agg(left=_balance(pl.col("amount")), all=pl.col("amount").abs().sum(), kept=_balance(step))
    found = found.join(left, on="pair", how="left").filter(pl.col("left").fill_null(1.0) > 1e-9 * pl.col("all").fill_null(0.0))
    # Where rows are counted, a return takes one purchase back; of what is left something was bought at least once.
    lasting = pl.coalesce("left", "count") if cleaning.summed else pl.coalesce(pl.col("kept").clip(1.0), "count")
    return found.with_columns(count=lasting).drop("left", "all", "kept")


def _balance(change: pl.Expr) -> pl.Expr:
    """What is left at the end. A return reaches back, never forward: the balance restarts wherever it would fall below 0."""
    return change.sum() - pl.min_horizontal(0.0, change.cum_sum().min())


def in_core(user: np.ndarray, item: np.ndarray, min_user: int, min_item: int) -> np.ndarray:
    """Which rows stay when users with too few items and items with too few users are taken out until all have enough."""
    keep = np.ones(len(user), np.bool_)
    if not len(user):
        return keep
    while True:
        few = np.bincount(user[keep], minlength=user.max() + 1)[user] < min_user
        few |= np.bincount(item[keep], minlength=item.max() + 1)[item] < min_item
        few &= keep
        if not few.any():
            return keep
        keep &= ~few


def refuse_negative(amount: np.ndarray, column: str, source: str) -> None:
    """Stop where an amount is negative and nobody said what that means.

    Raises:
        DataError: there is a negative amount.
    """
    negative = np.flatnonzero(amount < 0)
    if len(negative):
        raise DataError(
            f"{source}: column {column!r} holds negative amounts in {len(negative):,} rows, such as {amount[negative[0]]:g}; "
            "say what they mean with the option returns: drop leaves these rows out, cancel takes them from what the same "
            "user bought of the same item before"
        )
