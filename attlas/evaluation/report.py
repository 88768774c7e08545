"""Report: what an evaluation found, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import bootstrap

from attlas.errors import ConfigError, nearest
from attlas.evaluation.codes import Code, refuse_mixed
from attlas.evaluation.naming import counted, is_of_lists
from attlas.evaluation.rows import RowReport as RowReport

RESAMPLES = 1000
CELLS_AT_ONCE = 1 << 20
CORRECTED = " corrected"


class Mean(NamedTuple):
    """A mean over users and its 95 % interval."""

    value: float
    low: float
    high: float


class Overall(NamedTuple):
    """A figure of all users' lists together and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Report:
    """The metrics of one scorer under one protocol.

    Attributes:
        protocol, split, part: what was ranked against what: codes of the protocol and the split, ``valid`` or ``test``.
        k: the cut-offs.
        users: int64[V], the users that were ranked, rising.
        per_user: float64[V] for each metric, for instance ``ndcg@10``, a fraction; ``auc`` may be nan for a user whose
            candidates are all relevant. Beside them what each user's list is like: ``novelty@10`` in bits, ``popularity@10`` in
            users, ``diversity@10``; and of a sampled protocol ``ndcg@10 corrected``, an estimate of the full one.
        num_users_without_test: users with no held-out item to rank.
        num_masked: held-out pairs left out because the user had seen the item before.
        tie_share: the share of held-out items whose score equals that of another candidate.
        num_candidates: the fewest and the most items in a ranking.
        ways: how many users were scored in which way, where users were held out whole; empty elsewhere.
        overall: what all lists together are like: ``coverage@10`` and ``gini@10``; empty where no lists were asked for.
        odd_candidates: how many given candidates are not what they should be, and what is wrong with them.
        rows: by what the ranked rows are known again; see Code.
    """

    protocol: str
    split: str
    part: str
    k: tuple[int, ...]
    users: np.ndarray
    per_user: dict[str, np.ndarray]
    num_users_without_test: int
    num_masked: int
    tie_share: float
    num_candidates: tuple[int, int]
    ways: dict[str, int] = field(default_factory=dict)
    overall: dict[str, Overall] = field(default_factory=dict)
    odd_candidates: dict[str, int] = field(default_factory=dict)
    rows: str = ""
    _intervals: dict[tuple[str, float], tuple[float, float]] = field(default_factory=dict, init=False, repr=False)

    def __str__(self) -> str:
        """What was measured how, and each metric's mean with its interval, one a line."""
        means = {name: (self.mean(name), *self.interval(name)) for name in self.per_user if self._defined(name).size}
        width = max(map(len, means))
        lines = {
            name: f"{name:<{width}} {value:.4f}  ({low:.4f} to {high:.4f})"
            for name, (value, low, high) in {**means, **self.overall}.items()
        }
        said = [*self.sentences()[:2], *(line for name, line in lines.items() if not is_of_lists(name))]
        lists = [line for name, line in lines.items() if is_of_lists(name)]
        return "\n".join([*said, *(["what the lists are like, not how good:", *lists] if lists else [])])

    @property
    def code(self) -> Code:
        """What numbers must share in order to be compared."""
        return Code(self.protocol, self.split, self.part, self.rows)

    def mean(self, name: str) -> float:
        """The mean of a metric over the users for whom it is defined."""
        return float(np.mean(self._defined(name)))

    def averaged(self, reports: Sequence[Report]) -> Report:
        """This report with each user's values averaged over several reports of the same users, for instance of several seeds.

        Figures over all lists are averaged too, ends of their intervals likewise: as wide as if seeds shared every chance.

        Raises:
            ConfigError: they do not compare, or are of other users.
        """
        refuse_mixed({f"report {place}": report.code for place, report in enumerate(reports, start=1)})
        if any(not np.array_equal(report.users, self.users) for report in reports):
            raise ConfigError("these reports rank different users; average those of one split and protocol")
        names = [name for name in self.per_user if all(name in report.per_user for report in reports)]
        figures = [name for name in self.overall if all(name in report.overall for report in reports)]
        return replace(
            self,
            per_user={name: np.mean([report.per_user[name] for report in reports], axis=0) for name in names},
            tie_share=float(np.mean([report.tie_share for report in reports])),
            overall={
                name: Overall(*np.mean([report.overall[name] for report in reports], axis=0).tolist()) for name in figures
            },
        )

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Where the mean would lie with other users like these: a percentile bootstrap over users, equal in every run."""
        if (name, level) not in self._intervals:
            self._intervals[name, level] = bootstrap_mean(self._defined(name), level)
        return self._intervals[name, level]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single users, ready for JSON; a metric that no user has is None."""
        means = {name: self.mean(name) for name in self.per_user if self._defined(name).size}
        return {
            "protocol": self.protocol,
            "split": self.split,
            "part": self.part,
            "rows": self.rows,
            "k": list(self.k),
            "ties": "averaged",
            "tie_share": self.tie_share,
            "num_users": len(self.users),
            "num_users_without_test": self.num_users_without_test,
            "num_masked": self.num_masked,
            "num_candidates": list(self.num_candidates),
            "odd_candidates": self.odd_candidates,
            "ways": self.ways,
            "level": 0.95,
            "means": {name: means.get(name) for name in self.per_user},
            "intervals": {name: list(self.interval(name)) if name in means else None for name in self.per_user},
            "overall": {name: found._asdict() for name, found in self.overall.items()},
        }

    def measured(self) -> str:
        """Of how much these numbers are."""
        fewest, most = self.num_candidates
        against = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        return f"{len(self.users):,} users, {against} items each"

    def sentences(self) -> list[str]:
        """What a person should hear beside the numbers."""
        fewest, most = self.num_candidates
        against = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        said = [
            f"protocol {self.protocol}, split {self.split}, part {self.part}",
            f"{counted(len(self.users), 'user')} ranked against {against} items each",
            f"{counted(self.num_users_without_test, 'user')} had no {self.part} item to rank",
            f"ties averaged ({100 * self.tie_share:.2f} % of held-out items tie)",
        ]
        said += [f"{counted(count, 'user')} scored as a stranger: {way}" for way, count in self.ways.items()]
        if self.num_masked:
            said.append(f"{counted(self.num_masked, 'held-out pair')} left out, seen before by the same user")
        said += [f"{counted(count, 'given candidate')} {what}" for what, count in self.odd_candidates.items()]
        if any(name.endswith(CORRECTED) for name in self.per_user):
            said.append("corrected: full ranking, estimated as if candidates were drawn evenly from what the user has not seen")
        return said

    def _defined(self, name: str) -> np.ndarray:
        if name not in self.per_user:
            raise ConfigError(f"this report has no metric {name!r}; {nearest(name, self.per_user)}")
        values = self.per_user[name]
        return values[~np.isnan(values)]


AnyReport = Report | RowReport


def side_by_side(reports: Mapping[str, Report | RowReport], *, force: bool = False) -> dict[str, dict[str, float]]:
    """One row of figures per name, for a table.

    A column is a metric under one code, so that numbers which do not compare never share one; a row has no entry in another
    code's columns.

    Args:
        force: let them share one all the same; its name says that they do not compare, and why.
    """
    codes = sorted({report.code for report in reports.values()})
    shared = f"do not compare: {' | '.join(map(str, codes))}" if force and len(codes) > 1 else None
    return {
        row: {f"{name} ({shared or report.code})": value for name, value in _figures(report).items()}
        for row, report in reports.items()
    }


def _figures(report: Report | RowReport) -> dict[str, float]:
    if isinstance(report, RowReport):
        return report.values
    return {name: report.mean(name) for name in report.per_user} | {name: of.value for name, of in report.overall.items()}


def bootstrap_mean(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The ends of the interval of a mean over users, by percentile bootstrap, equal in every run."""
    if len(values) < 2:
        only = float(np.mean(values))
        return only, only
    found = bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=RESAMPLES,
        batch=max(1, CELLS_AT_ONCE // len(values)),
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
