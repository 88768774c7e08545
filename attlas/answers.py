"""From scores to ranked lists in outside ids.

Shapes: V rows asked for, I items, k list length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError
from attlas.models.protocol import Ranking, Separable
from attlas.ops.topk import top_k
from attlas.scoring import Scorer
from attlas.strangers import given_history


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
        hidden: items to leave out of each row, sparse [V, I]; None for none.
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


def similar_to(scorer: Scorer, item: int) -> tuple[np.ndarray, str]:
    """How like one item each item is, float32[I], and by what."""
    model = scorer.model
    with torch.inference_mode():
        if isinstance(model, Separable):
            code_IC = torch.nn.functional.normalize(scorer.item_code, dim=-1)
            return (code_IC @ code_IC[item]).cpu().numpy(), "item codes"
        if isinstance(model, Ranking) and "user_history" in scorer.names:
            alone = given_history(scorer.inputs, np.array([item]))
            return model.score_catalogue(user_history=alone)[0].cpu().numpy(), "item weights"
    by_item = scorer.train.by_item
    together = np.asarray((by_item @ by_item[[item]].T).todense()).ravel()
    norm = np.sqrt(np.diff(by_item.indptr))
    return (together / np.maximum(norm * norm[item], 1)).astype(np.float32), "chosen together"
