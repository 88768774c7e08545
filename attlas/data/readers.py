"""Tables and the field's file formats -> Interactions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from attlas.data import columns as cols
from attlas.data.cells import Cells, Ids, read_ids, read_numbers, read_ratings, read_times
from attlas.data.cleaning import Cleaning, Settled, in_core, refuse_negative, settle
from attlas.data.conditions import parse_conditions
from attlas.data.doors import Table, content_of, open_table
from attlas.data.facts import with_facts, with_user_facts
from attlas.data.interactions import Interactions, Origin
from attlas.data.text import adjacency, is_adjacency, mended, sample_of, sniff_separator, text_table
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, DataError


def read(
    source: Any,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    items: Any = None,
    users: Any = None,
    separator: str | None = None,
    repeat: str = "count",
    positive: str | None = None,
    min_user: int = 0,
    min_item: int = 0,
    since: Any = None,
    returns: str | None = None,
) -> Interactions:
    """Interactions from a file, a frame or a matrix; ``.origin.sentences()`` says what was understood and what was dropped.

    Args:
        source: the path of a CSV, TSV, MovieLens, RecBole, LightGCN, JSON lines (all of them gzip or not), Parquet or SQLite
            file, ``FILE.db::TABLE`` for one of its tables; a frame of polars or pandas; or a sparse matrix of SciPy with a row
            per user and a column per item, whose places become the ids.
        user, item, rating, time: the names of the columns; None guesses by the usual names, and ``rating=""`` or ``time=""``
            reads none.
        items, users: a path or frame with titles and other facts about the items, or about the users.
        separator: what stands between the columns of a text file; None finds out.
        repeat, positive, min_user, min_item, since, returns: what the rows become; see ``attlas.data.cleaning.Cleaning``.

    Raises:
        DataError: the source cannot be understood; the message says what to do.
        ConfigError: a setting that does not fit.
    """
    chosen = {"user": user, "item": item, "rating": rating, "time": time}
    data = _read(source, chosen, separator, Cleaning(repeat, positive, min_user, min_item, since, returns))
    data = data if items is None else with_facts(data, items, item)
    return data if users is None else with_user_facts(data, users, user)


def _read(source: Any, chosen: dict[str, str | None], separator: str | None, cleaning: Cleaning) -> Interactions:
    if sparse.issparse(source):
        if any(chosen.values()):
            raise ConfigError(f"a sparse matrix has no named columns; leave out {', '.join(k for k, v in chosen.items() if v)}")
        if cleaning != Cleaning():
            raise ConfigError("a sparse matrix has a cell per pair and is not cleaned; clean it before, or pass a table")
        return Interactions.of_matrix(source)
    table = open_table(source, separator, cols.interaction_header)
    columns = cols.assign_columns(table.names, table.source, **chosen)
    amount, guessed = cleaning.summed, columns.get("rating") if chosen["rating"] is None else None
    if amount and guessed == cols.find_column(amount, table.names, table.source, "repeat"):
        del columns["rating"]
    elif guessed and cols.is_amount(guessed):
        how = f"--repeat sum:{guessed} (repeat='sum:{guessed}') adds up how much a user chose of an item"
        note = f"column {guessed!r} was taken for the rating, of which the latest row of a pair counts; {how}"
        table = table._replace(notes=(*table.notes, note))
    return interactions_of(table, columns, cleaning)


def interactions_of(table: Table, columns: dict[str, str], cleaning: Cleaning | None = None) -> Interactions:
    """The usable rows of a table whose columns are known, one per user and item."""
    cleaning = cleaning or Cleaning()
    cells, height, dropped = _understood(table, columns, cleaning)
    amount_column = _amount_column(table, columns, cleaning)
    if cleaning.returns and not amount_column:
        raise ConfigError(
            f"returns={cleaning.returns!r} needs a column of amounts, such as quantity, and {table.source} has none of such a "
            "name; name it with repeat='sum:COLUMN', or leave returns out"
        )
    keep = _usable(table.source, columns | {"amount": amount_column}, cells, dropped)
    _leave_out(table.source, cells, keep, dropped, cleaning)
    rows = slice(None) if keep.all() else keep  # a mask of millions of rows that keeps all would copy them all
    (user_ids, user), (item_ids, item) = (part.among(rows) for part in cells.values() if isinstance(part, Ids))
    facts = {role: part.values.to_numpy(writable=True)[rows] for role, part in cells.items() if isinstance(part, Cells)}
    if "time" in facts:
        facts["time"] = facts["time"].astype(np.int64, copy=False)  # with missing ones among them they came as floats
    notes = table.notes + tuple(note for part in cells.values() for note in part.notes)
    cells.clear()  # what has been read would take as much memory again
    amount = facts.pop("amount", facts.get("rating") if amount_column == columns.get("rating") else None)
    if amount is not None and cleaning.returns is None:
        refuse_negative(amount, amount_column, table.source)
    settled = settle(user * len(item_ids) + item, cleaning, facts.get("time"), amount)
    dropped |= _returned(table.source, settled, amount, amount_column)
    found = Interactions(
        Vocabulary(user_ids, noun="user"), Vocabulary(item_ids, noun="item"), user, item, facts.get("rating"), facts.get("time")
    )
    found = replace(found if len(settled.row) == len(found) else found.take(settled.row), count=settled.amount)
    found, size = _enough(table.source, found, settled.size, cleaning, dropped)
    repeats = int(size.sum()) - len(found)
    dropped |= {"repeats of the same user and item": repeats} if repeats else {}
    named = columns | ({"count": cleaning.summed} if cleaning.summed else {})
    return replace(found, origin=Origin(table.source, height, named, dropped, repeats, notes))


def _amount_column(table: Table, columns: dict[str, str], cleaning: Cleaning) -> str:
    """The column that says how much of an item was chosen: the one to sum, else one with an amount's name; "" if none does."""
    if cleaning.summed:
        return cleaning.summed
    rating = columns.get("rating", "")
    if cols.is_amount(rating):
        return rating
    return next((name for name in table.names if cols.is_amount(name) and name not in columns.values()), "")


def _understood(
    table: Table, columns: dict[str, str], cleaning: Cleaning
) -> tuple[dict[str, Ids | Cells], int, dict[str, int]]:
    """What the columns say in the rows that are positive, how many rows there were, and how many were not positive."""
    conditions = parse_conditions(cleaning.positive, table.names, table.source) if cleaning.positive else []
    summed = cols.find_column(cleaning.summed, table.names, table.source, "repeat") if cleaning.summed else ""
    ids = [columns[role] for role in ("user", "item")]
    for role, name in zip(("user", "item"), ids, strict=True):
        if table.is_mixed(name):
            raise DataError(
                f"{table.source}: column {name!r} holds both text and numbers, so that {role} 0 and {role} '0' would be one; "
                "expected one type; turn all of them into text, or all into numbers"
            )
    amount = "" if summed else _amount_column(table, columns, cleaning)
    others = dict.fromkeys([*columns.values(), *(term.column for term in conditions), summed, amount])
    # Text ids are packed into numbers while the file is read; as text they would take several times the memory.
    packed = [pl.col(name).cast(pl.Categorical) if table.is_text else pl.col(name) for name in ids]
    frame = table.take([*packed, *(name for name in others if name and name not in ids)])
    height, dropped = frame.height, dict[str, int]()
    try:
        for term in conditions:
            frame = frame.filter(term.holds(frame[term.column]))
        if height and not frame.height:
            raise DataError(f"none of {height:,} rows meets positive={cleaning.positive!r}; expected some that do")
        dropped |= {f"{cleaning.positive} does not hold": height - frame.height} if frame.height < height else {}
        cells = _cells_of(frame, columns, summed, is_text=table.is_text)
        if amount and amount not in columns.values():
            told = read_numbers(frame[amount], amount).values
            cells |= {"amount": Cells(told.fill_null(1.0), {})} if told.min() is not None and told.min() < 0 else {}  # type: ignore[operator]
        return cells, height, dropped
    except DataError as error:
        raise DataError(f"{table.source}: {error}") from error


def _cells_of(frame: pl.DataFrame, columns: dict[str, str], summed: str, *, is_text: bool) -> dict[str, Ids | Cells]:
    cells: dict[str, Ids | Cells] = {}
    for role, name in columns.items():
        readers = {"rating": read_ratings, "time": read_times}
        is_id = role in ("user", "item")
        cells[role] = read_ids(frame[name], role, is_text=is_text) if is_id else readers[role](frame[name])
    if summed:
        cells["amount"] = read_numbers(frame[summed], summed)
    return cells


def _usable(source: str, columns: dict[str, str], cells: dict[str, Ids | Cells], dropped: dict[str, int]) -> np.ndarray:
    """Which rows can be used; counts how many cannot for which reason (a row counts for its first)."""
    height = len(next(part.place for part in cells.values() if isinstance(part, Ids)))
    keep = np.ones(height, np.bool_)
    for role, part in cells.items():
        bad = {reason: rows.to_numpy() for reason, rows in part.unusable.items() if rows.any()}
        if sum(map(np.count_nonzero, bad.values())) * 2 > height:
            found = ", ".join(f"{reason} in {np.count_nonzero(rows):,} rows" for reason, rows in bad.items())
            option = "repeat" if role == "amount" else role
            without = f", or {role}='' to read none" if role in ("rating", "time") else ""
            raise DataError(
                f"{source}: column {columns[role]!r} does not look like the {role}: of {height:,} rows, {found}; "
                f"choose another column with the option {option}{without}"
            )
        for reason, rows in bad.items():
            if count := np.count_nonzero(keep & rows):
                dropped[reason] = int(count)
            keep &= ~rows
    if not keep.any():
        raise DataError(f"{source} has no usable row; expected at least one row with a user and an item")
    return keep


def _leave_out(
    source: str, cells: dict[str, Ids | Cells], keep: np.ndarray, dropped: dict[str, int], cleaning: Cleaning
) -> None:
    """Take early rows and zero amounts out of those that are kept, and count them."""
    since, time, amount = cleaning.seconds(), cells.get("time"), cells.get("amount")
    out: dict[str, pl.Series] = {}
    if since is not None:
        if not isinstance(time, Cells):
            raise DataError(
                f"{source} has no time column, so since={cleaning.since!r} cannot be told; name it with the option time"
            )
        out[f"before {cleaning.since}"] = time.values < since
    if isinstance(amount, Cells) and cleaning.summed:
        out[f"zero {cleaning.summed}"] = amount.values == 0
    for reason, rows in out.items():
        leaving = keep & rows.fill_null(False).to_numpy()
        dropped |= {reason: int(np.count_nonzero(leaving))} if leaving.any() else {}
        keep &= ~leaving
        if not keep.any():
            raise DataError(f"{source}: all usable rows are left out, the last of them by {reason!r}; expected some to stay")


def _returned(source: str, settled: Settled, amount: np.ndarray | None, column: str) -> dict[str, int]:
    """How many rows were returns, and how many purchases they took away."""
    if amount is None:
        return {}
    if not len(settled.row):
        raise DataError(f"{source}: everything that was bought was returned; expected purchases that last")
    returns = int((amount < 0).sum())
    taken = {f"returns (negative {column})": returns, "bought and returned": len(amount) - returns - int(settled.size.sum())}
    return {reason: count for reason, count in taken.items() if count}


def _enough(
    source: str, data: Interactions, size: np.ndarray, cleaning: Cleaning, dropped: dict[str, int]
) -> tuple[Interactions, np.ndarray]:
    """The rows of users and items that have enough of them, without ids that no row is left of."""
    if cleaning.min_user > 1 or cleaning.min_item > 1:
        keep = in_core(data.user, data.item, cleaning.min_user, cleaning.min_item)
        few = {"users with fewer than {} items": cleaning.min_user, "items with fewer than {} users": cleaning.min_item}
        reason = "of " + " or ".join(text.format(least) for text, least in few.items() if least > 1)
        if not keep.any():
            raise DataError(
                f"{source}: all rows are {reason}, or only together with such; expected smaller min_user or min_item"
            )
        if not keep.all():
            dropped[reason] = int(size[~keep].sum())
            data, size = data.take(keep), size[keep]
    for noun in ("user", "item"):
        known, index = getattr(data, f"{noun}s"), getattr(data, noun)
        is_known = np.bincount(index, minlength=len(known)) > 0
        if not is_known.all():
            ids = Vocabulary(known.ids.filter(pl.Series(is_known)), noun=noun)
            data = replace(data, **{f"{noun}s": ids, noun: (np.cumsum(is_known) - 1)[index]})
    return data, size


def bulk_index(ids: pl.Series, known: Vocabulary) -> np.ndarray:
    """The index of each id, int64[N], all of them known; for millions of ids, where ``Vocabulary.index_of`` takes seconds."""
    index = ids.replace_strict(known.ids, pl.int_range(len(known), eager=True), return_dtype=pl.Int64)
    return index.to_numpy(writable=True)


def read_given_rows(path: Path) -> Interactions:
    """The rows of one file of a given split: user, item, rating, time, or a user and all items on a line.

    Raises:
        DataError: blanks stand between the cells, and it may be either.
    """
    content, _ = mended(content_of(path), path.name)
    sample = sample_of(content)
    if sample and sniff_separator(sample) is None:
        if not is_adjacency(sample, in_split=True):
            raise DataError(
                f"{path.name} has blanks between its cells, and what they say cannot be told: its first line is "
                f"{sample[0][:60]!r}; expected tabs between user, item, rating and time, or whole numbers, a user and all its "
                "items on each line"
            )
        frame = adjacency(content)
        table = Table(path.name, frame.columns, frame.select, is_text=True)
    else:
        found = text_table(content, path.name, separator=None, header=cols.given_header)
        table = Table(path.name, found.names, found.take, is_text=True)
    return interactions_of(table, cols.assign_columns(table.names, table.source))


def read_negatives(path: Path, test: Interactions) -> pl.DataFrame:
    """The listed items, a row per test row; their first column has told which test row it is for."""
    table = open_table(path, "\t", lambda first: [str(place) for place in range(len(first))])
    listed = table.take(table.names)
    given = listed["0"].str.replace_all(" ", "")
    asked = test.to_frame().select(pl.format("({},{})", "user", "item")).to_series()
    problem = f"{len(given):,} lines for {len(asked):,} test rows" if len(given) != len(asked) else ""
    for line in np.flatnonzero(given.ne_missing(asked).to_numpy())[:1] if not problem else []:
        problem = f"line {line + 1} is for {given[int(line)]}, that test row is {asked[int(line)]}"
    if not problem and sum(listed.null_count().row(0)):
        problem = f"some lines list fewer than the {listed.width - 1:,} items of the first"
    if problem:
        raise DataError(f"{path.name} does not go with the test rows: {problem}; expected one line per row in the same order")
    return listed.drop("0")
