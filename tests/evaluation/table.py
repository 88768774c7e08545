"""A scorer whose scores are written down, and splits small enough to count by head."""

from __future__ import annotations

import numpy as np

from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.data.vocabulary import Vocabulary


class TableScorer:
    """Scores pairs by looking them up, and remembers how many it was asked for at once."""

    def __init__(self, train: Interactions, score_UI: object, users_at_once: int = 2):
        self.train = train
        self.users_at_once = users_at_once
        self.table = np.asarray(score_UI, dtype=np.float32)
        self.most_users_at_once = 0
        self.most_pairs_at_once = 0

    def score(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        self.most_pairs_at_once = max(self.most_pairs_at_once, len(user))
        return self.table[user, item]

    def score_all(self, user: np.ndarray) -> np.ndarray:
        self.most_users_at_once = max(self.most_users_at_once, len(user))
        return self.table[user]


def interactions(pairs: list[tuple[int, int]], num_users: int, num_items: int) -> Interactions:
    """Rows of indices; users and items are called by their numbers."""
    user, item = np.array(pairs, np.int64).reshape(-1, 2).T
    return Interactions(Vocabulary(range(num_users), noun="user"), Vocabulary(range(num_items), noun="item"), user, item)


def split_of(
    train: list[tuple[int, int]],
    test: list[tuple[int, int]],
    valid: list[tuple[int, int]] | None = None,
    candidates: list[list[int]] | None = None,
    given: list[tuple[int, int]] | None = None,
    *,
    num_users: int = 3,
    num_items: int = 5,
) -> Split:
    parts = [None if pairs is None else interactions(pairs, num_users, num_items) for pairs in (train, valid, test, given)]
    listed = None if candidates is None else np.array(candidates)
    return Split(parts[0], parts[1], parts[2], "by-hand", listed, given=parts[3])
