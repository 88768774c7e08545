"""The metric with and without something: what stands in a finding's effect.

Shapes: B pairs, U users, I items, N test rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from attlas.data.inputs import Inputs, Sizes
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.errors import DataError
from attlas.evaluation.evaluate import evaluate, evaluate_rows
from attlas.evaluation.protocols import Scorer, Watch, find_protocol
from attlas.evaluation.report import Report
from attlas.models.popularity import Popularity
from attlas.models.protocol import task_of
from attlas.scoring import Scorer as ModelScorer
from attlas.telling import Teller

METRICS = ("hr", "ndcg")  # what effects tell, at the first cut-off
CELLS = 30_000_000  # scores that one figure may cost; beyond, it is that of users drawn at random


class Figures(NamedTuple):
    """What was measured under one protocol: a few metrics by name, and of how many users if not of all."""

    code: str
    values: dict[str, float]
    users: int | None = None

    @property
    def whose(self) -> str:
        """``full``, or ``full, 500 users``."""
        return f"{self.code}, {self.users:,} users" if self.users else self.code

    def spoken(self) -> str:
        """``hr@10 0.7440, ndcg@10 0.4290``; with how many users they are of, if not of all."""
        said = ", ".join(f"{name} {value:.4f}" for name, value in self.values.items())
        return f"{said} ({self.users:,} users)" if self.users else said

    def to(self, other: Figures | None, how: str) -> str | None:
        """``hr@10 0.744 -> 0.331, ndcg@10 0.429 -> 0.236 without them (ncf)``."""
        if other is None:
            return None
        spoken = ", ".join(f"{name} {value:.4f} -> {other.values[name]:.4f}" for name, value in self.values.items())
        return f"{spoken} {how} ({self.whose})"


@dataclass(frozen=True, eq=False)
class Bench:
    """Measures one scorer on one split, again and again, with this or that left out.

    Attributes:
        scorer: whose numbers are at stake.
        split: what it was trained and tested on.
        codes: the protocols of the numbers, the leading one first.
        k: the cut-off.
        name: what the scorer is called.
        tell: shows bars.
        kept: what was measured already, by its name.
    """

    scorer: Scorer
    split: Split
    codes: tuple[str, ...]
    k: int = 10
    name: str = "popularity"
    tell: Teller = field(default_factory=Teller)
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_rating(self) -> bool:
        """Whether ratings are at stake: their error is measured, and no rank."""
        return self.codes == ("rating",)

    def rival(self) -> Bench:
        """The same bench for popularity, made once."""
        if "rival" not in self.kept:
            self.kept["rival"] = Bench(popular(self.split.train), self.split, self.codes, self.k, tell=self.tell)
        found: Bench = self.kept["rival"]
        return found

    def all_rows(self, code: str) -> Figures | None:
        """The figures as they are reported."""
        if code == "rating":
            return self.figures(code)
        report = self.report(code)
        return None if report is None else self._figures_of(report, self.split)

    def chance(self, code: str, name: str, told: float) -> float:
        """How far the figure of drawn users may lie from the one told of all: four standard errors; 0 where all are measured.

        Few hits show too little spread, none shows none: it is at least what a metric in 0..1 of that mean can have.
        """
        known = self.all_rows(code)
        if known is None or known.users is None:
            return 0.0
        value_V = self.kept[f"report {code}"].per_user[name]
        spread = max(float(value_V.std(ddof=1)), max(0.0, told * (1 - told)) ** 0.5)
        return 4 * spread / len(value_V) ** 0.5

    def figures(self, code: str, *, kept: np.ndarray | None = None, without: np.ndarray | None = None) -> Figures | None:
        """The figures of some of the test rows, or with items put behind all others.

        Args:
            code: of a protocol, or ``rating``.
            kept: bool[N], the test rows to measure; None measures all.
            without: bool[I], the items to put last.

        Returns:
            None where no row is left, or where it cannot be told: strangers are always ranked against all items, and a
            scorer that ranks has no error of ratings.
        """
        split = self.split if kept is None else _of_rows(self.split, kept)
        if not len(split.test) or (without is not None and split.given is not None):
            return None
        if code == "rating":
            assert isinstance(self.scorer, ModelScorer)
            if task_of(self.scorer.model) != "rating":
                return None
            return Figures(code, {"rmse": evaluate_rows(self.scorer, split.test, "rating").mean("rmse")})
        scorer: Scorer = self.scorer if without is None else Without(self.scorer, without)
        try:
            report = self._evaluated(scorer, split, code)
        except DataError:  # every row is masked: nothing is left to rank
            return None
        return self._figures_of(report, split)

    def _figures_of(self, report: Report, split: Split) -> Figures:
        is_whole = len(np.unique(split.test.user)) <= most_users(split, report.protocol)
        return Figures(
            report.protocol, {name: report.mean(name) for name in self._names}, None if is_whole else len(report.users)
        )

    def report(self, code: str) -> Report | None:
        """The report of all rows, or where they cost too much of some users; None where nothing is left to rank. Made once."""
        name = f"report {code}"
        if name not in self.kept:
            try:
                self.kept[name] = self._evaluated(self.scorer, self.split, code)
            except DataError:
                self.kept[name] = None
        found: Report | None = self.kept[name]
        return found

    def _evaluated(self, scorer: Scorer, split: Split, code: str) -> Report:
        with self.bar(code) as watch:
            return evaluate(scorer, affordable(split, code), code, k=self.k, metrics=METRICS, watch=watch)

    @contextmanager
    def bar(self, what: str) -> Iterator[Watch]:
        """A bar for one pass over users, moved by what evaluation takes as ``watch``."""
        with self.tell.bar(f"audit {self.name} {what}", total=1) as bar:
            yield lambda done, total: bar.update(done, total=total)

    def trust(self, reports: Iterable[Any]) -> None:
        """Take these reports as what ``report`` would measure, where they hold what is told and are of all that it measures."""
        for report in reports:
            if not isinstance(report, Report) or report.part != "test" or not set(self._names) <= set(report.per_user):
                continue
            if affordable(self.split, report.protocol) is self.split:
                self.kept[f"report {report.protocol}"] = report

    @property
    def _names(self) -> list[str]:
        return [f"{name}@{self.k}" for name in METRICS]

    def change(self, how: str, *, kept: np.ndarray | None = None, without: np.ndarray | None = None) -> str | None:
        """The figures as they are and with something left out, one protocol after the other; None if none can be told."""
        said = [self.told(code, how, kept=kept, without=without) for code in self.codes]
        return "; ".join(sentence for sentence in said if sentence) or None

    def told(self, code: str, how: str, *, kept: np.ndarray | None = None, without: np.ndarray | None = None) -> str | None:
        """The change of one protocol's figures."""
        before = self.all_rows(code)
        after = self.figures(code, kept=kept, without=without) if before else None
        sentence = before.to(after, how) if before else None
        return f"{self.name}: {sentence}" if sentence else None


class Without:
    """A scorer that puts some items behind all others."""

    def __init__(self, scorer: Scorer, is_out_I: np.ndarray):
        self.scorer, self.is_out_I = scorer, is_out_I

    @property
    def train(self) -> Interactions:
        """What the model has learned from."""
        return self.scorer.train

    @property
    def users_at_once(self) -> int:
        """How many users' rows fit the memory that was given."""
        return self.scorer.users_at_once

    def score(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """One score per pair, float32[B]; minus infinity where the item is out."""
        return np.where(self.is_out_I[item], np.float32(-np.inf), self.scorer.score(user, item))

    def score_all(self, user: np.ndarray) -> np.ndarray:
        """The scores of every item for each of the users, float32[B, I]; minus infinity where the item is out."""
        return np.where(self.is_out_I, np.float32(-np.inf), self.scorer.score_all(user))


def popular(train: Interactions) -> ModelScorer:
    """The scorer that every split can be measured with at no cost: an item's count."""
    model = Popularity(Sizes(len(train.users), len(train.items)))
    inputs = Inputs(train)
    model.count_I.copy_(inputs.item_lists.length)
    return ModelScorer(model.eval(), inputs)


def usual_codes(split: Split, codes: Sequence[str] = ()) -> tuple[str, ...]:
    """The protocols asked for; none means full, with ncf beside it where candidates are given."""
    return tuple(codes) or (("full",) if split.candidates is None else ("full", "ncf"))


def most_users(split: Split, code: str) -> int:
    """How many users a figure may be of."""
    against = find_protocol(code).against
    width = len(split.train.items) if against == "catalogue" or split.candidates is None else split.candidates.shape[1]
    return max(100, CELLS // width)


def affordable(split: Split, code: str) -> Split:
    """The split, or where ranking all its users would cost too much, with the test rows of some users drawn at random.

    Every user has one turn, whoever else is there: with rows left out the same users are drawn, as far as they are left, so
    that figures with and without compare.
    """
    users, most = np.unique(split.test.user), most_users(split, code)
    if len(users) <= most:
        return split
    turn_U = np.random.default_rng(0).permutation(len(split.test.users))
    drawn = users[np.argsort(turn_U[users])[:most]]
    return _of_rows(split, np.isin(split.test.user, drawn))


def _of_rows(split: Split, kept: np.ndarray) -> Split:
    candidates = None if split.candidates is None else split.candidates[kept]
    return replace(split, test=split.test.take(kept), candidates=candidates)
