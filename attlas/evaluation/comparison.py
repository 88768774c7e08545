"""Comparison: what several models found on one split, each under its best settings and several seeds.

Shapes: S seeds, V users that were ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.metrics import BY_ROW, ERRORS
from attlas.evaluation.report import AnyReport, Mean
from attlas.training.journal import Epoch


@dataclass(frozen=True, eq=False)
class Contender:
    """One model of a comparison.

    Attributes:
        name: what it is called in this comparison, and the name of its folder.
        model: its name among the registered models.
        is_baseline: whether it is of the ladder that claims are held against.
        is_random: whether another seed gives another model.
        experiment: the settings that won the search, as tables.
        valid: ``metric``, ``value`` and ``epoch`` by which they won.
        tried: one entry per trial of the search: ``number``, ``settings``, ``value``, ``epoch``, ``seconds`` and ``state``,
            which is ``complete``, ``pruned`` or ``failed``.
        seeds: what its fits began from; one where nothing is drawn at random.
        reports: for each seed a Report of the test part by the code of its protocol, or a RowReport of ratings or labels.
        curve: the epochs of the trial that won; empty where nothing is learned in epochs.
        search_seconds: what all trials took together.
        fit_seconds: what one fit with the settings that won takes, the mean over seeds.
        seconds: wall time of everything: search, fits and evaluations.
        popularity: the leading metric by how popular the held-out items are, first seed; None where it was not measured.
        findings: what the audit of the first seed found, each as ``attlas.auditing`` writes it.
        run: the folder of the first seed's run, beside the comparison's.
    """

    name: str
    model: str
    is_baseline: bool
    experiment: dict[str, Any]
    valid: dict[str, Any]
    tried: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    reports: tuple[dict[str, AnyReport], ...]
    curve: tuple[Epoch, ...]
    search_seconds: float
    fit_seconds: float
    seconds: float
    popularity: Breakdown | None = None
    findings: tuple[dict[str, Any], ...] = ()
    run: str = ""
    is_random: bool = False
    _pooled: dict[str, AnyReport] = field(default_factory=dict, init=False, repr=False)

    def values(self, protocol: str, metric: str) -> np.ndarray:
        """The metric of every user under every seed, float64[S, V]."""
        return np.stack([reports[protocol].per_user[metric] for reports in self.reports])

    def pooled(self, protocol: str) -> AnyReport:
        """The first seed's report with every user's values averaged over the seeds."""
        if protocol not in self._pooled:  # one and the same report, since it keeps the intervals that it was asked for
            first: Any = self.reports[0][protocol]
            self._pooled[protocol] = first.averaged([reports[protocol] for reports in self.reports])
        return self._pooled[protocol]

    def spread(self, protocol: str, metric: str) -> float | None:
        """The standard deviation of the mean over seeds; None with one seed."""
        means = [reports[protocol].mean(metric) for reports in self.reports]
        return float(np.std(means, ddof=1)) if len(means) > 1 else None


@dataclass(frozen=True)
class Skipped:
    """A model that did not take part, and why, with the figure that decided."""

    name: str
    model: str
    reason: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models on one split.

    Attributes:
        contenders: those that took part, in the order of the ladder.
        skipped: those that did not.
        metric: the leading metric, for instance ``ndcg@10``, or an error such as ``logloss``.
        protocols: codes, the leading one first.
        pairs: who is above whom under the leading protocol and metric, every pair once.
        winner: the name of the contender with the best validation value.
        activity: the leading metric by how much users have chosen before, or how many training rows they have, seeds averaged.
        findings: what the audit of data, split and all models together found, each as ``attlas.auditing`` writes it.
        data: source, split, users, items, rows of each part, fingerprint.
        budget: what every model was given, in words.
        seconds: wall time of the models that took part: search, fits, evaluations, audits, all sessions together.
        versions: what it was made with.
    """

    contenders: tuple[Contender, ...]
    skipped: tuple[Skipped, ...]
    metric: str
    protocols: tuple[str, ...]
    pairs: tuple[Any, ...]
    winner: str
    activity: Breakdown
    findings: tuple[dict[str, Any], ...]
    data: dict[str, Any]
    budget: str
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def ranked(self) -> Sequence[Contender]:
        """The contenders, best mean of the leading metric under the leading protocol first."""
        code, metric, sign = self.protocols[0], self.metric, 1 if self.is_error else -1
        return sorted(self.contenders, key=lambda each: sign * each.pooled(code).mean(metric))

    @property
    def is_error(self) -> bool:
        """Whether lower values of the leading metric are better."""
        return self.metric in ERRORS

    @property
    def by_rows(self) -> bool:
        """Whether single rows were predicted, ratings or labels, and nothing was ranked."""
        return self.protocols[0] in BY_ROW

    def mean(self, contender: Contender, protocol: str, metric: str) -> Mean:
        """A contender's mean over users and seeds and its 95 % interval over users."""
        report = contender.pooled(protocol)
        return Mean(report.mean(metric), *report.interval(metric))
