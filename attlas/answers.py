"""From scores to ranked lists in outside ids.

Shapes: V rows asked for, I items, k list length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from scipy import sparse

from attlas.data.encoding import in_context
from attlas.data.fields import Features, Fields
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError
from attlas.models.protocol import Comparing, Ranking, Separable
from attlas.ops.ragged import Ragged
from attlas.ops.topk import top_k
from attlas.scoring import Scorer
from attlas.strangers import POPULAR, OpenScorer, given_history


@dataclass(frozen=True, eq=False)
class Answer:
    """The best items of each row, as indices.

    Attributes:
        items: what the indices mean.
        index: int64[V, k], -1 where nothing is left.
        score: float32[V, k].
        ways: how each row was answered, [V].
    """

    items: Vocabulary
    index: np.ndarray
    score: np.ndarray
    ways: list[str]

    def frame(self, askers: pl.Series | None = None) -> pl.DataFrame:
        """One row per answer: rank, item, title, score, way; with ``askers``, the id of each row's user, user before them."""
        is_there = self.index >= 0
        count = is_there.sum(1)
        index = self.index[is_there]
        rank = np.broadcast_to(np.arange(1, self.index.shape[1] + 1), self.index.shape)[is_there]
        row = np.repeat(np.arange(len(count)), count)
        frame = pl.DataFrame(
            {
                "rank": rank,
                "item": self.items.ids.gather(index),
                "title": pl.Series(self.items.titles_of(index), dtype=pl.String),
                "score": self.score[is_there],
                "way": pl.Series(self.ways, dtype=pl.String).gather(row),
            }
        )
        return frame if askers is None else frame.insert_column(0, askers.gather(row).alias("user"))


def score_asked(
    everybody: OpenScorer, popularity: np.ndarray, user: np.ndarray, context: Mapping[str, Any] | None, unknown: str
) -> tuple[np.ndarray, list[str]]:
    """The score of every item for each row asked for, float32[V, I], and how each was come by.

    Args:
        everybody: scores known users.
        popularity: float32[I], what unknown users get.
        user: int64[V]; -1 is an unknown user.
        context: what is known of the moment, by the name of its field.
        unknown: ``learned`` where a model on feature fields shall score unknown users too.
    """
    score = np.empty((len(user), len(popularity)), np.float32)
    is_scored = (user >= 0) | (unknown == "learned")
    score[~is_scored] = popularity
    if everybody.scorer.inputs.given_features is not None:
        score[is_scored], said = score_in_context(everybody.scorer, user[is_scored], context)
    else:
        score[is_scored], said = everybody.score_all(user[is_scored]), everybody.ways(user[is_scored])
    known_ways = iter(said)
    return score, [next(known_ways) if scored else POPULAR for scored in is_scored]


def score_in_context(scorer: Scorer, user: np.ndarray, context: Mapping[str, Any] | None) -> tuple[np.ndarray, list[str]]:
    """The score of every item for each user in one context, float32[V, I], and how each was come by: what was unknown.

    Args:
        scorer: of a model on feature fields.
        user: int64[V]; -1 is an unknown user.
        context: what is known of the moment, by the name of its field.

    Raises:
        ConfigError: no field of the context has that name.
    """
    features = scorer.inputs.features
    if not len(user):
        return np.zeros((0, len(features.item_index)), np.float32), []
    fields, unknown = context_of(scorer, context, len(user))
    ways = ["known user" if known else "unknown user" for known in features.is_known(user)]
    said = f"; unknown: {', '.join(unknown)}" if unknown else ""
    return scorer.score_all(user, fields), [way + said for way in ways]


def context_of(scorer: Scorer, context: Mapping[str, Any] | None, count: int) -> tuple[Fields, list[str]]:
    """What was said of the moment as so many rows where the model lies, and the fields that stay unknown."""
    fields, unknown = in_context(scorer.inputs.features, context or {}, count)
    return fields.to(scorer.inputs.device), unknown


def check_choices(unknown: str, context: Any, features: Features | None) -> None:
    """Refuse what a run without, or with, feature fields cannot do.

    Raises:
        ConfigError: ``unknown`` is no way to treat unknown users, or the run knows no context.
    """
    if unknown not in ("error", "popular", *([] if features is None else ["learned"])):
        also = "" if features is None else ", or 'learned'"
        raise ConfigError(f"unknown={unknown!r}; expected 'error' or 'popular'{also}")
    if context is not None and features is None:
        raise ConfigError("this run learned from interactions and knows no context; fit labelled rows of feature fields")


def check_k(k: Any) -> None:
    """Refuse a length of lists that is none.

    Raises:
        ConfigError: k is no whole number of at least 1.
    """
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise ConfigError(f"k is {k!r}; expected a whole number of at least 1")


def best_items(
    items: Vocabulary,
    score_VI: np.ndarray,
    k: int,
    *,
    hidden: Any = None,
    allowed: np.ndarray | None = None,
    ways: list[str],
) -> Answer:
    """The k best items of each row of scores.

    Args:
        hidden: items to leave out of each row, sparse [V, I] or ``rows_of`` one; None for none.
        allowed: the only items to rank, or None for all.
    """
    start = np.zeros(len(score_VI) + 1, np.int64) if hidden is None else hidden.indptr.astype(np.int64)
    places = np.zeros(0, np.int64) if hidden is None else hidden.indices.astype(np.int64)
    if allowed is not None:
        kept = np.full(len(items), -np.inf, np.float32)
        kept[allowed] = 0.0
        score_VI = score_VI + kept
    index, score = top_k(score_VI, min(k, len(items)), start, places)
    if allowed is not None:
        index = np.where(np.isneginf(score), -1, index)
    return Answer(items, index, score, ways)


class Rows(NamedTuple):
    """Some rows of a sparse matrix.

    Attributes:
        indptr: int64[V + 1], where the columns of each row start.
        indices: the columns, row by row.
    """

    indptr: np.ndarray
    indices: np.ndarray


def rows_of(chosen_UI: sparse.csr_array, row_V: np.ndarray) -> Rows:
    """Some rows of a binary matrix, taken as they lie: for one row the library's own indexing costs as much as an answer.

    Args:
        row_V: int64[V]; -1 is a row that holds nothing.
    """
    first, index = chosen_UI.indptr, chosen_UI.indices
    held = [index[first[row] : first[row + 1]] if row >= 0 else index[:0] for row in row_V.tolist()]
    return Rows(np.cumsum([0, *map(len, held)]), np.concatenate([*held, index[:0]]))


def similar_to(scorer: Scorer, item: int) -> tuple[np.ndarray, str]:
    """How like one item each item is, float32[I], and by what."""
    model = scorer.model
    with torch.inference_mode():
        if isinstance(model, Separable):
            code_IC = getattr(model, model.compared_by).weight if isinstance(model, Comparing) else scorer.item_code
            code_IC = torch.nn.functional.normalize(code_IC, dim=-1)
            return (code_IC @ code_IC[item]).cpu().numpy(), "item codes"
        if isinstance(model, Ranking) and "user_history" in scorer.names:
            alone = given_history(scorer.inputs, np.array([item]))
            start, index, width = alone.lists.start, alone.lists.index, alone.lists.width
            nothing = replace(alone, lists=Ragged(torch.zeros_like(start), index[:0], width))
            with_it, without = (model.score_catalogue(user_history=history)[0] for history in (alone, nothing))
            return (with_it - without).cpu().numpy(), "item weights"
    by_item = scorer.train.by_item
    together = np.asarray((by_item @ by_item[[item]].T).todense()).ravel()
    norm = np.sqrt(np.diff(by_item.indptr))
    return (together / np.maximum(norm * norm[item], 1)).astype(np.float32), "chosen together"
