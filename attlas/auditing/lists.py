"""What a model's lists are made of: the most popular items, or what each user likes.

Shapes: V users, I items, k places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from attlas.auditing.finding import Finding, graded, percent
from attlas.auditing.measuring import Bench
from attlas.models.reasons import reasons_of
from attlas.ops.topk import top_k
from attlas.scoring import Scorer
from attlas.strangers import OpenScorer

SAMPLE = 1_000  # users whose lists are looked at
HEAD = 0.1  # of the items: the most popular tenth
SAME = 0.995  # of a list's places; lists that agree so far with popularity's are popularity's


@dataclass(frozen=True, eq=False)
class Lists:
    """The k best unseen items of some users; in a small catalogue nobody may have so many.

    Attributes:
        users: int64[V].
        items: int64[V, k], the model's, best first.
        popular: int64[V, k], popularity's.
    """

    users: np.ndarray
    items: np.ndarray
    popular: np.ndarray


def lists_of(bench: Bench) -> Lists:
    """The lists of the users that are tested, or of some of them drawn at random; made once."""
    if "lists" not in bench.kept:
        bench.kept["lists"] = _lists(bench)
    found: Lists = bench.kept["lists"]
    return found


def of_lists(bench: Bench) -> Iterator[Finding]:
    """The share of the most popular items in the lists, against their share of what was held out; nothing without lists."""
    split, lists = bench.split, lists_of(bench)
    assert isinstance(bench.scorer, Scorer)
    if not lists.items.size:
        return
    count_I = np.diff(split.train.by_item.indptr)
    is_head_I = np.zeros(len(count_I), bool)
    is_head_I[np.argsort(-count_I, kind="stable")[: max(1, round(HEAD * int((count_I > 0).sum())))]] = True
    of_list, of_test = float(is_head_I[lists.items].mean()), float(is_head_I[split.test.item].mean())
    least_V1 = count_I[lists.popular[:, -1:]]  # of equal counts any may stand in popularity's list
    overlap, is_popularity = float((count_I[lists.items] >= least_V1).mean()), reasons_of(bench.scorer.model) == "popularity"
    yield Finding(
        "popularity-lists",
        graded(0.0 if is_popularity else overlap, warning=SAME),
        bench.name,
        f"the most popular tenth of the items take {percent(of_list)} of the first {lists.items.shape[1]} places and "
        f"{percent(of_test)} of the held-out rows; {percent(overlap)} of the places could stand in popularity's own lists",
        of_list,
        None if is_popularity else _against_popularity(bench),
        "a model that repeats popularity says nothing of anybody: compare it with popularity, and look at coverage"
        if overlap >= SAME
        else "compare with popularity, and report coverage beside accuracy",
    )


def _lists(bench: Bench) -> Lists:
    split = bench.split
    users = np.unique(split.test.user)
    if len(users) > SAMPLE:
        users = np.sort(np.random.default_rng(0).choice(users, SAMPLE, replace=False))
    count_I = np.diff(split.train.by_item.indptr).astype(np.float32)
    k = min(bench.k, len(count_I) - 1)
    scorer = bench.scorer
    if split.given is not None:
        assert isinstance(scorer, Scorer)
        scorer = OpenScorer(scorer, split.given.counts_by_user)
    known = [part.by_user for part in (split.train, split.valid, split.given) if part is not None]
    seen = sum(known[1:], start=known[0])
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    with bench.bar("lists") as watch:
        for first in range(0, len(users), scorer.users_at_once):
            block = users[first : first + scorer.users_at_once]
            hidden = seen[block]
            score_VI = scorer.score_all(block)
            popular_VI = np.broadcast_to(count_I, score_VI.shape)
            ours, theirs = (top_k(score, k, hidden.indptr, hidden.indices)[0] for score in (score_VI, popular_VI))
            parts.append((ours, theirs))
            watch(first + len(block), len(users))
    ours, theirs = (np.concatenate(part) for part in zip(*parts, strict=True))
    is_full = (ours >= 0).all(axis=1)
    return Lists(users[is_full], ours[is_full], theirs[is_full])


def _against_popularity(bench: Bench) -> str | None:
    rival = bench.rival()
    before, after = bench.all_rows(bench.codes[0]), rival.all_rows(bench.codes[0])
    return f"{bench.name}: {before.to(after, 'of popularity')}" if before and after else None
