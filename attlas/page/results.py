"""What a comparison says: which numbers may share a table, who stands where in it, and who is told apart from whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attlas.errors import ConfigError
from attlas.evaluation.comparison import Comparison, Contender
from attlas.evaluation.metrics import ERRORS
from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import AnyReport, Mean
from attlas.telling import Teller

MAIN = ("ndcg", "hr", "recall")
GOALS = ("ndcg", "hr", "recall", "precision", "map", "mrr", "auc", *ERRORS)  # better or worse; all else describes


@dataclass(frozen=True, eq=False)
class Line:
    """One contender under one protocol.

    Attributes:
        rank: its place under this protocol, from 1.
        contender: who it is.
        report: its report under this protocol, seeds averaged.
    """

    rank: int
    contender: Contender
    report: AnyReport

    @property
    def name(self) -> str:
        """What it is called in the comparison."""
        return self.contender.name

    def value(self, metric: str) -> float | None:
        """The mean over users and seeds, or what all lists together are like; None where it was not measured."""
        return _value(self.report, metric)

    def mean(self, metric: str) -> Mean | None:
        """The same with its 95 % interval over users."""
        if metric in _overall(self.report):
            return Mean(*_overall(self.report)[metric])
        value = self.value(metric)
        return None if value is None else Mean(value, *self.report.interval(metric))

    def spread(self, metric: str) -> float | None:
        """The standard deviation of the value over seeds; None with one seed."""
        found = [_value(reports[self.report.protocol], metric) for reports in self.contender.reports]
        values = [value for value in found if value is not None]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True, eq=False)
class Standings:
    """Every contender under one protocol.

    Attributes:
        protocol: its code.
        code: what all these numbers share: protocol, split and part.
        metrics: the leading metric, the main ones under its cut-off, and where candidates are sampled its correction.
        further: all other goals.
        descriptions: what tells of the lists without being better or worse.
        lines: best first.
    """

    protocol: str
    code: str
    metrics: tuple[str, ...]
    further: tuple[str, ...]
    descriptions: tuple[str, ...]
    lines: tuple[Line, ...]

    def best(self, metric: str) -> float | None:
        """The highest value of a metric, of an error the lowest."""
        return (min if metric in ERRORS else max)(
            (value for line in self.lines if (value := line.value(metric)) is not None), default=None
        )

    def is_best(self, line: Line, metric: str) -> bool:
        """Whether a line shows the best value of a metric; values that look alike when printed are alike."""
        value, best = line.value(metric), self.best(metric)
        return value is not None and best is not None and printed(value) == printed(best)


def standings(comparison: Comparison, protocol: str) -> Standings:
    """The contenders under one protocol, best value of the leading metric first.

    Raises:
        ConfigError: nobody was measured under it, or their numbers have different codes and do not compare.
    """
    takes_part = [each for each in comparison.contenders if all(protocol in reports for reports in each.reports)]
    pooled = [(each, each.pooled(protocol)) for each in takes_part]
    codes = sorted({str(report.code) for _, report in pooled})
    if len(codes) != 1:
        found = " and ".join(f"({code})" for code in codes) or "no contender"
        raise ConfigError(f"protocol {protocol!r}: expected contenders that share one code, got {found}; compare on one split")
    names = list(dict.fromkeys(name for _, report in pooled for name in (*report.per_user, *_overall(report))))
    measured = [name for name in names if any(_value(report, name) is not None for _, report in pooled)]
    goals = [name for name in measured if name.partition("@")[0] in GOALS]
    lead = comparison.metric if comparison.metric in measured else goals[0]
    cut = lead.partition("@")[2]
    main = [
        name for name in goals if name in (lead, f"{lead} corrected", *(f"{each}@{cut}" for each in MAIN)) or comparison.by_rows
    ]
    values = {each.name: _value(report, lead) for each, report in pooled}
    sign = 1 if lead in ERRORS else -1
    ordered = sorted(pooled, key=lambda pair: np.inf if (value := values[pair[0].name]) is None else sign * value)
    return Standings(
        protocol,
        codes[0],
        tuple(sorted(main, key=lambda name: (name != lead, "corrected" in name))),
        tuple(name for name in goals if name not in main),
        tuple(name for name in measured if name not in goals),
        tuple(Line(place, each, report) for place, (each, report) in enumerate(ordered, start=1)),
    )


def measure_intervals(comparison: Comparison, tell: Teller) -> None:
    """Resample what tables show, under a bar; reports keep it, so that whoever asks next need not wait."""
    tables = [standings(comparison, protocol) for protocol in comparison.protocols]
    asked = [
        (line, name)
        for table in tables
        for line in table.lines
        for name in (*table.metrics, *table.further, *table.descriptions)
    ]
    with tell.bar("intervals", len(asked)) as bar:
        for done, (line, name) in enumerate(asked, start=1):
            line.mean(name)
            bar.update(done, line.name)


def pairs_by_names(comparison: Comparison) -> dict[frozenset[str], Any]:
    """Each pair by the names of both."""
    return {frozenset((pair.above, pair.below)): pair for pair in comparison.pairs}


def near_best(comparison: Comparison) -> frozenset[str]:
    """The names that no test puts below the best under the leading protocol and metric; ``dagger_says`` what that means."""
    best, found = comparison.ranked[0].name, pairs_by_names(comparison)
    others = [each.name for each in comparison.ranked[1:]]
    return frozenset(
        name for name in others if (pair := found.get(frozenset((best, name)))) is not None and not pair.is_significant
    )


def dagger_says(comparison: Comparison) -> str:
    """What is true of every name that is near the best."""
    best, found = comparison.ranked[0].name, pairs_by_names(comparison)
    is_untested = any(found[frozenset((best, name))].single for name in near_best(comparison))
    side = "above" if comparison.is_error else "below"
    more = ", or was not tested against it, since one of the two has one seed only" if is_untested else ""
    return f"is not significantly {side} the best {metric_name(comparison.metric)}{more}"


def deciding_pairs(comparison: Comparison) -> list[Any]:
    """The pairs that matter: the best against the next, then every other contender against the best baseline."""
    ranked = comparison.ranked
    names = [(ranked[0].name, ranked[1].name)] if len(ranked) > 1 else []
    baseline = next((each.name for each in ranked if each.is_baseline), None)
    if baseline is not None:
        names += [(each.name, baseline) for each in ranked if not each.is_baseline]
    found = pairs_by_names(comparison)
    return [found[pair] for pair in dict.fromkeys(map(frozenset, names)) if pair in found]


def answer(comparison: Comparison) -> str:
    """Who is best, and whether that is significant against the next."""
    table = standings(comparison, comparison.protocols[0])
    best, metric = table.lines[0], metric_name(comparison.metric)
    value, low, high = best.report.mean(comparison.metric), *best.report.interval(comparison.metric)
    deed = "predicts" if comparison.by_rows else "ranks"
    said = f"{best.name} {deed} best with {metric} {value:.4f} (95 % interval {low:.4f} to {high:.4f})."
    rivals = frozenset(line.name for line in table.lines[:2])
    pair = pairs_by_names(comparison).get(rivals)
    return said if pair is None else f"{said} {pair.sentence()}."


def chosen(comparison: Comparison) -> str:
    """Who won on the validation part, and what that reached on the test part."""
    table = standings(comparison, comparison.protocols[0])
    line = next(line for line in table.lines if line.name == comparison.winner)
    valid, name = line.contender.valid, metric_name(comparison.metric)
    reached = f"{name} {line.report.mean(comparison.metric):.4f} on the test part, place {line.rank} of {len(table.lines)}"
    won = f"{line.name} has the best validation {metric_name(valid['metric'])}, {valid['value']:.4f}"
    return f"{won}, and reached {reached} (protocol {table.protocol})."


def printed(value: float) -> str:
    """A figure as every table of a comparison prints it: with four decimals, and with one from 10 on."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def _overall(report: AnyReport) -> Mapping[str, Any]:
    return getattr(report, "overall", {})


def _value(report: AnyReport, metric: str) -> float | None:
    if metric in _overall(report):
        return float(_overall(report)[metric].value)
    if metric not in report.per_user or np.isnan(report.per_user[metric]).all():
        return None
    return report.mean(metric)
