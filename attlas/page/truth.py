"""What only a simulation can tell: how well the truth itself would rank, and what recommended lists are truly made of.

Shapes: U users, I items, V users that were ranked, k list length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from attlas.data.film_club import Truth
from attlas.data.interactions import Interactions
from attlas.data.simulate import Club
from attlas.data.split import Split
from attlas.evaluation.protocols import Scorer
from attlas.evaluation.report import Mean, Report
from attlas.ops.topk import top_k

TRUTH, CHOSEN, ANY = "The truth", "Chosen next", "Any unseen film"


class Table:
    """Scores that are written down, as a scorer.

    Args:
        train: what the scores were learnt from.
        score_UI: one row per user, one column per item.
    """

    def __init__(self, train: Interactions, score_UI: np.ndarray):
        self.train, self.score_UI = train, score_UI
        self.users_at_once = max(1, len(score_UI))

    @classmethod
    def of(cls, scorer: Scorer) -> Table:
        """Everything that a scorer would say."""
        users = np.arange(len(scorer.train.users))
        blocks = np.array_split(users, -(-len(users) // scorer.users_at_once))
        return cls(scorer.train, np.concatenate([scorer.score_all(block) for block in blocks]))

    def score(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """The score of each pair."""
        return self.score_UI[user, item]

    def score_all(self, user: np.ndarray) -> np.ndarray:
        """The scores of every item for each user."""
        return self.score_UI[user]


class KnownTruth:
    """The truth behind a club, by the indices of a data set that was written and read again.

    Attributes:
        preference_UI: how much each user would like each item once seen; below 0 is dislike.
        exposure_UI: the probability that the item comes to the user's notice.
        choice_UI: the probability that it does and is taken.
    """

    def __init__(self, club: Club, train: Interactions):
        user = club.interactions.users.index_of(train.users.ids)
        item = club.interactions.items.index_of(train.items.ids)
        self.preference_UI = _table(club.truth, "preference", user, item)
        self.exposure_UI = _table(club.truth, "exposure", user, item)
        self.choice_UI = self.exposure_UI * _table(club.truth, "choice", user, item)

    def of_lists(self, scorers: Mapping[str, Table], split: Split, report: Report) -> dict[str, tuple[Mean, Mean]]:
        """Mean exposure and preference of each scorer's first k films, of the films chosen next, and of any unseen film.

        Args:
            scorers: by name.
            split: whose test part says what was chosen next.
            report: whose users and k are meant.
        """
        users, k = report.users, report.k[0]
        seen_UI = split.train.by_user.toarray() > 0
        if split.valid is not None:
            seen_UI |= split.valid.by_user.toarray() > 0
        seen_VI = seen_UI[users]
        found = {}
        for name, scorer in scorers.items():
            score_VI = np.where(seen_VI, -np.inf, scorer.score_all(users)).astype(np.float32)
            index_Vk, best_Vk = top_k(score_VI, min(k, score_VI.shape[1]))
            listed_VI = np.zeros_like(seen_VI)
            np.put_along_axis(listed_VI, index_Vk, np.isfinite(best_Vk), axis=1)
            found[name] = self._within(listed_VI, report)
        chosen_VI = (split.test.by_user.toarray() > 0)[users] & ~seen_VI
        return found | {CHOSEN: self._within(chosen_VI, report), ANY: self._within(~seen_VI, report)}

    def _within(self, is_in_VI: np.ndarray, report: Report) -> tuple[Mean, Mean]:
        count_V = np.maximum(is_in_VI.sum(axis=1), 1)
        tables = {"exposure": self.exposure_UI, "preference": self.preference_UI}
        values = {name: (table[report.users] * is_in_VI).sum(axis=1) / count_V for name, table in tables.items()}
        part = replace(report, per_user=values)
        exposure, preference = (Mean(part.mean(name), *part.interval(name)) for name in tables)
        return exposure, preference


def _table(truth: Truth, name: str, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    rows = [getattr(truth, name)(np.full(len(item), one), item) for one in user]
    return np.array(rows, np.float32).reshape(len(user), len(item))
