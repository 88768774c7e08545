"""Ranking, rating and label measures, one pure function each; all are fractions or plain errors, never percents.

Ties are averaged exactly: a ranking metric is its expected value when items of equal score stand in a uniformly random
order, also where k cuts through them. A model that scores everything alike thus gets what chance gets, neither first
place nor last.

Shapes: U rankings (mostly one per user), T relevant items in all rankings together, M groups of equal score that hold a
relevant item, N rows of ratings or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import rankdata

from attlas.errors import DataError


@dataclass(frozen=True, eq=False)
class TieGroups:
    """The groups of equal score that hold a relevant item, by ranking and from best to worst within each.

    Attributes:
        owner: int64[M], the ranking that each group belongs to.
        ahead: int64[M], candidates ahead of the group.
        tied: int64[M], candidates in the group, relevant or not.
        relevant: int64[M], relevant ones among them.
        before: int64[M], relevant ones ahead of the group.
    """

    owner: np.ndarray
    ahead: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    before: np.ndarray

    def per_ranking(self, value_M: np.ndarray) -> np.ndarray:
        """The sum of the groups' values in each ranking, float64[U]."""
        return np.bincount(self.owner, weights=value_M)

    @cached_property
    def best(self) -> TieGroups:
        """The best group of each ranking, so that M = U."""
        is_best_M = self.before == 0
        parts = (self.owner, self.ahead, self.tied, self.relevant, self.before)
        return TieGroups(*(part[is_best_M] for part in parts))


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the relevant items stand in each ranking; every ranking has at least one.

    Attributes:
        owner: int64[T], the ranking in 0..U-1 that each relevant item belongs to.
        ahead: int64[T], how many candidates score strictly higher, other relevant items included.
        tied: int64[T], how many candidates score the same, itself included.
        num_candidates: int64[U], how many items each ranking ranks.
    """

    owner: np.ndarray
    ahead: np.ndarray
    tied: np.ndarray
    num_candidates: np.ndarray

    def __post_init__(self) -> None:
        if len(self.num_relevant) != len(self.num_candidates) or not self.num_relevant.all():
            raise DataError("a ranking without relevant items has no metrics; leave it out and count it instead")

    @cached_property
    def num_relevant(self) -> np.ndarray:
        """How many relevant items each ranking has, int64[U]."""
        return np.bincount(self.owner, minlength=len(self.num_candidates))

    @cached_property
    def groups(self) -> TieGroups:
        """The relevant items gathered by equal score."""
        order_T = np.lexsort((self.ahead, self.owner))
        owner_T, ahead_T, tied_T = self.owner[order_T], self.ahead[order_T], self.tied[order_T]
        is_new_T = np.ones(len(owner_T), bool)
        is_new_T[1:] = (np.diff(owner_T) != 0) | (np.diff(ahead_T) != 0)
        start_M = np.flatnonzero(is_new_T)
        first_U = np.cumsum(self.num_relevant) - self.num_relevant
        relevant_M = np.diff(start_M, append=len(owner_T))
        owner_M = owner_T[start_M]
        return TieGroups(owner_M, ahead_T[start_M], tied_T[start_M], relevant_M, start_M - first_U[owner_M])


def hit_rate(ranks: Ranks, k: int) -> np.ndarray:
    """Is any relevant item among the first k? float64[U]: with ties, how likely."""
    best = ranks.groups.best
    places_M = np.clip(k - best.ahead, 0, best.tied)
    fewer_M, more_M = np.minimum(places_M, best.relevant), np.maximum(places_M, best.relevant)
    # C(tied - relevant, places) / C(tied, places), as a product so that no factorial is ever formed.
    miss_M = np.ones(len(places_M))
    for step in range(fewer_M.max(initial=0)):
        factor_M = (best.tied - more_M - step) / np.maximum(best.tied - step, 1)
        miss_M = np.where(step < fewer_M, miss_M * factor_M, miss_M)
    return 1.0 - miss_M


def ndcg(ranks: Ranks, k: int) -> np.ndarray:
    """Normalised discounted cumulative gain: 1 / log2(1 + place), summed, over the best sum that is possible; float64[U].

    The best possible has a relevant item at each of the first min(k, relevant) places.
    """
    k = min(k, int(ranks.num_candidates.max(initial=1)))
    groups = ranks.groups
    gain = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    inside_M = gain[np.minimum(groups.ahead + groups.tied, k)] - gain[np.minimum(groups.ahead, k)]
    reached_U = groups.per_ranking(groups.relevant * inside_M / groups.tied)
    return reached_U / gain[np.minimum(ranks.num_relevant, k)]


def recall(ranks: Ranks, k: int) -> np.ndarray:
    """The share of relevant items that are among the first k, float64[U]."""
    return _hits(ranks, k) / ranks.num_relevant


def precision(ranks: Ranks, k: int) -> np.ndarray:
    """The share of the first k places that hold a relevant item, float64[U]; k stays k where fewer items are ranked."""
    return _hits(ranks, k) / k


def mean_average_precision(ranks: Ranks, k: int) -> np.ndarray:
    """The precision at the place of each relevant item among the first k, summed and divided by min(k, relevant); float64[U].

    Other definitions divide by the number of relevant items or by the hits; with this one 1 means that the first places
    hold relevant items only.
    """
    k = min(k, int(ranks.num_candidates.max(initial=1)))
    groups = ranks.groups
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, k + 1))])
    places_M = np.clip(k - groups.ahead, 0, groups.tied)
    cut_M = np.minimum(groups.ahead, k)
    inverse_M = harmonic[cut_M + places_M] - harmonic[cut_M]
    # At the j-th place of a group stands a relevant item with probability relevant / tied; then there are, on average,
    # before + 1 + (j - 1) (relevant - 1) / (tied - 1) hits up to it. Summed over j, each divided by its place ahead + j.
    mates_M = (groups.relevant - 1) / np.maximum(groups.tied - 1, 1)
    steps_M = places_M - (groups.ahead + 1) * inverse_M
    total_M = groups.relevant / groups.tied * ((groups.before + 1) * inverse_M + mates_M * steps_M)
    return groups.per_ranking(total_M) / np.minimum(ranks.num_relevant, k)


def mean_reciprocal_rank(ranks: Ranks, k: int) -> np.ndarray:
    """1 / place of the first relevant item, 0 if it is not among the first k; float64[U]."""
    best = ranks.groups.best
    places_M = np.clip(k - best.ahead, 0, best.tied - best.relevant + 1)
    value_M, none_yet_M = np.zeros(len(places_M)), np.ones(len(places_M))
    for step in range(places_M.max(initial=0)):
        # The chance that the next place of the group holds the first relevant item, none having come yet.
        now_M = np.where(step < places_M, best.relevant / np.maximum(best.tied - step, 1), 0.0)
        value_M += none_yet_M * now_M / (best.ahead + step + 1)
        none_yet_M *= 1.0 - now_M
    return value_M


def auc(ranks: Ranks) -> np.ndarray:
    """The share of (relevant, other) pairs in the right order, equal scores counting half; float64[U].

    nan where every candidate is relevant, since then there is no pair.
    """
    groups = ranks.groups
    wrong_M = groups.ahead - groups.before + 0.5 * (groups.tied - groups.relevant)
    pairs_U = ranks.num_relevant * (ranks.num_candidates - ranks.num_relevant)
    wrong_U = groups.per_ranking(groups.relevant * wrong_M)
    return 1.0 - np.divide(wrong_U, pairs_U, out=np.full(len(pairs_U), np.nan), where=pairs_U > 0)


def _hits(ranks: Ranks, k: int) -> np.ndarray:
    groups = ranks.groups
    return groups.per_ranking(groups.relevant * np.clip((k - groups.ahead) / groups.tied, 0.0, 1.0))


AT_K: dict[str, Callable[[Ranks, int], np.ndarray]] = {
    "hr": hit_rate,
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "map": mean_average_precision,
    "mrr": mean_reciprocal_rank,
}
WITHOUT_K: dict[str, Callable[[Ranks], np.ndarray]] = {"auc": auc}


def rmse(rating_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """The root of the mean squared error, in units of the rating."""
    return float(np.sqrt(np.mean(np.square(_wide(predicted_N) - _wide(rating_N)))))


def mae(rating_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """The mean absolute error, in units of the rating."""
    return float(np.mean(np.abs(_wide(predicted_N) - _wide(rating_N))))


def logloss(label_N: np.ndarray, logit_N: np.ndarray) -> float:
    """The mean of -log p(label) in nats, from logits, finite however large they are. Labels are in [0, 1]."""
    label_N, logit_N = _wide(label_N), _wide(logit_N)
    return float(np.mean(np.logaddexp(0.0, logit_N) - label_N * logit_N))


def label_auc(label_N: np.ndarray, score_N: np.ndarray) -> float:
    """The share of (label 1, label 0) pairs of rows in the right order, equal scores counting half; nan without such pairs."""
    is_positive_N = np.asarray(label_N) > 0
    positives = int(is_positive_N.sum())
    pairs = positives * (len(is_positive_N) - positives)
    if not pairs:
        return float("nan")
    return float((rankdata(score_N)[is_positive_N].sum() - positives * (positives + 1) / 2) / pairs)


def target_rmse(label_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """The root of the mean squared error of predictions of -1 (label 0) and +1 (label 1), clamped to [-1, 1] first."""
    return rmse(2.0 * _wide(label_N) - 1.0, np.clip(_wide(predicted_N), -1.0, 1.0))


BY_ROW: dict[str, dict[str, Callable[[np.ndarray, np.ndarray], float]]] = {
    "rating": {"rmse": rmse, "mae": mae},
    "label": {"logloss": logloss, "auc": label_auc},
    "target": {"rmse": target_rmse, "auc": label_auc},
}
ERRORS = ("rmse", "mae", "logloss")  # the lower, the better


def _wide(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)
