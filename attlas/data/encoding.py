"""Columns of cells -> the categories, values and bags of feature fields; and their columns side by side as Examples.

Shapes: N rows, F fields.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from attlas.data.cells import read_ids
from attlas.data.columns import MISSING
from attlas.data.examples import Examples, of_each
from attlas.data.fields import Features, Field, Fields, Role
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, DataError, nearest
from attlas.ops.ragged import Ragged

BETWEEN = "|"  # several categories in one cell


class Column(NamedTuple):
    """What the cells of a field say.

    Attributes:
        field: with its categories.
        place: int64[N], the category of each row, or its bag; behind the last category the unknown.
        lists: the categories of each bag; () where rows have one category each.
        value: float32[N], what the feature is multiplied by, or None.
    """

    field: Field
    place: np.ndarray
    lists: Sequence[Sequence[int]] = ()
    value: np.ndarray | None = None


def encoded(cells: pl.Series, field: Field, is_train_N: np.ndarray, *, buckets: int = 1) -> Column:
    """A column, by the kind of its field.

    Args:
        cells: of any type that its kind can be read from.
        field: its name, role and kind.
        is_train_N: which cells buckets and scales are made of.
        buckets: how many, of that kind; fewer where many numbers are equal.

    Raises:
        DataError: the cells are not what the kind of the field says.
    """
    if field.kind == "category":
        _refuse_fractions(cells, field)
        cells = cells.cast(pl.String) if cells.dtype == pl.Boolean else cells
        noun = field.role if field.name == field.role else field.name
        found = read_ids(cells, field.name, is_text=cells.dtype == pl.String)
        place = np.where(found.place < 0, len(found.known), found.place).astype(np.int64)
        return Column(replace(field, known=Vocabulary(found.known, noun=noun)), place)
    if field.kind == "bag":
        return _bags(cells, field)
    number = numbers_of(cells)
    trained = number[is_train_N & np.isfinite(number)]
    if not len(trained):
        raise DataError(f"field {field.name!r} holds no number in training; expected some, or leave it a category")
    if field.kind == "number":
        known = Vocabulary([field.name], noun=field.name)
        return _scaled(number, replace(field, known=known, centre=float(trained.mean()), spread=float(trained.std()) or 1.0))
    edges = tuple(np.unique(np.quantile(trained, np.arange(1, buckets) / buckets)).tolist())
    return _in_buckets(number, replace(field, known=Vocabulary(_bucket_names(edges), noun=field.name), edges=edges))


def _refuse_fractions(cells: pl.Series, field: Field) -> None:
    if cells.dtype.is_float() and (cells.drop_nulls().drop_nans() % 1 != 0).any():
        raise DataError(
            f"field {field.name!r} holds numbers with fractions; expected categories, text or whole numbers; a number is named "
            "among numbers or buckets"
        )


def _scaled(number: np.ndarray, field: Field) -> Column:
    is_known = np.isfinite(number)
    value = np.where(is_known, (number - field.centre) / field.spread, 1.0).astype(np.float32)
    return Column(field, np.where(is_known, 0, 1), value=value)


def _in_buckets(number: np.ndarray, field: Field) -> Column:
    place = np.searchsorted(np.array(field.edges), number, side="left")
    return Column(field, np.where(np.isfinite(number), place, len(field.known)))


def _bucket_names(edges: Sequence[float]) -> list[str]:
    spellings = ([f"{edge:.{digits}g}" for edge in edges] for digits in range(6, 18))  # 17 digits tell any two numbers apart
    ends = next(spelled for spelled in spellings if len(set(spelled)) == len(edges))
    between = [f"{low} to {high}" for low, high in itertools.pairwise(ends)]
    return [f"to {ends[0]}", *between, f"over {ends[-1]}"] if ends else ["any"]


def _bags(cells: pl.Series, field: Field) -> Column:
    text = _text_of_bags(cells).fill_null("")
    kinds = text.unique(maintain_order=True)
    parts = [_parts(kind) for kind in kinds.to_list()]
    known = list(dict.fromkeys(part for row in parts for part in row))
    at = {part: place for place, part in enumerate(known)}
    lists = [sorted({at[part] for part in row}) or [len(known)] for row in parts]
    place = text.replace_strict(kinds, pl.int_range(len(kinds), eager=True), return_dtype=pl.Int64).to_numpy(writable=True)
    return Column(replace(field, known=Vocabulary(known, noun=field.name)), place, lists)


def _text_of_bags(cells: pl.Series) -> pl.Series:
    """Cells with ``|`` between their categories, of text or of lists."""
    try:
        cells = cells.arr.to_list() if isinstance(cells.dtype, pl.Array) else cells
        if isinstance(cells.dtype, pl.List):
            return cells.cast(pl.List(pl.String)).list.join(BETWEEN)
        return cells.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        what = f"expected text with {BETWEEN} between categories, or lists of them"
        raise DataError(f"column {cells.name!r} is of type {cells.dtype}; {what}") from error


def _parts(said: Any) -> list[str]:
    """The categories that a bag names, as they are known: without blanks beside them, and the missing ones left out."""
    text = BETWEEN.join(map(str, said if _are_several(said) else [said]))
    return [part for part in map(str.strip, text.split(BETWEEN)) if part not in MISSING]


def _are_several(said: Any) -> bool:
    return isinstance(said, Collection) and not isinstance(said, str | bytes)


def numbers_of(cells: pl.Series) -> np.ndarray:
    """Cells as numbers, float64[N]; nan where one says none.

    Raises:
        DataError: a cell is neither a number nor empty.
    """
    text = cells.cast(pl.String).str.strip_chars() if cells.dtype in (pl.String, pl.Categorical, pl.Enum) else None
    try:
        number = (cells if text is None else text).cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError as error:  # lists and the like, which no setting makes lenient
        raise DataError(f"column {cells.name.strip()!r} is of type {cells.dtype}; expected numbers") from error
    odd = pl.Series([]) if text is None else text.filter(number.is_null() & text.is_not_null() & ~text.is_in(MISSING))
    if len(odd):
        raise DataError(f"column {cells.name.strip()!r} has cells such as {odd[0]!r}; expected numbers")
    return number.fill_null(np.nan).to_numpy(writable=True)


def assembled(columns: Sequence[Column], label: np.ndarray, is_train_N: np.ndarray) -> Examples:
    """The columns of all fields side by side, the first of a role being the user or the item itself.

    Args:
        is_train_N: which rows say what is known of users and items; the others speak of those alone whom these have not.
    """
    fields = tuple(column.field for column in columns)
    first = np.cumsum([0, *(field.size for field in fields)])
    lists: list[list[int]] = []
    index = []
    for column, low in zip(columns, first[:-1].tolist(), strict=True):
        index.append(column.place + (first[-1] + len(lists) if column.lists else low))
        lists += [[low + place for place in row] for row in column.lists]
    index_NF = np.ascontiguousarray(np.stack(index, axis=1).astype(np.int64))
    ones_N = np.ones(len(label), np.float32)
    value_NF = np.stack([ones_N if column.value is None else column.value for column in columns], axis=1).astype(np.float32)
    weighs = any(column.value is not None for column in columns)
    bags = Ragged.of(lists, int(first[-1])) if lists else None
    table = index_NF, value_NF if weighs else None, is_train_N
    halves = {role: _of_role(role, fields, *table, first) for role in ("user", "item")}
    (user_index, user_value), (item_index, item_value) = halves.values()
    features = Features(fields, user_index, item_index, user_value, item_value, bags)
    return Examples(features, index_NF, label, value_NF if weighs else None)


def _of_role(
    role: Role,
    fields: Sequence[Field],
    index_NF: np.ndarray,
    value_NF: np.ndarray | None,
    is_train_N: np.ndarray,
    first: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The features and values of every user or item."""
    places = [place for place, field in enumerate(fields) if field.role == role]
    own, count = places[0], len(fields[places[0]].known)
    told = index_NF[:, own] - first[own], is_train_N, places, count
    index = of_each(index_NF, *told, first[1:] - 1)
    return index, None if value_NF is None else of_each(value_NF, *told, np.ones(len(fields), np.float32))


def in_context(
    features: Features, said: Mapping[str, Any], count: int, *, roles: tuple[Role, ...] = ("context",)
) -> tuple[Fields, list[str]]:
    """What was said of the moment as so many equal rows of the context's fields; and the names of those that stay unknown.

    Args:
        said: a category, a number, or of a bag a list of categories, by the name of its field.
        roles: of the fields that are spoken of; with ``user`` among them also what is known of somebody, who is nobody known.

    Raises:
        ConfigError: no field of the context, or of the user, has that name.
        DataError: a number was expected, or one value where several came.
    """
    places = features.places(*roles)
    names = [features.names[place] for place in places]
    sayable = [name for name, place in zip(names, places, strict=True) if place != features.places("user")[0]]
    for name in said:
        if name not in sayable:
            hint = nearest(name, sayable) if sayable else "there is none"
            what = f"context {name!r} is no" if roles == ("context",) else f"feature {name!r} is no field of a user, nor a"
            raise ConfigError(f"{what} field of the context; {hint}")
    found = [_placed(features, place, said.get(features.names[place])) for place in places]
    lists = [categories for _, _, categories in found if categories]
    bags = with_lists(features.bags, lists)
    index, value, added = [], [], 0
    for at, weight, categories in found:
        index.append(features.first[-1] + (bags.count if bags else 0) - len(lists) + added if categories else at)
        value.append(weight)
        added += bool(categories)
    unknown = [name for name, at, place in zip(names, index, places, strict=True) if at == features.unknown[place]]
    unknown = [name for name in unknown if name in sayable]
    weighs = any(weight != 1 for weight in value)
    made = torch.tensor([index], dtype=torch.int64).view(1, -1).repeat(count, 1), torch.tensor([value]).view(1, -1)
    return Fields(made[0], made[1].repeat(count, 1) if weighs else None, bags), unknown


def of_newcomers(
    features: Features, role: Role, facts: Sequence[Mapping[str, Any]]
) -> tuple[np.ndarray, np.ndarray, Ragged | None]:
    """What is known of new users or items, beside who they are, by the categories that training has seen.

    Args:
        features: whose vocabularies hold them already, behind the known ones.
        facts: of each, a cell by the name of its field; what is missing is unknown.

    Returns:
        Their features and what these are multiplied by, [J, Fr] each; and all bags, the known ones and theirs.

    Raises:
        DataError: a number was expected, or one value where several came.
    """
    places, bags = features.places(role), features.bags
    index = np.zeros((len(facts), len(places)), np.int64)
    value = np.ones(index.shape, np.float32)
    lists: list[list[int]] = []
    for row, known in enumerate(facts):
        for column, place in enumerate(places):
            at, weight, held = _placed(features, place, known.get(features.names[place]))
            if held:
                at = int(features.first[-1]) + (bags.count if bags else 0) + len(lists)
                lists.append(held)
            index[row, column], value[row, column] = at, weight
    index[:, 0] = features.unknown[places[0]] - len(facts) + np.arange(len(facts))
    return index, value, with_lists(bags, lists)


def with_lists(bags: Ragged | None, lists: Sequence[Sequence[int]]) -> Ragged | None:
    """The same bags and some more behind them."""
    if not lists or bags is None:
        return bags
    return Ragged.of([*(row.tolist() for row in np.split(bags.index.numpy(), bags.start[1:-1].numpy())), *lists], bags.width)


def _placed(features: Features, place: int, said: Any) -> tuple[int, float, list[int]]:
    """The feature of one cell, what it is multiplied by and, of a bag, what it holds."""
    field, first, unknown = features.fields[place], int(features.first[place]), int(features.unknown[place])
    if said is None:
        return unknown, 1.0, []
    if field.kind != "bag" and _are_several(said):
        what = "category" if field.kind == "category" else "number"
        raise DataError(f"field {field.name!r} takes one {what}, and a {type(said).__name__} of values came; say one")
    if field.kind in ("number", "buckets"):
        number = numbers_of(pl.Series(field.name, [said], strict=False))
        made = _scaled(number, field) if field.kind == "number" else _in_buckets(number, field)
        return first + int(made.place[0]), 1.0 if made.value is None else float(made.value[0]), []
    if isinstance(said, bool | np.bool_):
        said = str(said).lower()  # as polars spells it
    wanted = field.known.find(_parts(said) if field.kind == "bag" else [said])
    seen = [at for at in (first + wanted[wanted >= 0]).tolist() if features.is_seen is None or features.is_seen[at]]
    if field.kind == "bag":
        # What training has not seen is as unknown beside what it has as in the bags of a held-out row.
        return unknown, 1.0, sorted({*seen, *([unknown] if len(seen) < len(wanted) else [])}) if seen else []
    return seen[0] if seen else unknown, 1.0, []
