"""What a report tells of each model: its numbers, how sure they are, and for whom and for which items they hold.

Shapes: V users that were ranked, G groups.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attlas.data.split import Split
from attlas.evaluation.evaluate import evaluate
from attlas.evaluation.protocols import Scorer
from attlas.evaluation.report import Report

METRIC_NAMES = {
    "hr": "HR",
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "map": "MAP",
    "mrr": "MRR",
    "auc": "AUC",
}


class Mean(NamedTuple):
    """A mean over users and its 95 % interval."""

    value: float
    low: float
    high: float


class Epoch(NamedTuple):
    """One epoch of a fit; a value that was not measured is None."""

    number: int
    loss: float | None
    valid: float | None
    seconds: float


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


@dataclass(frozen=True)
class Breakdown:
    """One metric by groups.

    Attributes:
        groups: what each group is called, [G].
        counts: how many users or rows are in it, [G].
        means: for each entry's name a mean per group, [G].
    """

    groups: list[str]
    counts: list[int]
    means: dict[str, list[Mean]]


def metric_name(metric: str) -> str:
    """A metric as people write it: NDCG@10."""
    name, at, cut = metric.partition("@")
    return METRIC_NAMES.get(name, name) + at + cut


def read_curve(folder: Path, metric: str) -> tuple[Epoch, ...]:
    """The epochs noted in a run folder; empty if the model did not learn in epochs."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    fitted = [row for row in rows if row["stage"] == "fit"]
    if len(fitted) < 2:
        return ()
    return tuple(Epoch(row["epoch"], row["loss"], row.get(f"valid {metric}"), row["seconds"]) for row in fitted)


def difference(one: Entry, other: Entry, metric: str) -> Mean:
    """How much one is above the other, user by user, so that what makes a user easy or hard cancels.

    Both must have ranked the same users.
    """
    apart = one.report.per_user[metric] - other.report.per_user[metric]
    report = replace(one.report, per_user={"difference": apart})
    return Mean(report.mean("difference"), *report.interval("difference"))


def verdict(entries: Sequence[Entry], metric: str) -> str:
    """Who is ahead, by how much, and whether other users could turn it round: one sentence from the numbers alone."""
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


def by_activity(entries: Sequence[Entry], split: Split, metric: str) -> Breakdown:
    """The metric by how much each user has chosen before, in quarters of the users."""
    users = entries[0].report.users
    length_V = np.diff(split.train.by_user.indptr)[users]
    groups = _quarters(length_V)
    means = {entry.name: [_mean_of(entry.report, rows, metric) for rows in groups.values()] for entry in entries}
    return Breakdown(list(groups), [int(rows.sum()) for rows in groups.values()], means)


def by_popularity(scorers: Mapping[str, Scorer], split: Split, protocol: str, metric: str) -> Breakdown:
    """The metric by how many users have chosen the held-out item before, in quarters of the held-out rows.

    In each group only its own held-out items count as found; the others stay in the ranking.
    """
    name, _, cut = metric.partition("@")
    popularity = np.diff(split.train.by_item.indptr)[split.test.item]
    groups = _quarters(popularity)
    means: dict[str, list[Mean]] = {scorer: [] for scorer in scorers}
    for rows in groups.values():
        part = replace(split, test=split.test.take(rows), candidates=None)
        for called, scorer in scorers.items():
            report = evaluate(scorer, part, protocol, k=int(cut), metrics=[name])
            means[called].append(Mean(report.mean(metric), *report.interval(metric)))
    return Breakdown(list(groups), [int(rows.sum()) for rows in groups.values()], means)


def _quarters(size: np.ndarray) -> dict[str, np.ndarray]:
    """Masks of up to four groups of about equal count, called by the least and the most of each; ties stay together."""
    edges = np.unique(np.quantile(size, (0.25, 0.5, 0.75)))
    group = np.searchsorted(edges, size, side="left")
    masks = (group == place for place in np.unique(group))
    return {_span(size[mask]): mask for mask in masks}


def _span(size: np.ndarray) -> str:
    least, most = int(size.min()), int(size.max())
    return f"{least:,}" if least == most else f"{least:,}–{most:,}"


def _mean_of(report: Report, rows: np.ndarray, metric: str) -> Mean:
    part = replace(report, users=report.users[rows], per_user={metric: report.per_user[metric][rows]})
    return Mean(part.mean(metric), *part.interval(metric))


def as_rows(breakdown: Breakdown, column: str, counted: str) -> list[dict[str, Any]]:
    """One row per group, for a table."""
    return [
        {column: group, counted: f"{count:,}"} | {name: show(means[place]) for name, means in breakdown.means.items()}
        for place, (group, count) in enumerate(zip(breakdown.groups, breakdown.counts, strict=True))
    ]


def show(mean: Mean) -> str:
    """A mean and its interval as text."""
    return f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})"
