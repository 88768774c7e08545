"""Tables and libFM or libSVM text -> Examples.

A table has one named column for each field and one for the label. In libFM text a line is a label and then ``feature:value``,
one for each field in their order; features are numbers or text.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from attlas.data.columns import best_columns, find_column
from attlas.data.doors import content_of, open_table
from attlas.data.encoding import Column, assembled, encoded, numbers_of
from attlas.data.examples import Examples, blinded, parts_by_ratio, rows_by_ratio
from attlas.data.fields import Field, Kind, Role
from attlas.data.interactions import Origin
from attlas.data.text import UNREADABLE, mended, sample_of, whole
from attlas.data.vocabulary import Vocabulary
from attlas.errors import DataError

LIBFM = (".libfm", ".libsvm", ".svm")
PARTS = {"train": ("train",), "valid": ("validation", "valid", "val"), "test": ("test",)}
TABLES = (".csv", ".tsv", ".parquet", *LIBFM)
LABEL = "label"  # what their column is called where nobody says
OWN = "\nlabel"  # what it is called inside, where no field can be
WEIGHT = "\n"  # behind a field's name, the column of its values


@dataclass(frozen=True)
class Layout:
    """What the columns of labelled rows are.

    Attributes:
        label: the column of labels, 0 and 1 or -1 and 1.
        fields: which columns are fields, in this order; of libFM text the names of its fields. () takes all others.
        user, item: the fields that name them; None goes by the usual names, and in libFM text by place, first and second.
        numbers: fields whose number weighs one feature, centred and scaled.
        buckets: fields whose number is put into so many buckets of like size.
        bags: fields that hold several categories with ``|`` between them, or a list of them.
        user_fields, item_fields: further fields that are known of the user, or of the item, and do not change.
        separator: what stands between the columns of a text table; None finds out.
    """

    label: str = LABEL
    fields: tuple[str, ...] = ()
    user: str | None = None
    item: str | None = None
    numbers: tuple[str, ...] = ()
    buckets: Mapping[str, int] | None = None
    bags: tuple[str, ...] = ()
    user_fields: tuple[str, ...] = ()
    item_fields: tuple[str, ...] = ()
    separator: str | None = None

    def kind(self, name: str) -> Kind:
        """What the cells of a field say."""
        listed: dict[Kind, Any] = {"number": self.numbers, "buckets": self.buckets or (), "bag": self.bags}
        return next((kind for kind, names in listed.items() if name in names), "category")


def read_examples(source: Any, layout: Layout | None = None) -> Examples:
    """Labelled rows from a CSV, TSV or Parquet file, libFM or libSVM text (all but Parquet gzip or not), or a frame.

    Buckets and scales are those of all rows; ``read_by_ratio`` makes them of the part that training gets.

    Raises:
        DataError: the source cannot be understood; the message says what to do.
    """
    return read_parts([source], layout)[0]


def read_by_ratio(
    source: Any, layout: Layout | None = None, *, test: float = 0.1, valid: float = 0.2, seed: int = 1
) -> tuple[Examples, Examples | None, Examples]:
    """The parts into which ``parts_by_ratio`` would split a source, with the buckets and scales of training alone.

    Raises:
        ConfigError: fractions that leave nothing to train on.
        DataError: the source cannot be understood, or has too few rows; the message says what to do.
    """
    frame, layout = _frame_of(source, layout or Layout()), layout or Layout()
    is_train_N = np.zeros(frame.height, bool)
    is_train_N[rows_by_ratio(frame.height, test=test, valid=valid, seed=seed)[0]] = True
    rows = _understood(frame, layout, _called(source), is_train_N)
    rows = replace(rows, origin=Origin(_called(source), len(rows)))
    return parts_by_ratio(rows, test=test, valid=valid, seed=seed)


def read_parts(sources: Sequence[Any], layout: Layout | None = None) -> list[Examples]:
    """Several sources of one data set, with the same features; what the first has not seen is unknown in all others."""
    layout = layout or Layout()
    frames = _frames_of(sources, layout)
    ends = np.cumsum([0, *(frame.height for frame in frames)])
    found = _understood(_joined(frames), layout, _called(sources[0]), np.arange(ends[-1]) < ends[1])
    parts = [found.take(np.arange(*ends[place : place + 2])) for place in range(len(frames))]
    parts = [replace(part, origin=Origin(_called(source), len(part))) for part, source in zip(parts, sources, strict=True)]
    return blinded(parts[0], *parts[1:]) if len(parts) > 1 else parts


def read_together(sources: Sequence[Any], layout: Layout | None = None) -> Examples:
    """Several sources of one data set as one, one after another; buckets and scales are those of all rows, nothing is unknown.

    Raises:
        DataError: a source cannot be understood, or has other fields than the first.
    """
    frame, layout = _joined(_frames_of(sources, layout or Layout())), layout or Layout()
    names = ", ".join(_called(source) for source in sources)
    rows = _understood(frame, layout, _called(sources[0]), np.ones(frame.height, bool))
    return replace(rows, origin=Origin(names, frame.height))


def _frames_of(sources: Sequence[Any], layout: Layout) -> list[pl.DataFrame]:
    frames = [_frame_of(source, layout) for source in sources]
    weights = dict.fromkeys(name for frame in frames for name in frame.columns if name.endswith(WEIGHT))
    names = _fields_of(frames[0])
    for source, frame in zip(sources, frames, strict=True):
        if _fields_of(frame) != names:
            came, expected = (", ".join(fields[1:]) for fields in (_fields_of(frame), names))
            raise DataError(f"{_called(source)} has the fields {came}; expected those of the other files: {expected}")
    return [_with_ones(frame, weights) for frame in frames]


def _fields_of(frame: pl.DataFrame) -> list[str]:
    """The columns of the label and of every field, without those of values."""
    return [name for name in frame.columns if not name.endswith(WEIGHT)]


def _with_ones(frame: pl.DataFrame, weights: Iterable[str]) -> pl.DataFrame:
    """Rows with a column of values for each field that has one in some part; where all values are 1, libFM text gives none."""
    ones = [pl.lit(1.0).alias(name) for name in weights if name not in frame.columns]
    return frame.with_columns(ones).select(*_fields_of(frame), *weights)


def _joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all parts, in types that hold those of each."""
    try:
        return pl.concat(frames, how="vertical_relaxed")
    except UNREADABLE as error:
        types = {name: sorted({str(frame.schema[name]) for frame in frames}) for name in frames[0].columns}
        name, found = next(((name, found) for name, found in types.items() if len(found) > 1), ("", []))
        what = f"column {name.strip()!r} is of type {' in one part and '.join(found)} in another"
        raise DataError(f"{what}; expected one type in all parts") from error


def given_examples(folder: str | Path) -> dict[str, Path]:
    """The files of labelled rows that were split already, by part; none where a folder has no whole split, or several.

    Known are ``NAME.train.libfm`` with ``NAME.validation.libfm`` and ``NAME.test.libfm``, and ``train``, ``valid`` and
    ``test`` with .csv, .parquet, .libfm, .libsvm or .svm; packed with gzip or not. All parts have one name, or none.
    """
    if not Path(folder).is_dir():
        return {}
    found: dict[str, dict[str, Path]] = {}
    for child in sorted(Path(folder).iterdir()):  # a plain file comes before a packed one, and stands for it
        stem, dot, ending = child.name.removesuffix(".gz").rpartition(".")
        name, _, word = stem.rpartition(".")
        part = next((part for part, words in PARTS.items() if word in words), None)
        if part and f"{dot}{ending}" in TABLES:
            found.setdefault(name, {}).setdefault(part, child)
    whole = [files for files in found.values() if {"train", "test"} <= set(files)]
    return whole[0] if len(whole) == 1 else {}


def is_libfm(source: Any) -> bool:
    """Whether a file is named as libFM or libSVM text."""
    return isinstance(source, str | Path) and str(source).removesuffix(".gz").endswith(LIBFM)


def _called(source: Any) -> str:
    return Path(source).name if isinstance(source, str | Path) else "frame"


def _frame_of(source: Any, layout: Layout) -> pl.DataFrame:
    """The label and then every field, in order; of libFM text with its values in columns of their own behind."""
    if is_libfm(source):
        return _libfm(Path(source), layout)
    table = open_table(source, layout.separator, lambda first: None)
    label = find_column(layout.label, table.names, table.source, "the label")
    fields = [find_column(name, table.names, table.source, "a field") for name in layout.fields]
    return table.take([label, *(fields or [name for name in table.names if name != label])]).rename({label: OWN})


def _libfm(path: Path, layout: Layout) -> pl.DataFrame:
    content, _ = mended(content_of(path), path.name)
    sample = sample_of(content)
    width = len(sample[0].split()) if sample else 0
    if width < 3 or not all(":" in cell for line in sample for cell in line.split()[1:]):
        raise DataError(f"{path.name} is no libFM text; expected a label and then two or more feature:value on each line")
    names = [*layout.fields] or [f"field_{place}" for place in range(1, width)]
    if len(names) != width - 1:
        raise DataError(f"{path.name} has {width - 1} fields on its first line, and {len(names)} names were given for them")
    wide, text = [OWN, *names], io.BytesIO(_evenly(whole(content)))
    try:
        frame = pl.read_csv(text, separator=" ", has_header=False, new_columns=wide, infer_schema=False, quote_char=None)
    except UNREADABLE as error:
        raise DataError(f"{path.name} has lines of more than {width} cells; expected one feature for each field") from error
    if sum(frame.null_count().row(0)):
        raise DataError(f"{path.name} has lines of fewer than {width} cells; expected one feature for each field")
    cut = {name: frame[name].str.split_exact(":", 1) for name in names}
    value = {name: column.struct.field("field_1") for name, column in cut.items()}
    weighed = [_values(cells, name, path.name) for name, cells in value.items() if not (cells == "1").all(ignore_nulls=False)]
    return pl.DataFrame([frame[OWN], *(column.struct.field("field_0").alias(name) for name, column in cut.items()), *weighed])


def _evenly(content: bytes) -> bytes:
    """The lines of libFM text with one blank between cells and none elsewhere, which is how most files come."""
    odd = (b"\t", b"  ", b" \n", b" \r", b"\n ")
    if not (content.startswith(b" ") or content.endswith(b" ") or any(part in content for part in odd)):
        return content
    return b"".join(b" ".join(line.split()) + b"\n" for line in content.splitlines() if line.strip())


def _values(cells: pl.Series, name: str, source: str) -> pl.Series:
    """What the features of one field of libFM text are multiplied by, as a column for it."""
    value = numbers_of(cells.alias(name))
    if len(odd := np.flatnonzero(~np.isfinite(value))):
        raise DataError(
            f"{source}: field {name!r} has no number behind its colon in row {odd[0] + 1:,}; expected feature:value everywhere"
        )
    return pl.Series(f"{name}{WEIGHT}", value)


def _understood(frame: pl.DataFrame, layout: Layout, source: str, is_train_N: np.ndarray) -> Examples:
    """All rows, whose buckets, scales and facts are those of the training rows."""
    names = [name for name in frame.columns if name != OWN and not name.endswith(WEIGHT)]
    columns: list[Column] = []
    for name, role in _roles(names, layout, source).items():
        wanted = Field(name, Vocabulary([]), role, layout.kind(name))
        column = encoded(frame[name], wanted, is_train_N, buckets=(layout.buckets or {}).get(name, 1))
        if f"{name}{WEIGHT}" in frame.columns:
            column = column._replace(value=frame[f"{name}{WEIGHT}"].to_numpy())
        columns.append(column)
    return assembled(columns, _labels(frame[OWN].alias(layout.label), source), is_train_N)


def _roles(names: Sequence[str], layout: Layout, source: str) -> dict[str, Role]:
    """The role of each field, the user's and the item's own first among their kind."""
    asked = (*layout.numbers, *(layout.buckets or ()), *layout.bags, *layout.user_fields, *layout.item_fields)
    for name in asked:
        find_column(name, names, source, "a field")
    roles: dict[str, Role] = dict.fromkeys(names, "context")
    further: dict[Role, tuple[str, ...]] = {"user": layout.user_fields, "item": layout.item_fields}
    for place, (role, others) in enumerate(further.items()):
        chosen = layout.user if role == "user" else layout.item
        usual = [find_column(chosen, names, source, f"the {role}")] if chosen else best_columns(names, role)
        unnamed = all(name.startswith("field_") for name in names)
        own = usual or ([names[place]] if unnamed else [])
        if len(own) != 1:
            listed = ", ".join(names)
            raise DataError(f"{source}: which field is the {role}? choose one with the option {role} (its fields are {listed})")
        if own[0] in layout.user_fields + layout.item_fields:
            raise DataError(f"{source}: field {own[0]!r} is the {role} itself; leave it out of user_fields and item_fields")
        roles |= dict.fromkeys((own[0], *others), role)
    ordered = sorted(names, key=lambda name: name in layout.user_fields + layout.item_fields)
    return {name: roles[name] for name in ordered}


def _labels(cells: pl.Series, source: str) -> np.ndarray:
    number = numbers_of(cells)
    found = np.unique(number)
    if not (set(found) <= {0.0, 1.0} or set(found) <= {-1.0, 1.0}):
        raise DataError(
            f"{source}: labels are {', '.join(f'{one:g}' for one in found[:5])}; expected 0 and 1, or -1 and 1; "
            "choose another column with the option label"
        )
    return (number > 0).astype(np.float32)
