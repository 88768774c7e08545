"""What several models' reports say only together: that sampled and full rankings order them in two ways.

Shapes: V users that were ranked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from attlas.auditing.finding import Finding
from attlas.errors import ConfigError
from attlas.evaluation.codes import Code
from attlas.evaluation.naming import counted
from attlas.evaluation.protocols import PROTOCOLS
from attlas.evaluation.report import AnyReport, Report

SURE = 1.96  # standard errors of the mean difference over users


def audit_together(reports: Mapping[str, Mapping[str, AnyReport]], *, metric: str | None = None) -> list[Finding]:
    """What is wrong with a table of several models under several protocols.

    Args:
        reports: for each model's name a report by the code of its protocol.
        metric: what they are ordered by; None takes ndcg at the first cut-off.

    Raises:
        ConfigError: a report has no such metric.
    """
    rankings = {
        name: {code: report for code, report in known.items() if isinstance(report, Report)} for name, known in reports.items()
    }
    codes = sorted({code for known in rankings.values() for code in known})
    found = [finding for code in codes for finding in _unlike(rankings, code)]
    if not found:
        found += [finding for code in codes for finding in _same(rankings, code)]
        found += [f for one, other in combinations(codes, 2) for f in reversals(rankings, one, other, metric=metric)]
    return found


def _unlike(rankings: Mapping[str, Mapping[str, Report]], code: str) -> Iterator[Finding]:
    """Reports of one protocol that are not of one split and one set of users."""
    known = {name: reports[code] for name, reports in rankings.items() if code in reports}
    kinds: dict[tuple[Code, tuple[int, int], bytes], list[str]] = {}
    for name, report in known.items():
        kinds.setdefault((report.code, report.num_candidates, report.users.tobytes()), []).append(name)
    if len(kinds) > 1:
        groups = "; ".join(", ".join(names) for names in kinds.values())
        yield Finding(
            "unlike-reports",
            "error",
            "comparison",
            f"reports of protocol {code} are of {len(kinds)} different splits, candidates or sets of users: {groups}",
            float(len(kinds)),
            "their numbers answer different questions, and their order means nothing",
            "evaluate all models on one split",
        )


def _same(rankings: Mapping[str, Mapping[str, Report]], code: str) -> Iterator[Finding]:
    """Models of different names whose every user has the same value."""
    known = {name: reports[code] for name, reports in rankings.items() if code in reports}
    for (one, first), (other, second) in combinations(known.items(), 2):
        names = set(first.per_user) & set(second.per_user)
        if names and all(np.array_equal(first.per_user[name], second.per_user[name], equal_nan=True) for name in names):
            yield Finding(
                "same-numbers",
                "warning",
                "comparison",
                f"{one} and {other} have the same value for each of {counted(len(first.users), 'user')} ({code})",
                float(len(first.users)),
                "one row of the table stands there twice",
                "if they are meant to differ, a setting did not reach the model",
            )


def reversals(
    rankings: Mapping[str, Mapping[str, Report]],
    one: str,
    other: str,
    *,
    metric: str | None = None,
    subject: str = "comparison",
) -> Iterator[Finding]:
    """Pairs of models that two protocols order in two ways; none where both rank against the same kind of items.

    Args:
        rankings: for each model's name a report by the code of its protocol.
        one, other: the codes.
        metric: what models are ordered by; None takes ndcg at the first cut-off.
        subject: what is said to have been looked at.
    """
    if _kind(one) == _kind(other):
        return
    both = {name: (known[one], known[other]) for name, known in rankings.items() if one in known and other in known}
    name = metric or next((f"ndcg@{first.k[0]}" for first, _ in both.values()), "")
    pairs = list(combinations(both, 2))
    turned, sure = [], 0
    for pair in pairs:
        here, there = (_difference(both[pair[0]][place], both[pair[1]][place], name) for place in (0, 1))
        if here[0] * there[0] < 0:
            turned.append((abs(there[0]), pair))
            sure += min(abs(here[1]), abs(there[1])) > SURE
    if turned:
        widest = max(turned)[1]
        yield Finding(
            "sampled-reversal",
            "warning" if sure else "info",
            subject,
            f"{one} and {other} order {len(turned):,} of {counted(len(pairs), 'pair')} of models in two ways, {sure:,} of them "
            f"beyond chance in both{_winners(both, (one, other), name)}",
            len(turned) / len(pairs),
            f"{name}: {'; '.join(_told(both, widest, place, code, name) for place, code in enumerate((one, other)))}",
            "believe the whole catalogue; a place among a hundred random items is not a place among all",
        )


def _told(both: Mapping[str, tuple[Report, Report]], pair: Sequence[str], place: int, code: str, metric: str) -> str:
    return f"{code}: " + ", ".join(f"{model} {both[model][place].mean(metric):.4f}" for model in pair)


def _winners(both: Mapping[str, tuple[Report, Report]], codes: tuple[str, str], metric: str) -> str:
    """Whom each protocol puts first, where they differ."""
    best = [max(both, key=lambda model, at=place: both[model][at].mean(metric)) for place in (0, 1)]  # type: ignore[misc]
    return "" if best[0] == best[1] else f"; {codes[0]} puts {best[0]} first, {codes[1]} {best[1]}"


def _kind(code: str) -> str:
    return PROTOCOLS[code].against if code in PROTOCOLS else code


def _difference(one: Report, other: Report, metric: str) -> tuple[float, float]:
    """The mean difference over users, and how many of its standard errors that is."""
    for report in (one, other):
        if metric not in report.per_user:
            raise ConfigError(f"a report of {report.code} has no {metric!r}; evaluate it with that metric and cut-off")
    difference_V = one.per_user[metric] - other.per_user[metric]
    error = float(difference_V.std(ddof=1) / np.sqrt(len(difference_V))) if len(difference_V) > 1 else 0.0
    mean = float(difference_V.mean())
    return mean, mean / error if error else (0.0 if mean == 0 else np.inf)
