"""Tables and the field's file formats -> Interactions."""

from __future__ import annotations

import difflib
import gzip
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

from attlas.data import columns as cols
from attlas.data.interactions import Interactions, Origin
from attlas.data.vocabulary import TITLE_COLUMNS, Vocabulary
from attlas.errors import ConfigError, DataError

OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel sheet; unpack it, or save the sheet as CSV",
    b"PAR1": "a Parquet file; pass polars.read_parquet(path) instead of the path",
    b"\x89HDF": "an HDF5 file; read it with h5py or pandas and pass a frame",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF document",
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"{": "JSON; pass polars.read_ndjson(path) instead of the path",
    b"<": "a web page or XML; fetch the table itself",
}


class Table(NamedTuple):
    """A table whose columns are fetched on demand."""

    source: str
    names: list[str]
    take: Callable[[list[str]], pl.DataFrame]
    notes: tuple[str, ...] = ()


def read(
    source: Any,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    time: str | None = None,
    items: Any = None,
    separator: str | None = None,
) -> Interactions:
    """Interactions from a file, a frame or a matrix; ``.origin.sentences()`` says what was understood and what was dropped.

    Args:
        source: the path of a CSV, TSV or MovieLens file (gzip or not); a frame of polars or pandas; or a sparse matrix of
            SciPy with a row per user and a column per item, whose places become the ids.
        user, item, rating, time: the names of the columns; None guesses by the usual names, and ``rating=""`` or ``time=""``
            reads none. Of repeated pairs of user and item the last one by time, or else by row, is kept.
        items: a path or frame with titles and other facts about the items.
        separator: what stands between the columns of a file; None finds out.

    Raises:
        DataError: the source cannot be understood; the message says what to do.
    """
    chosen = {"user": user, "item": item, "rating": rating, "time": time}
    if sparse.issparse(source):
        if any(chosen.values()):
            raise ConfigError(f"a sparse matrix has no named columns; leave out {', '.join(k for k, v in chosen.items() if v)}")
        data = Interactions.of_matrix(source)
    else:
        table = open_table(source, separator, cols.interaction_header)
        data = interactions_of(table, cols.assign_columns(table.names, table.source, **chosen))
    return data if items is None else with_facts(data, items, item)


def interactions_of(table: Table, columns: dict[str, str]) -> Interactions:
    """The usable rows of a table whose columns are known."""
    frame = table.take(list(columns.values()))
    parsers = {"rating": cols.read_ratings, "time": cols.read_times}
    cells = {
        role: parsers[role](frame[name]) if role in parsers else cols.read_ids(frame[name], role)
        for role, name in columns.items()
    }
    keep, dropped = _usable(table.source, columns, cells, frame.height)
    values = {role: part.values.filter(keep) for role, part in cells.items()}
    users = Vocabulary(values["user"].unique(maintain_order=True), noun="user")
    items = Vocabulary(values["item"].unique(maintain_order=True), noun="item")
    data = Interactions(
        users,
        items,
        bulk_index(values["user"], users),
        bulk_index(values["item"], items),
        values["rating"].to_numpy(writable=True) if "rating" in values else None,
        values["time"].to_numpy(writable=True) if "time" in values else None,
    )
    once = data.without_repeats()
    if len(once) < len(data):
        dropped["repeats of the same user and item"] = len(data) - len(once)
    notes = table.notes + tuple(note for part in cells.values() for note in part.notes)
    return replace(once, origin=Origin(table.source, frame.height, columns, dropped, len(data) - len(once), notes))


def _usable(
    source: str, columns: dict[str, str], cells: dict[str, cols.Cells], height: int
) -> tuple[pl.Series, dict[str, int]]:
    """Which rows can be used, and how many cannot for which reason (a row counts for its first)."""
    keep, dropped = pl.repeat(True, height, dtype=pl.Boolean, eager=True), {}
    for role, part in cells.items():
        bad = {reason: int(rows.sum()) for reason, rows in part.unusable.items() if rows.any()}
        if sum(bad.values()) * 2 > height:
            found = ", ".join(f"{reason} in {count:,} rows" for reason, count in bad.items())
            without = "" if role in ("user", "item") else f", or {role}='' to read none"
            raise DataError(
                f"{source}: column {columns[role]!r} does not look like the {role}: of {height:,} rows, {found}; "
                f"choose another column with the option {role}{without}"
            )
        for reason, rows in part.unusable.items():
            dropped[reason] = int((keep & rows).sum())
            keep &= ~rows
    if not keep.any():
        raise DataError(f"{source} has no usable row; expected at least one row with a user and an item")
    return keep, {reason: count for reason, count in dropped.items() if count}


def bulk_index(ids: pl.Series, known: Vocabulary) -> np.ndarray:
    """The index of each id, int64[N], all of them known; for millions of ids, where ``Vocabulary.index_of`` takes seconds."""
    index = ids.replace_strict(known.ids, pl.int_range(len(known), eager=True), return_dtype=pl.Int64)
    return index.to_numpy(writable=True)


def open_table(source: Any, separator: str | None, header: cols.Header) -> Table:
    """A path or a frame as a table; ``header`` tells whether the first line of a file is data."""
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        text, notes = read_text(path)
        frame, more = cols.parse_table(text, path.name, separator=separator, header=header)
        return Table(path.name, frame.columns, frame.select, notes + more)
    if isinstance(source, pl.DataFrame):
        return Table("polars frame", source.columns, source.select)
    if isinstance(source, pl.LazyFrame):
        return Table("polars frame", source.collect_schema().names(), lambda names: source.select(names).collect())
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(source, pandas.DataFrame):
        raise DataError(
            f"cannot read a {type(source).__name__}; expected a path, a frame of polars or pandas, or a sparse matrix of SciPy"
        )
    columns = {str(name): place for place, name in enumerate(source.columns)}
    if len(columns) < source.shape[1]:
        raise DataError(f"column names of the pandas frame repeat: {list(map(str, source.columns))}; expected each name once")
    return Table(
        "pandas frame", list(columns), lambda names: pl.DataFrame([_of_pandas(source.iloc[:, columns[n]], n) for n in names])
    )


def _of_pandas(column: Any, name: str) -> pl.Series:
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufb":
        return pl.Series(name, column.to_numpy())
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "M":
        return pl.Series(name, column.to_numpy().astype("datetime64[us]"))
    return pl.Series(name, column.astype(object).where(column.notna(), None).tolist(), strict=False)


def read_text(path: Path) -> tuple[bytes, tuple[str, ...]]:
    """The content of a text file as UTF-8 with plain line ends and no blank lines, and what had to be done for that."""
    packed = _bytes(path)
    try:
        data = gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else packed
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path.name} is a gzip file that is cut off or damaged ({error}); fetch or pack it again") from error
    for start, what in OTHER_FORMATS.items():
        if data.startswith(start):
            raise DataError(f"{path.name} is no text table but {what}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", errors="replace").encode()
    sample = data[: 1 << 16]
    if b"\0" in sample or len(re.findall(rb"[\x01-\x08\x0e-\x1e]", sample)) * 100 > len(sample):
        raise DataError(
            f"{path.name} is no text but binary data; expected a table such as CSV or TSV, plain or packed with gzip"
        )
    notes: tuple[str, ...] = ()
    try:
        data.decode()
    except UnicodeDecodeError:
        data, notes = data.decode("latin-1").encode(), (f"{path.name} is not UTF-8; it was read as Latin-1",)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (re.sub(rb"\n\n+", b"\n", data) if b"\n\n" in data else data).lstrip(b"\n"), notes


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        inside = sorted(child.name for child in path.iterdir())
        if sum(name.removesuffix(".gz").endswith(".train.rating") for name in inside) == 1:
            what_to_do = f"with a split of its own; read it with read_split, or say --data {path}"
        else:
            what_to_do = f"; expected a file; it holds {', '.join(inside[:10]) or 'nothing'}"
        raise DataError(f"{path} is a folder {what_to_do}".replace(" ;", ";")) from error
    except FileNotFoundError as error:
        beside = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else None
        close = difflib.get_close_matches(path.name, beside or [], n=1)
        without = f"the folder {path.parent} " + ("is not there either" if beside is None else "has nothing like it")
        raise DataError(f"there is no file {path}; {f'did you mean {close[0]!r}?' if close else without}") from error
    except OSError as error:
        raise DataError(f"{str(path)[:200]} cannot be read: {error.strerror}; expected the path of a readable file") from error


def with_facts(data: Interactions, items: Any, item: str | None = None) -> Interactions:
    """The same rows with titles and other facts about the items, from a path or a frame.

    The id column is the one that ``item`` or the usual names point to, or else the one that shares most ids with the data.
    """
    table = open_table(items, None, cols.item_header)
    if len(table.names) < 2:
        raise DataError(
            f"{table.source} has only the column {table.names}; expected item ids and, beside them, titles or other facts"
        )
    facts = table.take(table.names)
    ids = {name: _spelled(facts[name], data.items.ids.dtype) for name in table.names}
    wanted = pl.DataFrame({"id": data.items.ids})
    shared = {name: wanted.join(pl.DataFrame({"id": id_}), on="id", how="semi").height for name, id_ in ids.items()}
    named = [name for name in table.names if name.lower() not in TITLE_COLUMNS]
    by_name = [item] if item in ids else cols.best_columns(named, "item") or [name for name in named if name.lower() == "id"]
    name = by_name[0] if len(by_name) == 1 and shared[by_name[0]] else max(table.names, key=shared.__getitem__)
    if not shared[name]:
        raise DataError(
            f"no column of {table.source} shares an id with the {len(data.items):,} items, such as {data.items.ids[0]!r}; "
            f"expected a table with the same item ids (its columns are {', '.join(map(repr, table.names[:20]))})"
        )
    id_ = ids[name].drop_nulls()
    repeats = len(id_) - id_.n_unique()
    note = f"{table.source}: facts about {shared[name]:,} of {len(data.items):,} items, matched by column {name!r}"
    note += f"; of repeated ids the first row was kept ({repeats:,} repeats)" if repeats else ""
    place = pl.DataFrame({"id": ids[name]}).with_row_index("row").drop_nulls().unique("id", keep="first")
    row = data.items.ids.replace_strict(place["id"], place["row"], default=None, return_dtype=pl.UInt32)
    data = data.with_items(facts.drop(name).select(pl.all().gather(row)))
    return replace(data, origin=replace(data.origin, notes=(*data.origin.notes, *table.notes, note)))


def _spelled(cells: pl.Series, kind: pl.DataType) -> pl.Series:
    """Ids spelled in the way of a vocabulary's; all null where a column can hold no ids."""
    if cells.dtype.is_float() and (cells.fill_nan(None) % 1 == 0).all():
        cells = cells.fill_nan(None).cast(pl.Int64, strict=False)
    if not (cells.dtype.is_integer() or cells.dtype in (pl.String, pl.Categorical, pl.Enum)):
        return pl.Series(cells.name, [None], dtype=kind).new_from_index(0, len(cells))
    text = cells.cast(pl.String).str.strip_chars()
    return text if kind == pl.String else text.cast(pl.Int64, strict=False)


def read_given_rows(path: Path) -> Interactions:
    """The rows of one file of a given split: user, item, rating, time, or a user and all items on a line."""
    text, _ = read_text(path)
    lines = text.decode().removesuffix("\n").split("\n")
    if lines != [""] and cols.sniff_separator(lines[:50]) is None:
        words = pl.Series(lines).str.replace_all("\t", " ").str.strip_chars().str.split(" ")
        frame = pl.DataFrame({"user": words.list.first(), "item": words.list.slice(1)})
        frame = frame.filter(pl.col("item").list.len() > 0).explode("item")
    else:
        frame, _ = cols.parse_table(text, path.name, separator=None, header=cols.given_header)
    table = Table(path.name, frame.columns, frame.select)
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
