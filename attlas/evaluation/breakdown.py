"""For whom and for which items a metric holds: users by what they have chosen before, held-out rows by their items' popularity.

Shapes: V users that were ranked, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from attlas.data.split import Split
from attlas.evaluation.codes import refuse_mixed
from attlas.evaluation.evaluate import evaluate
from attlas.evaluation.protocols import Scorer
from attlas.evaluation.report import Mean, Report
from attlas.evaluation.rows import RowReport, refuse_mixed_rows


@dataclass(frozen=True)
class Breakdown:
    """One metric by groups.

    Attributes:
        groups: what each group is called, [G].
        counts: how many users or rows are in it, [G].
        means: for each model's name a mean per group, [G].
    """

    groups: list[str]
    counts: list[int]
    means: dict[str, list[Mean]]


def by_activity(reports: Mapping[str, Report], split: Split, metric: str) -> Breakdown:
    """The metric by how much each user has chosen before, in quarters of the users.

    Args:
        reports: one of each model by its name, all of the same users.

    Raises:
        ConfigError: the reports do not compare.
    """
    refuse_mixed({name: report.code for name, report in reports.items()})
    users = next(iter(reports.values())).users
    known = split.train if split.given is None else split.given
    length_V = np.diff(known.by_user.indptr)[users]
    groups = _quarters(length_V)
    means = {name: [_mean_of(report, rows, metric) for rows in groups.values()] for name, report in reports.items()}
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
            report = evaluate(scorer, part, protocol, k=int(cut or 10), metrics=[name])
            means[called].append(Mean(report.mean(metric), *report.interval(metric)))
    return Breakdown(list(groups), [int(rows.sum()) for rows in groups.values()], means)


def by_training_rows(reports: Mapping[str, RowReport], split: Split, metric: str) -> Breakdown:
    """The error over rows by how many training rows their user has, in quarters of the users; of an AUC, how well the rows of
    a group stand against all others.

    Raises:
        ConfigError: the reports do not compare.
    """
    refuse_mixed_rows(reports)
    users = next(iter(reports.values())).users
    known = np.bincount(split.train.user, minlength=int(users.max(initial=0)) + 1)[users]
    groups = _quarters(known)
    means: dict[str, list[Mean]] = {name: [] for name in reports}
    for name, report in reports.items():
        for rows in groups.values():
            part = report.of_users(rows)
            means[name].append(Mean(part.mean(metric), *part.interval(metric)))
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
