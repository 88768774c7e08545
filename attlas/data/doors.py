"""Files and frames of every known kind as tables; a file's kind is told by its content first, then by its name."""

from __future__ import annotations

import difflib
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from attlas.data import jsonlines, sqlite
from attlas.data.text import (
    UNREADABLE,
    Content,
    Header,
    adjacency,
    head_of,
    is_adjacency,
    mended,
    sample_of,
    sniff_separator,
    text_table,
)
from attlas.errors import DataError

GZIP, PARQUET, SQLITE = b"\x1f\x8b", b"PAR1", b"SQLite format 3\0"
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel sheet; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel sheet; save it as CSV",
    b"ARROW1": "an Arrow or Feather file; pass polars.read_ipc(path) instead of the path",
    b"\x89HDF": "an HDF5 file; read it with h5py or pandas and pass a frame",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF document",
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"<": "a web page or XML; fetch the table itself",
}
DAMAGED = "is a Parquet file that is cut off or damaged; fetch it again"
NAMED = {
    "Parquet": (".parquet", ".pq"),
    "SQLite": (".db", ".sqlite", ".sqlite3"),
    "JSON lines": (".jsonl", ".ndjson", ".json"),
}


class Table(NamedTuple):
    """A table whose columns are fetched on demand.

    Attributes:
        source: its name, for messages.
        names: its columns.
        take: fetches columns, given by name or as expressions.
        notes: what a person should know.
        is_text: all cells are text, so that an empty one says that there is none.
        is_mixed: whether a column holds both text and numbers; asked of columns that hold ids.
    """

    source: str
    names: list[str]
    take: Callable[[Sequence[str | pl.Expr]], pl.DataFrame]
    notes: tuple[str, ...] = ()
    is_text: bool = False
    is_mixed: Callable[[str], bool] = lambda name: False


def open_table(source: Any, separator: str | None, header: Header) -> Table:
    """A path or a frame as a table; ``header`` tells whether the first line of a text file is data."""
    if isinstance(source, str | Path):
        return _open_file(source, separator, header)
    if isinstance(source, pl.DataFrame):
        return Table("polars frame", source.columns, source.select)
    if isinstance(source, pl.LazyFrame):
        return _of_lazy(lambda: source, "polars frame", "cannot be collected; expected a plan that polars can carry out")
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(source, pandas.DataFrame):
        raise DataError(
            f"cannot read a {type(source).__name__}; expected a path, a frame of polars or pandas, or a sparse matrix of SciPy"
        )
    return _of_pandas(source)


def _of_lazy(make: Callable[[], pl.LazyFrame], source: str, problem: str) -> Table:
    def failed(error: BaseException) -> DataError:
        return DataError(f"{source} {problem} ({str(error).split(chr(10), 1)[0][:120]})")

    def take(columns: Sequence[str | pl.Expr]) -> pl.DataFrame:
        try:
            return scan.select(columns).collect()
        except UNREADABLE as error:
            raise failed(error) from error

    try:
        scan = make()
        return Table(source, scan.collect_schema().names(), take)
    except UNREADABLE as error:
        raise failed(error) from error


def _of_pandas(frame: Any) -> Table:
    place = {str(name): place for place, name in enumerate(frame.columns)}
    if len(place) < frame.shape[1]:
        raise DataError(f"column names of the pandas frame repeat: {list(map(str, frame.columns))}; expected each name once")

    def take(columns: Sequence[str | pl.Expr]) -> pl.DataFrame:
        names = dict.fromkeys(name for column in columns for name in _roots(column))
        return pl.DataFrame([_column_of_pandas(frame.iloc[:, place[name]], name) for name in names]).select(columns)

    def is_mixed(name: str) -> bool:
        column = frame.iloc[:, place[name]]
        return column.dtype == object and len({isinstance(cell, str) for cell in column[column.notna()]}) > 1

    return Table("pandas frame", list(place), take, is_mixed=is_mixed)


def _roots(column: str | pl.Expr) -> list[str]:
    return [column] if isinstance(column, str) else column.meta.root_names()


def _column_of_pandas(column: Any, name: str) -> pl.Series:
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufb":
        return pl.Series(name, column.to_numpy())
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "M":
        return pl.Series(name, column.to_numpy().astype("datetime64[us]"))
    return pl.Series(name, column.astype(object).where(column.notna(), None).tolist(), strict=False)


def _open_file(source: str | Path, separator: str | None, header: Header) -> Table:
    path, inside = _path_of(source)
    content = content_of(path)
    head, _ = head_of(content)
    if head.startswith(SQLITE) and isinstance(content, Path):
        names, take, is_mixed = sqlite.open_sqlite(path, inside)
        return Table(path.name, names, lambda columns: take(_all_roots(columns)).select(columns), is_mixed=is_mixed)
    if inside:
        raise DataError(f"{path.name} is no SQLite file, so there is no table {inside!r} in it; give the path alone")
    if head.startswith(PARQUET):
        where = content if isinstance(content, Path) else io.BytesIO(content)
        return _of_lazy(lambda: pl.scan_parquet(where, glob=False, hive_partitioning=False), path.name, DAMAGED)
    _refuse_other_formats(path, head)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        frame, is_mixed = jsonlines.read_json_lines(content, path.name)
        return Table(path.name, frame.columns, frame.select, is_mixed=is_mixed)
    content, notes = mended(content, path.name)
    sample = sample_of(content)
    if separator is None and sample and sniff_separator(sample) is None and is_adjacency(sample):
        frame = adjacency(content)
        said = f"{path.name} was read as a user and all its items on a line"
        return Table(path.name, frame.columns, frame.select, (*notes, said), is_text=True)
    found = text_table(content, path.name, separator=separator, header=header)
    return Table(path.name, found.names, found.take, notes + found.notes, is_text=True)


def _all_roots(columns: Sequence[str | pl.Expr]) -> list[str]:
    return list(dict.fromkeys(name for column in columns for name in _roots(column)))


def _path_of(source: str | Path) -> tuple[Path, str]:
    """The path of a file, and the table inside it that ``FILE.db::TABLE`` names."""
    before, mark, inside = str(source).rpartition("::")
    path = Path(before if mark else source).expanduser()
    return (path, inside) if mark and not Path(source).expanduser().exists() else (Path(source).expanduser(), "")


def _refuse_other_formats(path: Path, head: bytes) -> None:
    for start, what in OTHER_FORMATS.items():
        if head.startswith(start):
            raise DataError(f"{path.name} is no text table but {what}")
    if re.match(rb"\s*\[\s*[\[{]", head):
        raise DataError(
            f"{path.name} is one JSON array; expected JSON lines, an object on each line; "
            "pass polars.read_json(path) instead of the path"
        )
    for kind, endings in NAMED.items():
        is_named = path.name.removesuffix(".gz").lower().endswith(endings)
        if is_named and not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            raise DataError(f"{path.name} is named like {kind}, but its content is not; it may be empty, cut off or damaged")


def content_of(path: Path) -> Content:
    """What is in a file: its path where the bytes can be read as they lie, else the bytes, unpacked.

    Raises:
        DataError: there is no such file, it cannot be read, or it was packed with gzip and is damaged.
    """
    try:
        if not path.is_file() and not path.is_dir() and path.exists():  # a pipe can be read but once
            return _unpacked(path.read_bytes(), path.name)
        with path.open("rb") as file:
            return _unpacked(path.read_bytes(), path.name) if file.read(2) == GZIP else path
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
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{str(path)[:200]!r} cannot be read: {why}; expected the path of a readable file") from error


def _unpacked(data: bytes, source: str) -> bytes:
    if not data.startswith(GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{source} is a gzip file that is cut off or damaged ({error}); fetch or pack it again") from error
