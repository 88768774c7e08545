"""Features and pairs of them, in the names that the data use: of one row what each adds, of many the mean of that.

Shapes: B rows, F fields, P pairs of them.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from attlas.answers import context_of
from attlas.counterfactual import Asker
from attlas.data.examples import ExampleInputs, Examples
from attlas.data.fields import Features
from attlas.data.inputs import Fields
from attlas.errors import ConfigError
from attlas.guests import receive
from attlas.models.reasons import LosingPairs, WeighingFeatures, WeighingPairs
from attlas.scoring import Scorer

if TYPE_CHECKING:
    from attlas.recommender import Recommender

ROWS_AT_ONCE = 8192
AS_FITTED = "as fitted"  # the feature of a stranger whose row was fitted to what they chose: its id is nobody's


def reasons_by_fields(
    scorer: Scorer, item: int, asker: Asker, context: Mapping[str, Any] | None, top: int | None
) -> dict[str, Any]:
    """What each feature, or each pair of them, of the one row adds, or what is lost without the pair: parts of an Explanation.

    Arguments and errors are those of ``Recommender.explain``, but for indices.
    """
    host, row, unknown = _row_of(scorer, item, asker, context)
    features, model = host.inputs.features, cast(Any, host.model)
    with torch.inference_mode():
        score = float(model(fields=row)[0])
        columns = {name: part[0].double().cpu().numpy() for name, part in _parts_of(model, row).items()}
    if isinstance(model, WeighingPairs):
        columns["contribution"] = columns["attention"] * columns["score"]
    said = features.said(row.index[0].tolist(), row.bags)
    if asker.user is None and asker.chosen.nnz:
        said[features.places("user")[0]] = AS_FITTED
    is_single = isinstance(model, WeighingFeatures)
    frame = (named_features if is_single else named_pairs)(features, said).with_columns(**columns)
    ordered = frame.sort(pl.col("contribution").abs(), descending=True, maintain_order=True)
    rest = None if isinstance(model, LosingPairs) else score - float(columns["contribution"].sum())
    facts: dict[str, Any] = {"score": score, "explained": score, "rest": rest, "unknown": tuple(unknown)}
    return facts | {"features" if is_single else "pairs": ordered.head(len(frame) if top is None else top)}


def _row_of(scorer: Scorer, item: int, asker: Asker, context: Mapping[str, Any] | None) -> tuple[Scorer, Fields, Sequence[str]]:
    """Who scores, the one row, and the fields of which nothing is known; a stranger of whom something is, is made a user."""
    fields: Fields | None = None
    unknown: Sequence[str] = ()
    user = -1 if asker.user is None else asker.user
    if asker.user is None and (asker.chosen.nnz or asker.said is not None):
        guest, user = receive(scorer, asker.chosen, {**(context or {}), **(asker.said or {})}), 0
        scorer, fields, unknown = guest
    elif scorer.inputs.given_features is not None:
        fields, unknown = context_of(scorer, context, 1)
    user_B, item_B = (torch.tensor([index], device=scorer.inputs.device) for index in (user, item))
    return scorer, scorer.inputs.features.pairs(user_B, item_B, fields), unknown


def _parts_of(model: Any, row: Fields) -> dict[str, Tensor]:
    if isinstance(model, WeighingFeatures):
        return {"contribution": model.weigh_features(row)}
    if isinstance(model, LosingPairs):
        return {"contribution": model.lose_pairs(row)}
    return dict(zip(("attention", "score"), model.weigh_pairs(row), strict=True))


def named_features(features: Features, said: Sequence[str]) -> pl.DataFrame:
    """Each field of one row by the names that the data use: field, feature."""
    columns = {"field": list(features.names), "feature": list(said)}
    return pl.DataFrame(columns, schema={"field": pl.String, "feature": pl.String})


def named_pairs(features: Features, said: Sequence[str]) -> pl.DataFrame:
    """Each pair of fields of one row by the names that the data use: field, feature, other_field, other."""
    named = zip(features.names, said, strict=True)
    pairs = [(*one, *other) for one, other in itertools.combinations(named, 2)]
    columns = ("field", "feature", "other_field", "other")
    return pl.DataFrame(pairs, schema=dict.fromkeys(columns, pl.String), orient="row")


def average_pairs(recommender: Recommender, examples: Examples) -> pl.DataFrame:
    """What each pair of fields weighs, scores and adds in the mean over labelled rows, what adds most first.

    Returns:
        One row per pair: field, other_field, attention, score, contribution and size, the mean of what it adds without sign.

    Raises:
        ConfigError: the model does not sum over pairs, or the rows are of other categories or scales than those that it learned
            from.
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
    """What every pair of fields adds to the score of every row, float64[N, P], pairs in their order; errors as above."""
    return np.concatenate([weight_BP * score_BP for weight_BP, score_BP in _weighed(recommender, examples)])


def heat_map(averages: pl.DataFrame, value: str = "contribution") -> dict[str, Any]:
    """A figure of plotly, as plain data: fields by fields, coloured by one of the columns of ``average_pairs``.

    Names are escaped: plotly reads some tags, links among them.
    """
    names = list(dict.fromkeys([*averages["field"], *averages["other_field"]]))
    at = {name: place for place, name in enumerate(names)}
    cells: list[list[float | None]] = [[None] * len(names) for _ in names]
    for row in averages.iter_rows(named=True):
        one, other = at[row["field"]], at[row["other_field"]]
        cells[one][other] = cells[other][one] = row[value]
    middle = {"zmid": 0.0} if value in ("score", "contribution") else {"zmin": 0.0}
    shown = [html.escape(name, quote=False) for name in names]
    data = {"type": "heatmap", "x": shown, "y": shown, "z": cells, "colorbar": {"title": {"text": value}}, **middle}
    return {
        "data": [data],
        "layout": {"yaxis": {"autorange": "reversed"}, "title": {"text": f"mean {value} of pairs of fields"}},
    }


def _weighed(recommender: Recommender, examples: Examples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    model, inputs = _weighing(recommender.model), ExampleInputs(examples, device=recommender.inputs.device)
    if not _are_alike(recommender.inputs.features, examples.features):
        raise ConfigError(
            "these rows are of other fields, categories or scales than those that the run learned from; read them together "
            "with those, as read_parts does"
        )
    for first in range(0, len(examples), ROWS_AT_ONCE):
        fields: Fields = inputs.rows(slice(first, first + ROWS_AT_ONCE))[0]
        with torch.inference_mode():
            weight, score = (part.double().cpu().numpy() for part in model.weigh_pairs(fields))
        yield weight, score


def _are_alike(one: Features, other: Features) -> bool:
    """Whether an index, and a value, mean the same in both."""
    facts, pairs = ("name", "kind", "known", "edges", "centre", "spread"), zip(one.fields, other.fields, strict=False)
    as_many = len(one.fields) == len(other.fields)
    return as_many and all(getattr(mine, fact) == getattr(theirs, fact) for mine, theirs in pairs for fact in facts)


def _pairs_of(features: Features) -> list[tuple[str, str]]:
    return list(itertools.combinations(features.names, 2))


def _weighing(model: Any) -> WeighingPairs:
    if not isinstance(model, WeighingPairs):
        raise ConfigError(f"{type(model).__name__} does not sum over pairs of features; AFM and FM do, and can be explained so")
    return model
