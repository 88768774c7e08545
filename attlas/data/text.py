"""Text tables: what the bytes of a file need before they can be cut into cells, and the cutting."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from attlas.data.columns import without_types
from attlas.errors import DataError

SEPARATORS = ("::", "\t", ",", ";", "|")
SPELLED = {"\\t": "\t", "tab": "\t"}
SAMPLE, CHUNK = 1 << 16, 1 << 24
UTF_16, UTF_8 = (b"\xff\xfe", b"\xfe\xff"), b"\xef\xbb\xbf"

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, OSError)

Content = Path | bytes  # a plain file is read where it lies, anything unpacked or mended is held
Header = Callable[[Sequence[str]], list[str] | None]


class TextTable(NamedTuple):
    """A text table whose cells are text; ``take`` cuts out the columns asked for."""

    names: list[str]
    take: Callable[[Sequence[str | pl.Expr]], pl.DataFrame]
    notes: tuple[str, ...]


def mended(content: Content, source: str) -> tuple[Content, tuple[str, ...]]:
    """The text as UTF-8 with plain line ends and no blank lines, and what had to be done for that.

    The content itself comes back where it is so already, which one pass in pieces finds out: large files are not copied.
    """
    head, _ = head_of(content)
    if head.startswith(UTF_16):
        content = whole(content).decode("utf-16", errors="replace").encode()
        head = content[:SAMPLE]
    if b"\0" in head or len(re.findall(rb"[\x01-\x08\x0e-\x1e]", head)) * 100 > len(head):
        raise DataError(
            f"{source} is no text but binary data; expected a table such as CSV, TSV, Parquet, JSON lines or SQLite"
        )
    is_utf_8, is_plain = _examined(content)
    if is_utf_8 and is_plain:
        return content, ()
    data, notes = whole(content), () if is_utf_8 else (f"{source} is not UTF-8; it was read as Latin-1",)
    data = (data if is_utf_8 else data.decode("latin-1").encode()).removeprefix(UTF_8)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (re.sub(rb"\n\n+", b"\n", data) if b"\n\n" in data else data).lstrip(b"\n"), notes


def _examined(content: Content) -> tuple[bool, bool]:
    """Whether text is UTF-8, and whether it lacks a byte order mark, blank lines and carriage returns that stand alone."""
    decoder, is_utf_8 = codecs.getincrementaldecoder("utf-8")(), True
    before, is_plain = b"\n", True
    for chunk in _chunks(content):
        if is_utf_8 and (decoder.getstate()[0] or not chunk.isascii()):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf_8 = False
        is_plain &= b"\n\n" not in chunk and not (before == b"\n" and chunk.startswith((b"\n", b"\r\n", UTF_8)))
        if b"\r" in chunk:
            is_plain &= b"\n\r\n" not in chunk and chunk.count(b"\r") == chunk.count(b"\r\n")
        before = chunk[-1:]
    return is_utf_8 and not decoder.getstate()[0], is_plain


def _chunks(content: Content) -> Iterator[bytes]:
    with _opened(content) as file:
        while chunk := file.read(CHUNK):
            while chunk.endswith(b"\r") and (more := file.read(1)):
                chunk += more
            yield chunk


def _opened(content: Content) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def whole(content: Content) -> bytes:
    """All bytes."""
    return content if isinstance(content, bytes) else content.read_bytes()


def head_of(content: Content) -> tuple[bytes, bool]:
    """The first bytes, as far as the end of the first line at least, and whether they are all."""
    with _opened(content) as file:
        head = file.read(SAMPLE)
        head += b"" if b"\n" in head or len(head) < SAMPLE else file.readline()
        return head, not file.read(1)


def sample_of(content: Content) -> list[str]:
    """The first lines that are not blank, each of them whole."""
    head, is_all = head_of(content)
    lines = head.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return [line for line in (lines if is_all else lines[:-1])[:50] if line.strip()]


def text_table(content: Content, source: str, *, separator: str | None, header: Header) -> TextTable:
    """A text table with notes on what was guessed.

    Args:
        content: what ``mended`` gives.
        source: its name, for messages.
        separator: what stands between cells; None looks for the one that cuts the first lines most evenly.
        header: given the cells of the first line, names for the columns if that line is data, else None.
    """
    sample = sample_of(content)
    if not sample:
        raise DataError(f"{source} is empty; expected a table with a user and an item in each row")
    separator = SPELLED.get(separator, separator) if separator else sniff_separator(sample)
    first = [] if separator is None else _cells(sample[0], separator)
    if separator is None or len(first) < 2:
        tried = f"separator {separator!r}" if separator else "any of the separators " + ", ".join(map(repr, SEPARATORS))
        raise DataError(
            f"{source} has only one column with {tried}: its first line is {_short(sample[0])}; expected at least a user and "
            "an item; say what stands between the columns with the option separator"
        )
    names = header(first)
    notes = () if names is None else (f"{source} has no header line; its columns were taken as {', '.join(names[:5])}",)
    if names is None and (twice := sorted({name for name in first if name and first.count(name) > 1})):
        raise DataError(f"column names of {source} repeat: {', '.join(map(repr, twice[:5]))}; expected each name once")
    layout = _Layout(content, source, separator, len(first), _is_quoted(sample[0], separator))
    return _cut(layout, names or without_types(first), has_header=names is None, notes=notes)


class _Layout(NamedTuple):
    content: Content
    source: str
    separator: str
    width: int
    is_quoted: bool


def _cut(layout: _Layout, names: list[str] | None, *, has_header: bool, notes: tuple[str, ...]) -> TextTable:
    content, separator = layout.content, layout.separator
    if len(separator.encode()) > 1:
        content, separator = whole(content).replace(separator.encode(), b"\x1f"), "\x1f"
    try:
        scan = pl.scan_csv(
            content,
            separator=separator,
            has_header=has_header,
            new_columns=names,
            infer_schema=False,
            quote_char='"' if layout.is_quoted else None,
            glob=False,
        )
        found = scan.collect_schema().names()
    except UNREADABLE as error:
        raise _irregular(layout) from error

    def take(columns: Sequence[str | pl.Expr]) -> pl.DataFrame:
        # A line with too many cells is noticed only where the last column is read.
        last = pl.col(found[-1]).is_null().alias("\n")
        try:
            return scan.select(*columns, last).collect(engine="streaming").drop("\n")
        except UNREADABLE as error:
            raise _irregular(layout) from error

    return TextTable(found, take, notes)


def _irregular(layout: _Layout) -> DataError:
    with _opened(layout.content) as file:
        lines = enumerate((line.decode(errors="replace").rstrip("\r\n") for line in file), 1)
        line = next((number for number, text in lines if len(_cells(text, layout.separator)) > layout.width), None)
    where = f"its first line has {layout.width} columns, line {line} has more" if line else "a quoted cell has no closing quote"
    return DataError(
        f"{layout.source} is not a regular table: {where}; mend or remove such lines, or say what stands between the columns "
        "with the option separator"
    )


def sniff_separator(lines: Sequence[str]) -> str | None:
    """The separator that gives most of the lines as many cells as the first; None if that is less than half of them."""

    def agreement(separator: str) -> float:
        widths = [len(_cells(line, separator)) for line in lines]
        return widths.count(widths[0]) / len(widths) if widths[0] > 1 else 0.0

    best = max(SEPARATORS, key=agreement)
    return best if agreement(best) >= 0.5 else None


def _cells(line: str, separator: str) -> list[str]:
    if _is_quoted(line, separator):
        try:
            return next(csv.reader([line], delimiter=separator), [])
        except csv.Error:  # a cell longer than the module takes
            pass
    return line.rstrip("\r").split(separator)


def _is_quoted(first_line: str, separator: str) -> bool:
    return len(separator) == 1 and (separator in ",;" or first_line.startswith('"'))


def is_adjacency(lines: Sequence[str], *, in_split: bool = False) -> bool:
    """Whether lines are LightGCN's: a user and all its items, whole numbers with blanks between.

    Lines that are all of one width may be rows of another table: any but pairs where nothing is known of the file, and in a
    split only those that may be user, item, rating and perhaps time.
    """
    words = [line.split() for line in lines]
    widths = {len(row) for row in words}
    is_other = widths <= {3, 4} if in_split else widths != {2}
    return all(word.isdecimal() for row in words for word in row) and (len(widths) > 1 or not is_other)


def adjacency(content: Content) -> pl.DataFrame:
    """A row per user and item of a text with a user and all its items on a line."""
    words = pl.Series(whole(content).decode().split("\n")).str.extract_all(r"\S+")
    frame = pl.DataFrame({"user": words.list.first(), "item": words.list.slice(1)})
    return frame.filter(pl.col("item").list.len() > 0).explode("item")


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")
