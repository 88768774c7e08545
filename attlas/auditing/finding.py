"""Finding: one thing that an audit has seen, how much of it, and what it does to the metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # rising
REPRODUCED = 0.002  # how far a figure may move between machines: a few ranks of near-equal scores


@dataclass(frozen=True)
class Finding:
    """One thing that an audit has seen.

    Attributes:
        code: its short name, for instance ``cold-test-items``.
        severity: ``info`` is worth knowing, ``warning`` may mislead, and with ``error`` the number cannot be trusted.
        subject: what it was found in: the rows, the split, the settings, a model's name.
        sentence: what was seen, with its size.
        size: the same size as a number: a share in 0..1, a count, a difference of metrics, or a shift of scores in spreads.
        effect: the metric with and without, or what it does to the metric; None where it does nothing, or
            where nothing was trained that could tell.
        advice: what to do.
    """

    code: str
    severity: Severity
    subject: str
    sentence: str
    size: float
    effect: str | None
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def graded(size: float, *, warning: float, error: float = float("inf")) -> Severity:
    """The severity of a size: from ``error`` on an error, from ``warning`` on a warning, below that worth knowing."""
    return "error" if size >= error else "warning" if size >= warning else "info"


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The highest severity among findings; None where there are none."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=None)


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, otherwise in the order in which they were found."""
    return sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity))


def percent(share: float) -> str:
    """A share of 0..1 as a person reads it; what is small keeps two digits."""
    return f"{100 * share:.2g} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def not_reproduced(
    subject: str, metric: str, value: float, again: float, code: str, *, chance: float = 0.0
) -> Iterator[Finding]:
    """What is to say of a reported figure that does not come again; nothing of one that does.

    Args:
        code: of the protocol, and of whom the figure is if not of all.
        chance: how far the figure of drawn users may lie from that of all.
    """
    if abs(value - again) > REPRODUCED * max(1.0, abs(again)) + chance:
        yield Finding(
            "not-reproduced",
            "error",
            subject,
            f"{metric} is reported as {value:.4f} and measured anew as {again:.4f} ({code})",
            abs(value - again),
            f"{metric} {value:.4f} -> {again:.4f} measured anew ({code})",
            "the report is of another model, another split or other code; evaluate again and report that",
        )
