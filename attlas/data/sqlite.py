"""Tables of SQLite files, opened for reading only; no SQL from the file is run: no views, no virtual tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import polars as pl

from attlas.data.columns import best_columns
from attlas.errors import DataError, nearest

ROWS_AT_ONCE = 200_000
TYPES = {"integer": pl.Int64, "real": pl.Float64, "text": pl.String}

Take = Callable[[Sequence[str]], pl.DataFrame]


def open_sqlite(path: Path, table: str = "") -> tuple[list[str], Take, Callable[[str], bool]]:
    """Of one table the names of its columns, a way to take some, and whether a column holds both text and numbers.

    Args:
        path: the file.
        table: its name; "" takes the only table, or the only one with a user and an item.

    Raises:
        DataError: the file is damaged, or it is not clear which table is meant.
    """
    _refuse_cut_off(path)
    with _opened(path) as base:
        columns = {name: _columns_of(base, name) for name in _tables_of(base)}
    chosen = table if table in columns else _only_fitting(path, columns, table)

    def types_of(name: str) -> set[str]:
        with _opened(path) as base:
            found = base.execute(f"SELECT DISTINCT typeof({_quoted(name)}) FROM {_quoted(chosen)}")
            return {kind for (kind,) in found} - {"null"}

    def take(names: Sequence[str]) -> pl.DataFrame:
        kinds = {name: types_of(name) for name in names}
        for name in names:
            if "blob" in kinds[name]:
                raise DataError(f"{path.name}: column {name!r} holds binary data; expected text or numbers")
        schema = {name: _type_for(kinds[name]) for name in names}
        with _opened(path) as base:
            cursor = base.execute(f"SELECT {', '.join(map(_quoted, names))} FROM {_quoted(chosen)}")
            parts = [_frame(rows, schema) for rows in iter(lambda: cursor.fetchmany(ROWS_AT_ONCE), [])]
        return pl.concat(parts) if parts else pl.DataFrame(schema=schema)

    return columns[chosen], take, lambda name: "text" in (kinds := types_of(name)) and len(kinds) > 1


def _refuse_cut_off(path: Path) -> None:
    # SQLite itself takes the missing end of a page for zeros, and gives rows of nothing.
    with path.open("rb") as file:
        head, size = file.read(100), path.stat().st_size
    page, pages = int.from_bytes(head[16:18]), int.from_bytes(head[28:32])
    if len(head) < 100 or (head[24:28] == head[92:96] and size < pages * (65536 if page == 1 else page)):
        raise DataError(f"{path.name} is a SQLite file that is cut off: {size:,} bytes are there; fetch or copy it again")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    base = None
    try:
        base = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
        base.execute("PRAGMA trusted_schema = OFF")
        yield base
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is a SQLite file that cannot be read ({error}); it may be cut off or locked") from error
    finally:
        if base is not None:
            base.close()


def _tables_of(base: sqlite3.Connection) -> list[str]:
    found = base.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
    is_own = [(name, (sql or "").upper().startswith("CREATE TABLE")) for name, sql in found]
    return [name for name, own in is_own if own and not name.startswith("sqlite_")]


def _columns_of(base: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in base.execute(f"PRAGMA table_info({_quoted(table)})")]


def _only_fitting(path: Path, columns: dict[str, list[str]], table: str) -> str:
    if table:
        raise DataError(f"{path.name} has no table {table!r}; {nearest(table, columns)}")
    fit = [name for name, have in columns.items() if best_columns(have, "user") and best_columns(have, "item")]
    chosen = list(columns) if len(columns) == 1 else fit
    if len(chosen) != 1:
        problem = f"{len(chosen)} of them have a user and an item" if columns else "none of them can be read"
        raise DataError(
            f"{path.name} has the tables {', '.join(map(repr, columns)) or 'none'}; {problem}; "
            f"say which one: {path.name}::TABLE"
        )
    return chosen[0]


def _type_for(kinds: set[str]) -> type[pl.DataType]:
    if "text" in kinds:
        return pl.String
    return pl.Float64 if "real" in kinds else pl.Int64


def _frame(rows: list[tuple[object, ...]], schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    cells = zip(schema.items(), zip(*rows, strict=True), strict=True)
    return pl.DataFrame([pl.Series(name, values, dtype=kind, strict=False) for (name, kind), values in cells])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
