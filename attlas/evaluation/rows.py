"""RowReport: errors over single rows, and what each user's rows add to them.

Rows of one user are alike, so that a user's rows stay together wherever chance is asked for: in the intervals of a report and
in the tests of ``compare_row_pairs``.

Shapes: N rows, V users, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from attlas.errors import ConfigError, nearest
from attlas.evaluation.codes import Code, refuse_mixed
from attlas.evaluation.metrics import BY_ROW

RESAMPLES = 2000
CELLS_AT_ONCE = 1 << 20


class Parts(NamedTuple):
    """What each row adds to a metric, float64[N]: the metric is made of the sum of ``value`` over that of ``weight``."""

    value: np.ndarray
    weight: np.ndarray


def _squares(truth_N: np.ndarray, score_N: np.ndarray) -> Parts:
    return _plain(np.square(score_N - truth_N))


def _target_squares(label_N: np.ndarray, score_N: np.ndarray) -> Parts:
    return _squares(2 * label_N - 1, score_N.clip(-1, 1))


def _distances(truth_N: np.ndarray, score_N: np.ndarray) -> Parts:
    return _plain(np.abs(score_N - truth_N))


def _surprises(label_N: np.ndarray, logit_N: np.ndarray) -> Parts:
    return _plain(np.logaddexp(0.0, logit_N) - label_N * logit_N)


def _plain(value_N: np.ndarray) -> Parts:
    return Parts(value_N, np.ones_like(value_N))


def _placements(label_N: np.ndarray, score_N: np.ndarray) -> Parts:
    """The share of rows of the other label that a row is rightly above or below, ties half; each label weighs as much."""
    is_one_N = label_N > 0
    ones, zeros = int(is_one_N.sum()), int((~is_one_N).sum())
    rank_N, own_N = rankdata(score_N), np.empty(len(score_N))
    for mask in (is_one_N, ~is_one_N):
        own_N[mask] = rankdata(score_N[mask])
    below_N = rank_N - own_N  # rows of the other label
    weight_N = len(label_N) / np.where(is_one_N, ones, zeros)
    return Parts(weight_N * np.where(is_one_N, below_N / max(zeros, 1), 1 - below_N / max(ones, 1)), weight_N)


PARTS: dict[str, dict[str, Callable[[np.ndarray, np.ndarray], Parts]]] = {
    "rating": {"rmse": _squares, "mae": _distances},
    "label": {"logloss": _surprises, "auc": _placements},
    "target": {"rmse": _target_squares, "auc": _placements},
}
ROOTS = ("rmse",)  # metrics that are the root of their mean
OF_PAIRS = ("auc",)  # means over pairs of rows: either row of a pair is chance, see resampled


@dataclass(frozen=True, eq=False)
class RowReport:
    """Errors over single rows, for models of ratings or labels.

    Attributes:
        task: ``rating``, ``label`` or ``target``.
        num_rows: how many rows were scored.
        split, part: where the rows come from.
        values: ``rmse`` and ``mae`` in units of the rating; or ``logloss`` in nats and ``auc``; or ``rmse`` and ``auc``.
        rows: by what they are known again; see Code.
        users: int64[V], whose rows they are, rising; () where nobody asked.
        total, weight: float64[V] for each metric, what the rows of each user add to its two sums; see Parts.
        share: of all rows that are held against one another; below 1 for the rows of some users.
    """

    task: str
    num_rows: int
    values: dict[str, float]
    split: str = ""
    part: str = "test"
    rows: str = ""
    users: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    total: dict[str, np.ndarray] = field(default_factory=dict)
    weight: dict[str, np.ndarray] = field(default_factory=dict)
    share: float = 1.0
    _resampled: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, task: str, truth: np.ndarray, score: np.ndarray, user: np.ndarray | None = None) -> RowReport:
        """What was predicted against what is true.

        Args:
            truth, score: float[N].
            user: int64[N], whose rows they are; with it come the sums of each user.
        """
        values = {name: metric(truth, score) for name, metric in BY_ROW[task].items()}
        found = cls(task, len(truth), values)
        if user is None:
            return found
        users, owner_N = np.unique(user, return_inverse=True)
        wide = np.asarray(truth, np.float64), np.asarray(score, np.float64)
        parts = {name: PARTS[task][name](*wide) for name, value in values.items() if not np.isnan(value)}
        total = {name: np.bincount(owner_N, weights=part.value) for name, part in parts.items()}
        return replace(
            found,
            users=users,
            total=total,
            weight={name: np.bincount(owner_N, weights=part.weight) for name, part in parts.items()},
        )

    @property
    def protocol(self) -> str:
        """The task, by which these numbers are known among those of other protocols."""
        return self.task

    @property
    def code(self) -> Code:
        """What numbers must share in order to be compared."""
        return Code(self.task, self.split, self.part, self.rows)

    @property
    def per_user(self) -> dict[str, np.ndarray]:
        """What each user's rows add to a metric's sum, float64[V]; the mean of it is not the metric."""
        return self.total

    def mean(self, metric: str) -> float:
        """One of the values by its name.

        Raises:
            ConfigError: there is none of that name.
        """
        if metric not in self.values:
            raise ConfigError(f"this report has no metric {metric!r}; {nearest(metric, self.values)}")
        return self.values[metric]

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Where the value would lie with other users like these: a percentile bootstrap over users, equal in every run."""
        if len(self.users) < 2 or np.isnan(self.mean(name)):
            return self.mean(name), self.mean(name)
        ends = np.quantile(self.resampled(name), ((1 - level) / 2, (1 + level) / 2))
        low, high = ends.clip(0, 1) if name in OF_PAIRS else ends
        return float(low), float(high)

    def resampled(self, name: str) -> np.ndarray:
        """The value for users drawn anew from these, with replacement, float64[R]; equal draws for reports of equal users.

        In a mean over pairs of rows a user also stands on the other side of as many pairs as are held against these users:
        chance moves it twice as far as the sums show where all users are here, 1 + share times where some are, as if
        their labels were those of all.

        Source: DeLong et al. (1988), for the whole.
        """
        if name not in self._resampled:
            total_V, weight_V = self.total[name], self.weight[name]
            found_R = np.concatenate([(drawn @ total_V) / (drawn @ weight_V) for drawn in _draws(len(self.users))])
            centre = total_V.sum() / weight_V.sum()
            moved_R = centre + (1 + self.share if name in OF_PAIRS else 1) * (found_R - centre)
            self._resampled[name] = _rooted(moved_R, name) - _rooted(centre, name) + self.mean(name)
        return self._resampled[name]

    def averaged(self, reports: Sequence[Any]) -> RowReport:
        """This report with values and sums averaged over several reports of the same rows, for instance of several seeds.

        Raises:
            ConfigError: they do not compare, or are of other users.
        """
        refuse_mixed_rows({f"report {place}": report for place, report in enumerate(reports, start=1)})
        return replace(
            self,
            values={name: float(np.mean([report.values[name] for report in reports])) for name in self.values},
            total={name: np.mean([report.total[name] for report in reports], axis=0) for name in self.total},
        )

    def of_users(self, is_in_V: np.ndarray) -> RowReport:
        """The metrics over the rows of some of the users; of an AUC the rows of all others stay what they are held against."""
        total, weight = ({name: of_V[is_in_V] for name, of_V in sums.items()} for sums in (self.total, self.weight))
        values = dict.fromkeys(self.values, float("nan"))
        for name, weight_V in weight.items():
            if weight_V.sum():
                values[name] = float(_rooted(total[name].sum() / weight_V.sum(), name))
        num_rows = next(int(weight_V.sum()) for name, weight_V in weight.items() if name not in OF_PAIRS)  # each weighs 1
        facts: dict[str, Any] = {"num_rows": num_rows, "share": self.share * num_rows / self.num_rows}
        return replace(self, users=self.users[is_in_V], values=values, total=total, weight=weight, **facts)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single users, ready for JSON; an AUC that is not defined is None."""
        values = {name: None if np.isnan(value) else value for name, value in self.values.items()}
        facts = {"protocol": self.task, "split": self.split, "part": self.part, "rows": self.rows, "num_rows": self.num_rows}
        intervals = {name: list(self.interval(name)) if name in self.total else None for name in values}
        return {**facts, "means": values, "intervals": intervals}

    def sentences(self) -> list[str]:
        """What a person should hear beside the numbers."""
        return [f"{self.num_rows:,} {self.task}{'' if self.num_rows == 1 else 's'} predicted"]

    def measured(self) -> str:
        """Of how much these numbers are."""
        return f"{self.num_rows:,} rows of {len(self.users):,} users"


def refuse_mixed_rows(reports: Mapping[str, RowReport]) -> None:
    """Refuse reports that do not compare: of other codes, or of other users' rows, where nothing else is known of them.

    Raises:
        ConfigError: the message says which two.
    """
    refuse_mixed({name: report.code for name, report in reports.items()})
    for (name, one), (other_name, other) in pairwise(reports.items()):
        if one.num_rows != other.num_rows or not np.array_equal(one.users, other.users):
            raise ConfigError(
                f"{name} is of {one.measured()} and {other_name} of {other.measured()}, which are not the same; measure both "
                "on the same rows"
            )


def _rooted(mean: Any, name: str) -> Any:
    return np.sqrt(np.maximum(mean, 0.0)) if name in ROOTS else mean


def _draws(count: int) -> Iterator[np.ndarray]:
    """How often each user is drawn, int64[R', V] in blocks of R' of the R resamples."""
    rng, left = np.random.default_rng(0), RESAMPLES
    while left:
        block = min(left, max(1, CELLS_AT_ONCE // count))
        yield rng.multinomial(count, np.full(count, 1 / count), size=block)
        left -= block
