"""What the cells of a column say: ids, numbers and times, and why some cannot be used."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from attlas.data.columns import MISSING
from attlas.errors import DataError

TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z")
TIME_UNITS = ((1e17, 10**9, "nanoseconds"), (1e14, 10**6, "microseconds"), (1e11, 10**3, "milliseconds"))
SAMPLE = 100_000  # cells that tell the unit of times
TEXT = (pl.String, pl.Categorical, pl.Enum, pl.Null)


class Cells(NamedTuple):
    """What a column says: values (null where unusable), why each unusable row is so, and what a person should know."""

    values: pl.Series
    unusable: dict[str, pl.Series]
    notes: tuple[str, ...] = ()


class Ids(NamedTuple):
    """A column of ids: the distinct ones, and for each row the place of its own among them; -1 where it is unusable."""

    known: pl.Series
    place: np.ndarray
    unusable: dict[str, pl.Series]
    notes: tuple[str, ...] = ()

    def among(self, keep: np.ndarray | slice) -> tuple[pl.Series, np.ndarray]:
        """Of the kept rows the distinct ids in the order of first appearance, and the index of each row's, int64[N]."""
        place = self.place[keep]
        first = np.full(len(self.known), -1, np.int64)
        first[place[::-1]] = np.arange(len(place) - 1, -1, -1)
        order = np.flatnonzero(first >= 0)
        order = order[np.argsort(first[order])]
        index = np.zeros(len(self.known), np.int64)
        index[order] = np.arange(len(order))
        return self.known.gather(order), index[place]


def read_ids(cells: pl.Series, role: str, *, is_text: bool) -> Ids:
    """Ids as text or whole numbers; whole numbers that were stored as floats become whole again, where floats can tell them.

    Args:
        cells: the column.
        role: user or item, for messages.
        is_text: the source knows text only, so that an empty cell or ``NA`` says that there is none. In a source with types
            only what is missing is missing, and empty text is an empty id.
    """
    if cells.dtype.is_float():
        cells = cells.fill_nan(None)
        if not (cells.is_finite() & (cells % 1 == 0)).all():
            raise DataError(f"column {cells.name!r} holds numbers with fractions; expected {role} ids: text or whole numbers")
        most = 2**24 if cells.dtype == pl.Float32 else 2**53
        if (cells.abs() >= most).any():
            raise DataError(
                f"column {cells.name!r} holds {role} ids of {most:,} and more as {cells.dtype}, which cannot tell such numbers "
                "apart; read them as text or as whole numbers (in pandas dtype='string' or 'Int64')"
            )
    elif not (cells.dtype.is_integer() or cells.dtype in TEXT):
        raise DataError(f"column {cells.name!r} is of type {cells.dtype}; expected {role} ids: text or whole numbers")
    if cells.dtype not in TEXT:
        whole = cells.cast(pl.Int64, strict=False)
        if whole.null_count() == cells.null_count():
            return _number_ids(whole, role)
        cells = cells.cast(pl.String)  # hashes of 64 bits without a sign
    return _text_ids(cells.cast(pl.Categorical), role, is_text=is_text)


def _text_ids(cells: pl.Series, role: str, *, is_text: bool) -> Ids:
    code = cells.to_physical()
    spellings = cells.unique().drop_nulls()
    text = spellings.cast(pl.String).str.strip_chars()
    is_none = text.is_in(MISSING if is_text else [""])
    known = text.filter(~is_none).unique(maintain_order=True)
    end = len(spellings) and int(spellings.to_physical().to_numpy().max()) + 1
    place = np.full(end + 1, -1, np.int32)
    places = text.set(is_none, None).replace_strict(known, pl.int_range(len(known), eager=True), default=-1)
    place[spellings.to_physical().to_numpy()] = places.to_numpy()
    of_row = place[code.fill_null(end).to_numpy()]
    if is_text:
        return Ids(known, of_row, {f"missing {role} id": pl.Series(of_row < 0)})
    missing = code.is_null()
    return Ids(known, of_row, {f"missing {role} id": missing, f"empty {role} id": pl.Series(of_row < 0) & ~missing})


def _number_ids(cells: pl.Series, role: str) -> Ids:
    known, unusable = cells.drop_nulls().unique().sort(), {f"missing {role} id": cells.is_null()}
    least, most = (known[0], known[-1]) if len(known) else (0, 0)
    if most - least > 4 * len(cells) + 1_000_000 or most >= 2**62:  # too wide for an array with a place for every number
        places = cells.replace_strict(known, pl.int_range(len(known), eager=True), default=-1, return_dtype=pl.Int32)
        return Ids(known, places.fill_null(-1).to_numpy(), unusable)
    place = np.full(most - least + 2, -1, np.int32)
    place[known.to_numpy() - least] = np.arange(len(known))
    return Ids(known, place[cells.fill_null(most + 1).to_numpy() - least], unusable)


def read_numbers(cells: pl.Series, what: str) -> Cells:
    """Finite numbers as float64; ``what`` they are, for messages."""
    values = _numbers(cells)
    if values.null_count() == 0 and values.is_finite().all():
        return Cells(values, {})
    missing = _is_missing(cells)
    values = values.set(~values.is_finite().fill_null(False), None)
    return Cells(values, {f"missing {what}": missing, f"the {what} is not a number": values.is_null() & ~missing})


def read_ratings(cells: pl.Series) -> Cells:
    """Ratings as float32."""
    read = read_numbers(cells, "rating")
    values = read.values.cast(pl.Float32, strict=False)
    values = values.set(values.is_infinite().fill_null(False), None)
    if values.null_count() == read.values.null_count():
        return read._replace(values=values)
    beyond = values.is_null() & read.values.is_not_null()
    return Cells(values, {**read.unusable, "the rating is too large": beyond}, read.notes)


def read_times(cells: pl.Series) -> Cells:
    """Times as whole seconds since 1970, from epoch numbers of any usual unit, ISO text, dates or datetimes."""
    if cells.dtype.is_temporal() and cells.dtype not in (pl.Time, pl.Duration):
        return Cells(cells.dt.epoch("s"), {"missing time": cells.is_null()})
    if cells.dtype.is_temporal():
        raise DataError(f"column {cells.name!r} is of type {cells.dtype}; expected dates, or seconds since 1970")
    numbers = _numbers(cells)
    is_whole = numbers.null_count() == 0 and bool(numbers.is_finite().all())
    missing = pl.repeat(False, len(cells), dtype=pl.Boolean, eager=True) if is_whole else _is_missing(cells)
    if cells.dtype == pl.String and numbers.count() * 2 < (~missing).sum():
        values = _iso_seconds(cells)
        return Cells(values, {"missing time": missing, "the time is not understood": values.is_null() & ~missing})
    numbers = numbers if is_whole else numbers.set(~numbers.is_finite().fill_null(False), None)
    negative = (numbers < 0).fill_null(False)
    sample = numbers.gather_every(max(1, len(numbers) // SAMPLE))
    middle = sample.filter(sample >= 0).median() or 0.0
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
    if cells.dtype.is_temporal():
        raise DataError(f"column {cells.name!r} is of type {cells.dtype}; expected numbers")
    if cells.dtype in (pl.Categorical, pl.Enum):
        cells = cells.cast(pl.String)
    try:
        values = cells.cast(pl.Float64, strict=False)
        if cells.dtype == pl.String and values.null_count() > cells.null_count():
            values = cells.str.strip_chars().cast(pl.Float64, strict=False)
        return values
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
