"""From scores to ranked lists in outside ids.

Shapes: V rows asked for, I items, k list length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from attlas.data.vocabulary import Vocabulary
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

    def frame(self, askers: Sequence[str | int], k: int) -> pl.DataFrame:
        """One row per answer: user, rank, item, title, score, way."""
        is_there = self.index >= 0
        count = is_there.sum(1)
        index = self.index[is_there]
        rank = np.broadcast_to(np.arange(1, self.index.shape[1] + 1), self.index.shape)[is_there]
        asker = pl.Series("user", list(askers)).gather(np.repeat(np.arange(len(askers)), count))
        return pl.DataFrame(
            {
                "user": asker,
                "rank": rank,
                "item": self.items.ids.gather(index),
                "title": self.items.titles_of(index),
                "score": self.score[is_there],
                "way": pl.Series(self.ways, dtype=pl.String).gather(np.repeat(np.arange(len(askers)), count)),
            }
        )


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
