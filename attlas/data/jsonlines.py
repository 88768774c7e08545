"""JSON lines: an object on each line, its keys the columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import polars as pl

from attlas.data.text import UNREADABLE, Content, whole
from attlas.errors import DataError


def read_json_lines(content: Content, source: str) -> tuple[pl.DataFrame, Callable[[str], bool]]:
    """The table, and whether a column of it holds both text and numbers.

    Raises:
        DataError: a line is no object, or the file is one object over many lines.
    """
    data = whole(content).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").strip()
    try:
        frame = pl.read_ndjson(data, infer_schema_length=None)
    except (*UNREADABLE, RecursionError) as error:
        raise DataError(
            f"{source} begins like JSON lines, but {_first_bad_line(data)}; expected an object such as "
            '{"user": 1, "item": 2} on each line'
        ) from error
    for line in _lines_with(rb"\\u[dD][89a-fA-F]", data):
        try:
            json.dumps(json.loads(line), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            what = f"{source}: {line[:60].decode(errors='replace')!r} holds half of a letter, which is no text"
            raise DataError(f"{what}; mend that line, or write the file anew as UTF-8") from error
    return frame, lambda name: frame.schema[name] == pl.String and _has_number(data, name)


def _first_bad_line(data: bytes) -> str:
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            if line.strip() and not isinstance(json.loads(line), dict):
                return f"line {number} is no object"
        except (ValueError, RecursionError):
            return f"line {number} is no whole JSON"
    return "its lines do not have the same shape"


def _has_number(data: bytes, name: str) -> bool:
    # Most columns of text have no line that looks like a number, so that no line is parsed twice.
    key = re.escape(json.dumps(name, ensure_ascii=False).encode()) + rb"\s*:\s*[-\d]"
    cells = (json.loads(line).get(name) for line in _lines_with(key, data))
    return any(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)


def _lines_with(pattern: bytes, data: bytes) -> Iterator[bytes]:
    for match in re.finditer(pattern, data):
        end = data.find(b"\n", match.end())
        yield data[data.rfind(b"\n", 0, match.end()) + 1 : len(data) if end < 0 else end]
