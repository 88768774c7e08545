"""What an audit found, as HTML: the worst first, those of a single model under its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from attlas.evaluation.comparison import Comparison
from attlas.evaluation.naming import counted

NOUNS = {"error": "error", "warning": "warning", "info": "remark"}  # by severity, falling
SEVERITIES = tuple(NOUNS)


def findings_of(comparison: Comparison) -> list[str]:
    """Those of data, split and all models together, then those of each model that has any."""
    groups = {"Data, split and all models together": comparison.findings}
    groups |= {each.name: each.findings for each in comparison.ranked}
    shown = [f"<h3>{escape(name)}</h3>{_list(found)}" for name, found in groups.items() if found]
    return shown or ['<p class="aside">No finding came with this comparison.</p>']


def tally(comparison: Comparison) -> str:
    """How many of each severity, in words."""
    everything = [*comparison.findings, *(found for each in comparison.contenders for found in each.findings)]
    counts = {severity: sum(_severity(found) == severity for found in everything) for severity in SEVERITIES}
    said = [counted(count, NOUNS[severity]) for severity, count in counts.items() if count]
    return ", ".join(said) or "no findings"


def _severity(found: Mapping[str, Any]) -> str:
    severity = found.get("severity")
    return severity if severity in SEVERITIES else "info"


def _list(findings: Sequence[Mapping[str, Any]]) -> str:
    ordered = sorted(findings, key=lambda found: SEVERITIES.index(_severity(found)))
    return f'<ul class="findings">{"".join(_finding(found) for found in ordered)}</ul>'


def _finding(found: Mapping[str, Any]) -> str:
    severity, size = _severity(found), found.get("size")
    facts = {
        "in": found.get("subject"),
        "code": found.get("code"),
        "size": f"{size:.4g}" if isinstance(size, float) else size,
        "effect": found.get("effect"),
        "what to do": found.get("advice"),
    }
    said = "".join(
        f"<div><dt>{name}</dt><dd>{escape(str(fact))}</dd></div>" for name, fact in facts.items() if fact not in (None, "")
    )
    sentence = escape(str(found.get("sentence") or found.get("code") or "a finding without words"))
    return f'<li class="finding {severity}"><p><span class="severity">{severity}</span> {sentence}</p><dl>{said}</dl></li>'
