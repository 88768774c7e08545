"""What a split does to time: rows of the future in training.

Shapes: N test rows, U users, I items, T held-out rows that are ranked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attlas.auditing.finding import Finding, Severity, graded, percent
from attlas.auditing.measuring import Bench
from attlas.data.split import Split
from attlas.evaluation.metrics import AT_K, Ranks
from attlas.evaluation.naming import counted

BY_OWN_TIME = ("leave-last-out", "user-time", "held-out-users-time")  # their rows follow a user's own time
MOST = 2_000  # test rows that the popularity of their moment is worked out for


def of_order(bench: Bench) -> Iterator[Finding]:
    """Rows of a user later than her test row, and rows of anybody."""
    split = bench.split
    if split.train.time is None or split.test.time is None or np.ptp(split.train.time) == 0:
        return
    if split.code == "global-time":
        yield from _later_than_all(split)
        return
    yield from _own_future(split)
    yield from _others_future(bench)


def _later_than_all(split: Split) -> Iterator[Finding]:
    begins = split.test.time.min()  # type: ignore[union-attr]
    known = [part for part in (split.train, split.valid, split.given) if part is not None and part.time is not None]
    late = sum(int((part.time > begins).sum()) for part in known)
    if late:
        rows = sum(map(len, known))
        yield Finding(
            "global-future",
            "error",
            "split",
            f"{counted(late, 'row')} of training and validation ({percent(late / rows)}) are later than the first test row, "
            "though the split says global-time",
            late / rows,
            "the model knows what it is asked to foretell; the metric is of another, easier question",
            "cut all parts at one moment: attlas.split(data, 'global-time')",
        )


def _own_future(split: Split) -> Iterator[Finding]:
    earlier = [part for part in (split.train, split.valid, split.given) if part is not None and part.time is not None]
    latest_U = np.full(len(split.train.users), np.iinfo(np.int64).min)
    for part in earlier:
        assert part.time is not None
        np.maximum.at(latest_U, part.user, part.time)
    is_late_N = latest_U[split.test.user] > split.test.time
    count, share = int(is_late_N.sum()), float(is_late_N.mean())
    if not count:
        return
    promises = split.code in BY_OWN_TIME
    # A given split whose test rows are nearly all the last ones means to be by time, and fails for the rest.
    means_to = split.code.startswith("given") and share < 0.5
    severity: Severity = "error" if promises else graded(share, warning=0.01) if means_to else "info"
    yield Finding(
        "own-future",
        severity,
        "split",
        f"{counted(count, 'test row')} ({percent(share)}) are earlier than another row of the same user in training or "
        f"validation{f', though the split says {split.code}' if promises else ''}",
        share,
        "what a user chose afterwards tells what she chose before: the metric is that of filling gaps, not of foretelling",
        "split by time: leave-last-out or global-time"
        if not promises
        else f"make the split anew: attlas.split(data, '{split.code}')",
    )


def _others_future(bench: Bench) -> Iterator[Finding]:
    split = bench.split
    assert split.train.time is not None
    assert split.test.time is not None
    later_N = 1.0 - np.searchsorted(np.sort(split.train.time), split.test.time, side="right") / len(split.train)
    if (share := float(later_N.mean())) < 0.01:
        return
    effect = None
    if split.given is None and not bench.is_rating:
        now, then = _popularity_of_the_moment(split, bench.k)
        effect = (
            f"popularity: ndcg@{bench.k} {now:.4f} -> {then:.4f} if it counts only what came before each test row "
            f"(full, row by row{f', {MOST:,} rows' if len(split.test) > MOST else ''})"
        )
    yield Finding(
        "future-of-others",
        "info",
        "split",
        f"of the training rows, {percent(share)} are later than the test row that is asked about, in the mean over test rows",
        share,
        effect,
        "say that the split is not by time; global-time asks what the model would have been worth",
    )


def _popularity_of_the_moment(split: Split, k: int) -> tuple[float, float]:
    """NDCG of counting all training rows, and of counting at each test row those before it."""
    train, test = split.train, split.test
    assert train.time is not None
    assert test.time is not None
    rows = np.arange(len(test))
    if len(test) > MOST:
        rows = np.random.default_rng(0).choice(rows, MOST, replace=False)
    rows = rows[np.argsort(test.time[rows], kind="stable")]
    in_time = np.argsort(train.time, kind="stable")
    before_R = np.searchsorted(train.time[in_time], test.time[rows], side="left")
    whole_I = np.diff(train.by_item.indptr).astype(np.int64)
    count_I, done = np.zeros(len(train.items), np.int64), 0
    seen = [part.by_user for part in (train, split.valid) if part is not None]
    ranks: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for row, before in zip(rows, before_R, strict=True):
        np.add.at(count_I, train.item[in_time[done:before]], 1)
        done = before
        user, item = int(test.user[row]), int(test.item[row])
        hidden = np.unique(np.concatenate([known.indices[known.indptr[user] : known.indptr[user + 1]] for known in seen]))
        for found, score_I in zip(ranks, (whole_I, count_I), strict=True):
            found.append(_place(score_I, item, hidden[hidden != item]))
    return _ndcg(ranks[0], k), _ndcg(ranks[1], k)


def _place(score_I: np.ndarray, item: int, hidden: np.ndarray) -> tuple[int, int]:
    """How many shown items are ahead of one, and how many tie with it, itself included."""
    own = score_I[item]
    ahead = int((score_I > own).sum() - (score_I[hidden] > own).sum())
    return ahead, int((score_I == own).sum() - (score_I[hidden] == own).sum())


def _ndcg(places: list[tuple[int, int]], k: int) -> float:
    ahead_T, tied_T = np.array(places, np.int64).T
    count = len(places)
    ranks = Ranks(np.arange(count), ahead_T, tied_T, np.full(count, np.iinfo(np.int32).max))
    return float(AT_K["ndcg"](ranks, k).mean())
