"""Conditions on the rows of a table, such as ``stars>3 and event=purchase``: parsed by hand, never run as code."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from attlas.data.columns import find_column
from attlas.errors import ConfigError, DataError

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
TERM = re.compile(
    r"""\s*(?:"(?P<quoted_column>[^"]+)"|(?P<column>[^<>=!"']+?))\s*(?P<operator>[<>=!~]+)\s*"""
    r"""(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^<>=!"']+?))\s*(?:$|\sand(?=\s))""",
    re.IGNORECASE,
)
NUMBER = re.compile(r"[+-]?(?!0\d)(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Condition(NamedTuple):
    """A comparison of a column with a number or, where ``number`` is None, with text."""

    column: str
    operator: str
    text: str
    number: float | None

    def holds(self, cells: pl.Series) -> pl.Series:
        """In which rows it holds; in none whose cell is missing.

        Raises:
            DataError: order was asked of a column that does not hold numbers.
        """
        text = cells.cast(pl.String, strict=False).str.strip_chars()
        given = cells.is_not_null() & (text != "")
        numbers = (cells if cells.dtype.is_numeric() else text).cast(pl.Float64, strict=False).fill_nan(None)
        of_numbers = numbers.count() * 2 >= given.sum()
        compare = OPERATORS[self.operator]
        if self.operator in ("=", "==", "!="):
            as_numbers = self.number is not None and numbers.count() == given.sum()
            found = compare(numbers, self.number) if as_numbers else compare(text, self.text)
        elif of_numbers:
            found = compare(numbers, self.number)
        else:
            example = text.filter(given)[0]
            raise DataError(
                f"column {self.column!r} does not hold numbers but for instance {example!r}, so {self.operator} cannot "
                f"order it; compare it with = or !=, or leave out early rows with since"
            )
        return (found & given).fill_null(False)


def parse_conditions(text: str, names: Sequence[str], source: str) -> list[Condition]:
    """The comparisons that ``and`` joins; a text that would be read otherwise may be quoted, a column's name too.

    Raises:
        ConfigError: the text is no such comparison, or orders by something else than a number.
        DataError: the table has no such column.
    """
    found, place = list[Condition](), 0
    while place < len(text) or not found:
        term = TERM.match(text, place)
        if term is None or term["operator"] not in OPERATORS:
            part = text[place:].strip()
            raise ConfigError(
                f"positive={text!r} is not understood at {part!r}; expected comparisons of a column with a number or a text "
                f"by {' '.join(OPERATORS)}, joined by and: 'stars>3 and event=purchase'"
            )
        value = next(term[name] for name in ("double", "single", "plain") if term[name] is not None)
        number = float(value) if term["plain"] is not None and NUMBER.fullmatch(value) else None
        if number is None and term["operator"] not in ("=", "==", "!="):
            raise ConfigError(
                f"positive={text!r}: {term['operator']} needs a number, {value!r} is none; compare text with = or !=, "
                "or leave out early rows with since"
            )
        column = find_column(term["quoted_column"] or term["column"], names, source, "positive")
        found.append(Condition(column, term["operator"], value, number))
        place = term.end()
    return found
