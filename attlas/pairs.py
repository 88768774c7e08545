"""Why this row: what each pair of its features weighed, scored and added, in the names that the data use.

Shapes: B rows, F fields, P pairs of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from attlas.answers import context_of
from attlas.data.examples import ExampleInputs, Examples
from attlas.data.fields import Features
from attlas.data.inputs import Fields
from attlas.errors import ConfigError
from attlas.models.protocol import WeighingPairs
from attlas.recommender import Recommender

ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class PairReasons:
    """What stood behind one score of a model of feature fields.

    Attributes:
        item, title: the item that is explained.
        score: what it is ranked by.
        rest: the part of the score that no pair adds: the bias and the features by themselves.
        unknown: the fields of the context of which nothing was known.
        pairs: one row per pair of fields, what adds most, up or down, first: field, feature, other_field, other, attention,
            score, contribution; the last is the product of the two before it.
    """

    item: str | int
    title: str
    score: float
    rest: float
    unknown: tuple[str, ...]
    pairs: pl.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        facts = {name: getattr(self, name) for name in ("item", "title", "score", "rest")}
        return facts | {"unknown": list(self.unknown), "pairs": self.pairs.to_dicts()}

    def sentence(self, count: int = 3) -> str:
        """One sentence for a person: the pairs that speak most for it."""
        heaviest = self.pairs.filter(pl.col("contribution") > 0).sort("contribution", descending=True).head(count)
        if heaviest.is_empty():
            return f"{self.title}: no pair of features speaks for it"
        rows = heaviest.iter_rows(named=True)
        names = [f"{row['field']} {row['feature']} with {row['other_field']} {row['other']}" for row in rows]
        return f"{self.title}: because of {', '.join(names)}"


def explain_row(
    recommender: Recommender,
    user: str | int,
    item: str | int,
    *,
    context: Mapping[str, Any] | None = None,
    top: int | None = None,
) -> PairReasons:
    """Why an item has its score for a user in a context.

    Args:
        recommender: of a model that sums over pairs of features, such as AFM or FM.
        user: an outside id; an unknown one is explained as such.
        top: only so many of the pairs that add most, up or down.

    Raises:
        ConfigError: the model does not sum over pairs, or no field of the context has such a name.
        UnknownId: the item is not known.
    """
    model = _weighing(recommender.model)
    features, device = recommender.inputs.features, recommender.inputs.device
    place = int(recommender.items.index_of([item])[0])
    fields, unknown = context_of(recommender.scorer, context, 1)
    asked = torch.from_numpy(recommender.users.find([user])).to(device)
    row = features.pairs(asked, torch.tensor([place], device=device), fields)
    with torch.inference_mode():
        weight, score = (part[0].double().cpu().numpy() for part in model.weigh_pairs(row))
        total = float(recommender.model(fields=row)[0])
    names = features.said(row.index[0].tolist(), row.bags)
    pairs = [
        (features.names[i], names[i], features.names[j], names[j]) for i, j in itertools.combinations(range(len(names)), 2)
    ]
    columns = ("field", "feature", "other_field", "other")
    told = pl.DataFrame(pairs, schema=dict.fromkeys(columns, pl.String), orient="row")
    frame = told.with_columns(attention=weight, score=score, contribution=weight * score)
    ordered = frame.sort(pl.col("contribution").abs(), descending=True, maintain_order=True)
    rest = total - float((weight * score).sum())
    return PairReasons(
        item, recommender.items.titles_of([place])[0], total, rest, tuple(unknown), ordered.head(top or len(frame))
    )


def average_pairs(recommender: Recommender, examples: Examples) -> pl.DataFrame:
    """What each pair of fields weighs, scores and adds in the mean over labelled rows, what adds most first.

    Returns:
        One row per pair: field, other_field, attention, score, contribution and size, the mean of what it adds without sign.

    Raises:
        ConfigError: the model does not sum over pairs.
    """
    sums = np.zeros((4, len(_pairs_of(examples.features))))
    for weight_BP, score_BP in _weighed(recommender, examples):
        added_BP = weight_BP * score_BP
        sums += [part.sum(0) for part in (weight_BP, score_BP, added_BP, np.abs(added_BP))]
    names = ("attention", "score", "contribution", "size")
    means = {name: total / max(len(examples), 1) for name, total in zip(names, sums, strict=True)}
    told = pl.DataFrame(_pairs_of(examples.features), schema={"field": pl.String, "other_field": pl.String}, orient="row")
    return told.with_columns(**means).sort("size", descending=True, maintain_order=True)


def contributions(recommender: Recommender, examples: Examples) -> np.ndarray:
    """What every pair of fields adds to the score of every row, float64[N, P], pairs in their order."""
    return np.concatenate([weight_BP * score_BP for weight_BP, score_BP in _weighed(recommender, examples)])


def heat_map(averages: pl.DataFrame, value: str = "contribution") -> dict[str, Any]:
    """A figure of plotly, as plain data: fields by fields, coloured by one of the columns of ``average_pairs``."""
    names = list(dict.fromkeys([*averages["field"], *averages["other_field"]]))
    at = {name: place for place, name in enumerate(names)}
    cells: list[list[float | None]] = [[None] * len(names) for _ in names]
    for row in averages.iter_rows(named=True):
        one, other = at[row["field"]], at[row["other_field"]]
        cells[one][other] = cells[other][one] = row[value]
    middle = {"zmid": 0.0} if value in ("score", "contribution") else {"zmin": 0.0}
    data = {"type": "heatmap", "x": names, "y": names, "z": cells, "colorbar": {"title": {"text": value}}, **middle}
    return {
        "data": [data],
        "layout": {"yaxis": {"autorange": "reversed"}, "title": {"text": f"mean {value} of pairs of fields"}},
    }


def _weighed(recommender: Recommender, examples: Examples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    model, inputs = _weighing(recommender.model), ExampleInputs(examples, device=recommender.inputs.device)
    for first in range(0, len(examples), ROWS_AT_ONCE):
        fields: Fields = inputs.rows(slice(first, first + ROWS_AT_ONCE))[0]
        with torch.inference_mode():
            weight, score = (part.double().cpu().numpy() for part in model.weigh_pairs(fields))
        yield weight, score


def _pairs_of(features: Features) -> list[tuple[str, str]]:
    return list(itertools.combinations(features.names, 2))


def _weighing(model: Any) -> WeighingPairs:
    if not isinstance(model, WeighingPairs):
        raise ConfigError(f"{type(model).__name__} does not sum over pairs of features; AFM and FM do, and can be explained so")
    return model
