"""Interactions -> a table of labelled rows: what was chosen, and for each as many random items that were not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from attlas.data.interactions import Interactions
from attlas.data.negatives import draw_negatives
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, DataError, nearest

TIMES = {"hour": "%H", "weekday": "%A", "month": "%B"}


def labelled_rows(
    data: Interactions,
    *,
    user_columns: Sequence[str] = (),
    item_columns: Sequence[str] = (),
    times: Sequence[str] = (),
    context: pl.DataFrame | None = None,
    negatives: int = 2,
    seed: int = 1,
) -> pl.DataFrame:
    """A table for ``read_examples``: user, item, their facts, the moment and the label.

    A negative has the user and the moment of the row that it is drawn for, and an item that the user has not chosen; a user who
    has chosen all has none.

    Args:
        user_columns, item_columns: facts of the vocabularies to take along, later ``user_fields`` and ``item_fields``.
        times: parts of the time to take along: hour, weekday, month.
        context: one row per interaction in their order, further columns of the moment. ``attlas.read`` leaves one row per
            pair; of a log in which pairs come again ``Interactions.of(log["user"], log["item"])`` keeps every row.
        negatives: how many are drawn for each row.
        seed: what the draws depend on.

    Raises:
        ConfigError: there is no such fact, no such part of a time, or no time at all.
        DataError: the context has another number of rows than there are interactions.
    """
    others = np.flatnonzero(np.diff(data.by_user.indptr)[data.user] < len(data.items))
    drawn = draw_negatives(data.by_user, data.user[others], negatives, np.random.default_rng(seed))
    row = np.concatenate([np.arange(len(data)), np.repeat(others, negatives)])
    item = np.concatenate([data.item, drawn.ravel()])
    columns = [
        data.users.ids.gather(data.user[row]).alias("user"),
        data.items.ids.gather(item).alias("item"),
        *_facts(data.users, user_columns, data.user[row]),
        *_facts(data.items, item_columns, item),
        *(column.gather(row) for column in _moments(data, times, context)),
        pl.Series("label", (np.arange(len(row)) < len(data)).astype(np.int64)),
    ]
    return pl.DataFrame(columns)


def _facts(known: Vocabulary, names: Sequence[str], index: np.ndarray) -> list[pl.Series]:
    there = [] if known.columns is None else known.columns.columns
    for name in names:
        if name not in there:
            hint = nearest(name, there) if there else "there are no facts; read them with items= or users="
            raise ConfigError(f"nothing called {name!r} is known of each {known.noun}; {hint}")
    return [known.columns[name].gather(index) for name in names] if known.columns is not None else []


def _moments(data: Interactions, times: Sequence[str], context: pl.DataFrame | None) -> list[pl.Series]:
    """The columns that say when and in what circumstances each interaction was."""
    if context is not None and context.height != len(data):
        raise DataError(
            f"the context has {context.height:,} rows for {len(data):,} interactions; expected one for each, in their order "
            "(attlas.read leaves one row per pair of user and item, Interactions.of keeps every row of a log)"
        )
    return [*(_time_of(data, name) for name in times), *([] if context is None else context.get_columns())]


def _time_of(data: Interactions, name: str) -> pl.Series:
    if name not in TIMES:
        raise ConfigError(f"no part of a time is called {name!r}; {nearest(name, TIMES)}")
    if data.time is None:
        raise ConfigError(f"these interactions have no times, so there is no {name}; leave times out, or name the time column")
    return pl.from_epoch(pl.Series(name, data.time), time_unit="s").dt.strftime(TIMES[name])
