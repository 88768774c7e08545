"""Answers on stdout: one JSON document, or tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPED_WIDTH, INDENT = 140, 4  # characters
TABLES = {
    "history": "History",
    "audience": "Others who chose it",
    "features": "Features",
    "pairs": "Pairs of features",
    "factors": "Latent dimensions and biases",
    "shifts": "Shifts of the item's features",
    "neighbours": "Users, by what their ratings add",
    "ratings": "Ratings, by what they add",
}


def show_json(value: Any) -> None:
    """Exactly one JSON document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    print()


def show_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str | None = None) -> None:
    """A table of the named columns; numbers to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = _console()
    if title:
        console.print(Text(title, style="bold"))
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        is_number = bool(rows) and all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(Text(column), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table)


def show_blocks(blocks: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Headings, and under each its paragraphs, indented and wrapped to the width there is."""
    from rich.text import Text

    console = _console()
    for heading, paragraphs in blocks:
        console.print(Text(heading, style="bold"))
        for paragraph in paragraphs:
            for line in Text(paragraph).wrap(console, max(1, console.width - INDENT)):
                console.print(Text(" " * INDENT + line.plain.rstrip()))
        console.print()


def show_explanation(found: Any) -> None:
    """The sentence, what the weights are, and a table of each kind of reasons that there is."""
    from attlas.explanation import METHODS

    beside = "" if found.rest is None else f", of which {found.rest:.4f} is beside them"
    unknown = f"; unknown: {', '.join(found.unknown)}" if found.unknown else ""
    facts = f"score {found.score:.4f}, {found.way}; weights: {found.method}, {METHODS[found.method]}{beside}{unknown}"
    show_sentences([found.sentence(), facts, *filter(None, [found.note])])
    for name, heading in TABLES.items():
        table = getattr(found, name)
        if table is not None and len(table):
            show_table(table.to_dicts(), table.columns, title=heading)
    if found.exposure is not None and len(found.exposure.communities):
        communities = found.exposure.communities
        show_table(communities.to_dicts(), communities.columns, title="Communities, and how likely each comes across it")


def show_faithfulness(found: Sequence[Any]) -> None:
    """One row and one sentence a model."""
    rows = [report.row() for report in found]
    show_table(rows, tuple(rows[0]), title="Do reasons agree with what happens without them?")
    show_sentences(["deletion, insertion: areas in standard deviations, by own / exact / popularity / random order", ""])
    show_sentences([report.sentence() for report in found])


def show_sentences(sentences: Sequence[str]) -> None:
    """One line each."""
    for sentence in sentences:
        print(sentence)


def report_rows(report: Mapping[str, Any], full: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """One row per metric: its mean and 95 % interval; of a sampled one also its correction and the full one.

    Args:
        full: the means of the full protocol by metric.
    """
    from attlas.evaluation.naming import is_of_lists
    from attlas.evaluation.report import CORRECTED

    means = report["means"]
    return [
        {"metric": name, "mean": mean, "95 % interval": _span(report["intervals"][name])}
        | {"corrected": means.get(f"{name}{CORRECTED}"), "full": full.get(name)}
        for name, mean in means.items()
        if not name.endswith(CORRECTED) and not is_of_lists(name)
    ]


def list_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per figure of what the lists are like; none where nobody asked."""
    from attlas.evaluation.naming import OF_LISTS

    found = {name: (mean, report["intervals"][name]) for name, mean in report["means"].items()}
    found |= {name: (of["value"], (of["low"], of["high"])) for name, of in report.get("overall", {}).items()}
    return [
        {"figure": name, "value": value, "unit": OF_LISTS[name.partition("@")[0]], "95 % interval": _span(interval)}
        for name, (value, interval) in found.items()
        if name.partition("@")[0] in OF_LISTS
    ]


def _span(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def heading(card: Mapping[str, Any]) -> str:
    """What stands above a run's metrics: its model, and for a final fit on which run they were measured."""
    name = str(card["model"]["name"])
    if "final" not in card:
        return name
    return f"{name}, measured on {card['final']['metrics_are_of']} before it was trained anew on all rows"


def show_reports(reports: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """The metrics of every protocol, each in a table of its own, since they do not compare; then what the lists are like.

    Beside what is measured on sampled candidates stands the full figure, in a column of its own.
    """
    full: dict[str, float | None] = next((report["means"] for report in reports if report["protocol"] == "full"), {})
    for report in reports:
        whom = f"{report['num_users']:,} users, ties averaged" if "num_users" in report else f"{report['num_rows']:,} rows"
        head = f"{title}: protocol {report['protocol']}, split {report['split']}, {whom}"
        if ways := report.get("ways"):
            head += f", strangers answered: {', '.join(ways)}"
        beside = () if report["protocol"] in ("full", "rating", "label", "target") else ("corrected", "full")
        show_table(report_rows(report, full), ("metric", "mean", "95 % interval", *beside), title=head)
        if rows := list_rows(report):
            show_table(rows, ("figure", "value", "unit", "95 % interval"), title="What the lists are like, not how good:")


def _cell(value: Any) -> Text:
    """As it stands: brackets in a name are no markup."""
    from rich.text import Text

    if value is None:
        return Text()
    return Text(f"{value:.4f}" if isinstance(value, float) else str(value))


def _console() -> Console:
    """As wide as the terminal, or as COLUMNS says; what is piped is wide otherwise."""
    from rich.console import Console

    asked = os.environ.get("COLUMNS", "")
    says = asked.isdecimal() and int(asked) > 0
    return Console(width=int(asked) if says else None if sys.stdout.isatty() else PIPED_WIDTH)
