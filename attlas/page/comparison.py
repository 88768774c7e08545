"""The page about a comparison: who ranks best, whether that is sure, what it took, and what an audit says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.comparison import Comparison
from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import RowReport
from attlas.page.charts import Chart, by_group, intervals, looks_of, quality_against_seconds
from attlas.page.duels import duels
from attlas.page.findings import findings_of, tally
from attlas.page.frame import Frame, Section, write_frame
from attlas.page.ladder import descriptions, ladder, seconds_text, settings_table
from attlas.page.progress import learning_curves, trials
from attlas.page.results import answer, chosen, measure_intervals
from attlas.page.standings import Entry
from attlas.telling import Teller

DIGITS = 4
NO_COMMANDS: Mapping[str, str] = MappingProxyType({})
OF_HISTORIES = {
    "heading": "By how much a user has chosen",
    "axis": "items chosen before",
    "words": "Users in quarters by the length of their history.",
}
OF_ROWS = {
    "heading": "By how much is known of a user",
    "axis": "training rows of the user",
    "words": "Users in quarters by the number of their training rows.",
}
BRIEFEST = 0.001  # seconds; a logarithmic axis has no 0


def write_comparison(
    comparison: Comparison, path: Path, *, commands: Mapping[str, str] = NO_COMMANDS, tell: Teller | None = None
) -> list[str]:
    """Write the report of a comparison as one HTML file that asks the network for nothing.

    Args:
        commands: to reproduce it and to go on, each with what it does.
        tell: shows a bar while intervals are resampled, which takes seconds where there are many users.

    Returns:
        What a person should hear: why charts are missing, if they are.

    Raises:
        ArtefactError: the file cannot be written.
        ConfigError: contenders were measured under codes that do not compare.
    """
    measure_intervals(comparison, tell or Teller())
    return write_frame(comparison_frame(comparison, commands=commands), path)


def comparison_frame(comparison: Comparison, *, commands: Mapping[str, str] = NO_COMMANDS) -> Frame:
    """The whole page about a comparison."""
    data = comparison.data
    return Frame(
        kicker=f"attlas compare: {data.get('source', 'a comparison')}",
        title=f"Which model {'predicts' if comparison.by_rows else 'ranks'} best?",
        answer=answer(comparison),
        introduction=_introduction(comparison),
        facts=_facts(comparison),
        sections=_sections(comparison),
        notes=_notes(comparison),
        commands=commands,
    )


def _introduction(comparison: Comparison) -> list[str]:
    many, done = len(comparison.contenders), "predicted" if comparison.by_rows else "ranked"
    return [
        chosen(comparison),
        f"{many} models were compared on one split, each within this budget: {comparison.budget}. Settings "
        f"were chosen on the validation part alone; the test part was {done} once per seed, with the settings that won. "
        f"Audit: {tally(comparison)}.",
    ]


def _facts(comparison: Comparison) -> dict[str, str]:
    first = comparison.contenders[0].pooled(comparison.protocols[0])
    facts = {"models": f"{len(comparison.contenders)}"}
    facts |= (
        {"rows predicted": f"{first.num_rows:,}"} if isinstance(first, RowReport) else {"users ranked": f"{len(first.users):,}"}
    )
    facts |= {name: f"{comparison.data[name]:,}" for name in ("items",) if isinstance(comparison.data.get(name), int)}
    return facts | {
        "seeds at most": str(max(len(each.seeds) for each in comparison.contenders)),
        "trials in all": f"{sum(len(each.tried) for each in comparison.contenders):,}",
        "for all of this": seconds_text(comparison.seconds),
    }


def _sections(comparison: Comparison) -> list[Section]:
    entries = _entries(comparison)
    lists = descriptions(comparison)
    sections = [
        Section("standings", "Standings", [*ladder(comparison), settings_table(comparison)]),
        Section("significance", "Who is told apart from whom", duels(comparison), _pair_words(comparison)),
        Section("quality", "How good, how fast", _quality(comparison, entries)),
        Section("whom", "For whom, and for which items", _groups(comparison, entries)),
        Section("progress", "How they got there", _progress(comparison, entries)),
        Section("lists", "What the lists are made of", lists, "Which way is better is left open: these describe the lists."),
        Section("audit", "What the audit found", findings_of(comparison)),
    ]
    return [section for section in sections if section.parts]


def _pair_words(comparison: Comparison) -> str:
    relation = "better than" if comparison.is_error else "above"
    return (
        f"By {metric_name(comparison.metric)} under protocol {comparison.protocols[0]}, user by user. A row of the matrix is "
        f"{relation} the column by so much of the column's mean; p-values are adjusted for the number of pairs. Bold is "
        "significant, n.s. is not; nothing is tested of a model that depends on its seed and has one only."
    )


def _entries(comparison: Comparison) -> list[Entry]:
    code = comparison.protocols[0]
    reports: dict[str, Any] = {each.name: each.pooled(code) for each in comparison.contenders}
    return [
        Entry(each.name, reports[each.name], max(each.fit_seconds, BRIEFEST), each.valid.get("value"), each.curve)
        for each in comparison.contenders
    ]


def _quality(comparison: Comparison, entries: list[Entry]) -> list[Chart]:
    metric = comparison.metric
    leading = intervals(entries, metric, digits=DIGITS, words="The mean over users and seeds; the line is the 95 % interval.")
    fits = quality_against_seconds(
        entries,
        metric,
        digits=DIGITS,
        heading="Quality against the time of one fit",
        words=f"{'Down' if comparison.is_error else 'Up'} and to the left is better. Mean seconds of one fit with the settings "
        "that won, on a logarithmic scale.",
    )
    took = {each.name: max(each.search_seconds, BRIEFEST) for each in comparison.contenders if each.tried}
    if not took:
        return [replace(chart, is_wide=True) for chart in (leading, fits)]
    searches = quality_against_seconds(
        [replace(entry, seconds=took.get(entry.name)) for entry in entries],
        metric,
        digits=DIGITS,
        heading="Quality against the time of the search",
        axis="seconds to search",
        words="What all trials of a model took together, on a logarithmic scale.",
    )
    return [replace(leading, is_wide=True), fits, searches]


def _groups(comparison: Comparison, entries: list[Entry]) -> list[Chart]:
    looks, metric = looks_of(entries), comparison.metric
    charts = [
        by_group(
            comparison.activity,
            looks,
            metric,
            **(OF_ROWS if comparison.by_rows else OF_HISTORIES),
            counted="users",
            digits=DIGITS,
        )
    ]
    popularity = _together([each.popularity for each in comparison.contenders if each.popularity])
    if popularity:
        charts.append(
            by_group(
                popularity,
                looks,
                metric,
                heading="By how popular the held-out item is",
                axis="users who chose the item before",
                counted="rows",
                words="Held-out rows in quarters; in each, only its own items count as found. First seed.",
                digits=DIGITS,
            )
        )
    return charts


def _together(parts: list[Breakdown]) -> Breakdown | None:
    """Breakdowns of the same groups as one; None where there are none."""
    if not parts:
        return None
    same = [part for part in parts if part.groups == parts[0].groups]
    return replace(parts[0], means={name: means for part in same for name, means in part.means.items()})


def _progress(comparison: Comparison, entries: list[Entry]) -> list[Chart]:
    looks = looks_of(entries)
    metric = str(comparison.contenders[0].valid.get("metric", comparison.metric))
    learners = [entry for entry in entries if entry.curve]
    kept = {each.name: each.valid["epoch"] for each in comparison.contenders if each.valid.get("epoch") is not None}
    tried = {each.name: each.tried for each in comparison.contenders if each.tried}
    charts = [learning_curves(learners, looks, kept, metric)] if learners else []
    return charts + ([trials(tried, looks, metric)] if tried else [])


def _notes(comparison: Comparison) -> dict[str, str]:
    data = comparison.data
    parts = [f"{data[name]:,} {said}" for name, said in _PARTS.items() if isinstance(data.get(name), int)]
    seeds = sorted({seed for each in comparison.contenders for seed in each.seeds})
    report = comparison.contenders[0].pooled(comparison.protocols[0])
    of_lists = ", of coverage and Gini a jackknife" if getattr(report, "overall", {}) else ""
    return {
        "Data": f"{data.get('source', 'not said')}: {', '.join(parts)}" if parts else str(data.get("source", "not said")),
        "Split": str(data.get("split", report.split)),
        "Protocols": ", ".join(comparison.protocols) + "; ties averaged",
        "Budget": comparison.budget,
        "Seeds": f"{', '.join(map(str, seeds))}; one where nothing is drawn at random",
        "Settings": "chosen on the validation part, never on the test part",
        "Intervals": f"95 %, percentile bootstrap over users{of_lists}; seeds averaged",
        "Significance": "paired tests over users, adjusted for the number of pairs; intervals over users and seeds",
        "Fingerprint": str(data.get("fingerprint", "not said")),
        "Versions": ", ".join(f"{name} {version}" for name, version in comparison.versions.items()),
        "Wall time": f"{seconds_text(comparison.seconds)} of all sessions together",
    }


_PARTS = {
    "users": "users",
    "items": "items",
    "train": "rows to train",
    "valid": "to validate",
    "test": "to test",
}
