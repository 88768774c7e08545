"""What a page tells of each model: its numbers and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.codes import refuse_mixed
from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import Mean, Report
from attlas.training.journal import Epoch

MEANINGS = {
    "hr": "the share of users with at least one held-out item among the first {cut}",
    "ndcg": "how high the held-out items stand among the first {cut}: 1 is all of them on top",
    "recall": "the share of a user's held-out items that are among the first {cut}",
    "precision": "the share of the first {cut} places that hold a held-out item",
    "map": "the mean precision at the places of held-out items among the first {cut}",
    "auc": "the share of pairs of a positive and another in the right order: 0.5 is chance",
    "logloss": "the mean surprise at the label in nats, the lower the better",
    "rmse": "the root of the mean squared error, the lower the better",
    "mae": "the mean absolute error, the lower the better",
    "mrr": "one over the place of the first held-out item, 0 below place {cut}",
    "novelty": "the mean surprise of the first {cut} items in bits, minus the log2 of the share of users who chose them",
    "popularity": "how many users chose the first {cut} items before, on average",
    "diversity": "how little the users of the first {cut} items overlap: one minus the mean cosine of two of them",
    "coverage": "the share of all items that are among somebody's first {cut}",
    "gini": "how uneven it is which items are among the first {cut}: 0 is even, 1 is one item for all",
}


@dataclass(frozen=True)
class Entry:
    """One line of the standings.

    Attributes:
        name: what people call it.
        report: what evaluation found.
        seconds: how long fitting took; None for what was not fitted.
        valid: the metric on the validation part by which settings were chosen, or None.
        curve: its epochs, if it learned in epochs.
        is_reference: a yardstick that does not compete.
    """

    name: str
    report: Report
    seconds: float | None = None
    valid: float | None = None
    curve: tuple[Epoch, ...] = ()
    is_reference: bool = False

    def mean(self, metric: str) -> Mean:
        """The metric with its interval."""
        return Mean(self.report.mean(metric), *self.report.interval(metric))


def difference(one: Entry, other: Entry, metric: str) -> Mean:
    """How much one is above the other, user by user, so that what makes a user easy or hard cancels.

    Both must have ranked the same users.
    """
    apart = one.report.per_user[metric] - other.report.per_user[metric]
    report = replace(one.report, per_user={"difference": apart})
    return Mean(report.mean("difference"), *report.interval("difference"))


def verdict(entries: Sequence[Entry], metric: str) -> str:
    """Who is ahead, by how much, and whether other users could turn it round: one sentence from the numbers alone.

    Raises:
        ConfigError: the entries do not compare.
    """
    refuse_mixed({entry.name: entry.report.code for entry in entries})
    best, *rest = sorted((entry for entry in entries if not entry.is_reference), key=lambda entry: -entry.mean(metric).value)
    value, low, high = best.mean(metric)
    said = f"{best.name} ranks best with {metric_name(metric)} {value:.3f} (95 % interval {low:.3f} to {high:.3f})"
    if not rest:
        return f"{said}."
    apart = difference(best, rest[0], metric)
    above = f"{apart.value:.3f} above" if apart.value >= 0.0005 else "level with"
    certain = "more than other users like these would turn round" if apart.low > 0 else "too little to tell the two apart"
    said = f"{said}, {above} {rest[0].name} ({apart.low:.3f} to {apart.high:.3f}), {certain}."
    return said if len(rest) == 1 else f"{said} Last is {rest[-1].name} with {rest[-1].mean(metric).value:.3f}."


def as_rows(breakdown: Breakdown, column: str, counted: str, digits: int = 3) -> list[dict[str, Any]]:
    """One row per group, for a table."""
    return [
        {column: group, counted: f"{count:,}"} | {name: show(means[place], digits) for name, means in breakdown.means.items()}
        for place, (group, count) in enumerate(zip(breakdown.groups, breakdown.counts, strict=True))
    ]


def show(mean: Mean, digits: int = 3) -> str:
    """A mean and its interval as text."""
    return f"{mean.value:.{digits}f} ({mean.low:.{digits}f} to {mean.high:.{digits}f})"


def meanings(metrics: Sequence[str]) -> str:
    """What each metric is, in one sentence each; those without a cut-off are left out."""
    cuts = {metric: metric.partition("@") for metric in metrics}
    known = {metric: MEANINGS[name].format(cut=cut) for metric, (name, _, cut) in cuts.items() if name in MEANINGS}
    return " ".join(f"{metric_name(metric)} is {meaning}." for metric, meaning in known.items())
