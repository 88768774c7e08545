"""Which columns a table has, which of them is the user, item, rating and time, and what their cells say."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from attlas.errors import DataError, nearest

SEPARATORS = ("::", "\t", ",", ";", "|")
SPELLED = {"\\t": "\t", "tab": "\t"}
ROLES = ("user", "item", "rating", "time")

# One row per rank, best first; within a rank a name that ends in "id" wins. Compared without case, blanks and punctuation.
USUAL_NAMES = {
    "user": (
        "user userid uid",
        "username usr reviewerid customer customerid clientid client visitorid memberid member accountid account personid "
        "person playerid player profileid readerid reader listenerid subscriberid",
        "sessionid session visitor deviceid cookieid householdid",
    ),
    "item": (
        "item itemid iid",
        "movieid productid asin sku articleid trackid artistid songid bookid isbn animeid gameid appid businessid recipeid "
        "newsid videoid stockcode movie product article track artist song book anime game app",
        "parentasin goodid merchantid placeid venueid poiid locationid contentid title name",
    ),
    "rating": (
        "rating ratings stars overall",
        "score grade bookrating moviescore reviewscore ratingvalue",
        "weight count cnt playcount plays quantity qty frequency freq listens clicks views hours",
    ),
    "time": (
        "timestamp time ts unixreviewtime unixtime unixtimestamp epoch datetime eventtime",
        "date createdat updatedat ratedat reviewtime reviewdate invoicedate purchasedate orderdate tdat",
    ),
}
MISSING = ["", "nan", "NaN", "NA", "<NA>", "null", "NULL", "None", "\\N"]
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z")
TIME_UNITS = ((1e17, 10**9, "nanoseconds"), (1e14, 10**6, "microseconds"), (1e11, 10**3, "milliseconds"))
FIRST_PLAUSIBLE_TIME = 1e8  # seconds; numbers from here on (1973) are taken for times rather than ratings

Header = Callable[[Sequence[str]], list[str] | None]


class Cells(NamedTuple):
    """What a column says: values (null where unusable), why each unusable row is so, and what a person should know."""

    values: pl.Series
    unusable: dict[str, pl.Series]
    notes: tuple[str, ...] = ()


def parse_table(text: bytes, source: str, *, separator: str | None, header: Header) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """A text table as a frame of text columns, with notes on what was guessed.

    Args:
        text: UTF-8 with lines that end in a line feed.
        separator: what stands between cells; None looks for the one that cuts the first lines most evenly.
        header: given the cells of the first line, names for the columns if that line is data, else None.
    """
    sample = [line for line in text[: 1 << 16].decode(errors="replace").split("\n")[:50] if line.strip()]
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
    return _parsed(text, source, separator, names, quoted=_is_quoted(sample[0], separator)), notes


def _parsed(text: bytes, source: str, separator: str, names: list[str] | None, *, quoted: bool) -> pl.DataFrame:
    if len(separator) > 1:
        text, separator = text.replace(separator.encode(), b"\x1f"), "\x1f"
    try:
        return pl.read_csv(
            text,
            separator=separator,
            has_header=names is None,
            new_columns=names,
            infer_schema=False,
            quote_char='"' if quoted else None,
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        width = len(_cells(text.split(b"\n", 1)[0].decode(), separator))
        longer = (n for n, line in enumerate(text.decode().split("\n"), 1) if len(_cells(line, separator)) > width)
        line = next(longer, None)
        where = f"its first line has {width} columns, line {line} has more" if line else "a quoted cell has no closing quote"
        raise DataError(
            f"{source} is not a regular table: {where}; mend or remove such lines, or say what stands between the columns "
            "with the option separator"
        ) from error


def sniff_separator(lines: Sequence[str]) -> str | None:
    """The separator that gives most of the lines as many cells as the first; None if that is less than half of them."""

    def agreement(separator: str) -> float:
        widths = [len(_cells(line, separator)) for line in lines]
        return widths.count(widths[0]) / len(widths) if widths[0] > 1 else 0.0

    best = max(SEPARATORS, key=agreement)
    return best if agreement(best) >= 0.5 else None


def _cells(line: str, separator: str) -> list[str]:
    if _is_quoted(line, separator):
        return next(csv.reader([line], delimiter=separator), [])
    return line.rstrip("\r").split(separator)


def _is_quoted(first_line: str, separator: str) -> bool:
    return len(separator) == 1 and (separator in ",;" or first_line.startswith('"'))


def interaction_header(first: Sequence[str]) -> list[str] | None:
    """Names for the columns of a table of interactions whose first line is data: its numbers give it away."""
    later = [_is_number(cell) for cell in first[2:]]
    if not 2 <= len(first) <= 4 or not (any(later) if later else all(map(_is_number, first))):
        return None
    return positional_header(first)


def positional_header(first: Sequence[str]) -> list[str]:
    """User, item, rating, time, as far as the columns reach; a third column of epoch times is the time."""
    if len(first) > len(ROLES):
        raise DataError(f"the first line has {len(first)} columns; expected at most {len(ROLES)}: {', '.join(ROLES)}")
    if len(first) == 3 and _is_number(first[2]) and float(first[2]) >= FIRST_PLAUSIBLE_TIME:
        return ["user", "item", "time"]
    return list(ROLES[: len(first)])


def given_header(first: Sequence[str]) -> list[str] | None:
    """Names for the columns of a file of a given split: such files have a header only where it names user and item."""
    return None if best_columns(first, "user") and best_columns(first, "item") else positional_header(first)


def item_header(first: Sequence[str]) -> list[str] | None:
    """Names for the columns of a table of items whose first line is data, as in MovieLens ``movies.dat`` and ``u.item``."""
    if not _is_number(first[0]):
        return None
    if len(first) == 24:
        return ["item", "title", "release_date", "video_date", "address", *(f"genre_{n}" for n in range(19))]
    known = ["item", "title", "genres"]
    return (known + [f"column_{n}" for n in range(4, len(first) + 1)])[: len(first)]


def _is_number(cell: str) -> bool:
    try:
        return float(cell) == float(cell)
    except ValueError:
        return False


def assign_columns(names: Sequence[str], source: str, **chosen: str | None) -> dict[str, str]:
    """The column that plays each role: the chosen one, else the one with the most usual name; "" leaves a role out.

    Raises:
        DataError: a chosen column does not exist, two columns fit equally well, or no column is the user or the item.
    """
    columns = {role: name for role, name in chosen.items() if name}
    for role, name in columns.items():
        if name not in names:
            raise DataError(f"{source} has no column {name!r} for the {role}; {nearest(name, names)}{_listed(names)}")
    if len(set(columns.values())) < len(columns):
        raise DataError(f"{source}: one column was chosen for two roles: {columns}; choose a different one for each")
    for role in ROLES:
        if chosen.get(role) is None:
            fits = best_columns([name for name in names if name not in columns.values()], role)
            if len(fits) > 1 or (not fits and role in ("user", "item")):
                problem = f"columns {', '.join(map(repr, fits))} fit equally well" if fits else "no name looks like it"
                raise DataError(
                    f"{source}: which column is the {role}? {problem}; choose one with the option {role}{_listed(names)}"
                    + ("" if fits else "; if its first line is data, put a line with the names of the columns above it")
                )
            columns |= {role: fits[0]} if fits else {}
    return {role: columns[role] for role in ROLES if role in columns}


def best_columns(names: Sequence[str], role: str) -> list[str]:
    """The columns whose names fit a role best; more than one if they fit equally well, none if none fits."""
    ranks = {name: (rank, not usual.endswith("id")) for name in names for rank, usual in _usual(name, role)}
    return [name for name, rank in ranks.items() if rank == min(ranks.values())]


def _usual(name: str, role: str) -> list[tuple[int, str]]:
    # "user_id:token" is RecBole's way to write a type beside a name.
    plain = "".join(letter for letter in name.split(":")[0].lower() if letter.isalnum())
    return [(rank, plain) for rank, usual in enumerate(USUAL_NAMES[role]) if plain in usual.split()]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f" (its columns are {shown}{', ...' if len(names) > 20 else ''})"


def read_ids(cells: pl.Series, role: str) -> Cells:
    """Ids as text or whole numbers; whole numbers that were stored as floats become whole again."""
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
        if not (cells.is_finite() & (cells % 1 == 0)).all():
            raise DataError(f"column {cells.name!r} holds numbers with fractions; expected {role} ids: text or whole numbers")
    elif cells.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        text = cells.cast(pl.String).str.strip_chars()
        cells = text.set(text.is_in(MISSING), None)
    elif not cells.dtype.is_integer():
        raise DataError(f"column {cells.name!r} is of type {cells.dtype}; expected {role} ids: text or whole numbers")
    values = cells if cells.dtype == pl.String else cells.cast(pl.Int64, strict=False)
    if values.null_count() > cells.null_count():  # hashes of 64 bits without a sign
        values = cells.cast(pl.String)
    return Cells(values, {f"missing {role} id": values.is_null()})


def read_ratings(cells: pl.Series) -> Cells:
    """Ratings as float32."""
    missing = _is_missing(cells)
    values = _numbers(cells).cast(pl.Float32, strict=False)
    values = values.set(~values.is_finite().fill_null(False), None)
    return Cells(values, {"missing rating": missing, "the rating is not a number": values.is_null() & ~missing})


def read_times(cells: pl.Series) -> Cells:
    """Times as whole seconds since 1970, from epoch numbers of any usual unit, ISO text, dates or datetimes."""
    missing = _is_missing(cells)
    if cells.dtype.is_temporal() and cells.dtype not in (pl.Time, pl.Duration):
        return Cells(cells.dt.epoch("s"), {"missing time": missing})
    numbers = _numbers(cells)
    if cells.dtype == pl.String and numbers.count() * 2 < (~missing).sum():
        values = _iso_seconds(cells)
        return Cells(values, {"missing time": missing, "the time is not understood": values.is_null() & ~missing})
    numbers = numbers.set(~numbers.is_finite().fill_null(False), None)
    negative = (numbers < 0).fill_null(False)
    middle = numbers.filter(~negative).median() or 0.0
    unit, notes = 1, list[str]()
    for least, per_second, name in TIME_UNITS:
        if isinstance(middle, float) and middle >= least and unit == 1:
            unit, notes = per_second, [f"times in column {cells.name!r} are in {name}; they were kept as whole seconds"]
    values = (numbers.set(negative, None) / unit).floor().cast(pl.Int64, strict=False)
    bad = {
        "missing time": missing,
        "negative time": negative,
        "the time is not a number": values.is_null() & ~missing & ~negative,
    }
    return Cells(values, bad, tuple(notes))


def _is_missing(cells: pl.Series) -> pl.Series:
    if cells.dtype == pl.String:
        return cells.is_null() | cells.str.strip_chars().is_in(MISSING).fill_null(True)
    return cells.is_null() | (cells.is_nan().fill_null(True) if cells.dtype.is_float() else False)


def _numbers(cells: pl.Series) -> pl.Series:
    text = cells.str.strip_chars() if cells.dtype == pl.String else cells
    try:
        return text.cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"column {cells.name!r} is of type {cells.dtype}; expected numbers") from error


def _iso_seconds(cells: pl.Series) -> pl.Series:
    text = cells.str.strip_chars().str.replace(r"^(\d{4})/(\d\d?)/", "$1-$2-").str.replace(r"^(\S{8,10})T", "$1 ")
    text = text.str.replace(r"\s?(Z|UTC)$", "+00:00")
    text = text.set(~text.str.contains(r"^\d{4}-").fill_null(False), None)
    seconds = pl.Series(cells.name, [None], dtype=pl.Int64).new_from_index(0, len(text))
    for layout in TIME_FORMATS:
        if seconds.null_count() == text.null_count():
            break
        seconds = seconds.zip_with(seconds.is_not_null(), text.str.to_datetime(layout, strict=False).dt.epoch("s"))
    return seconds


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")
