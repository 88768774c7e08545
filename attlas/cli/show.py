"""Answers on stdout: one JSON document, or tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def show_json(value: Any) -> None:
    """Exactly one JSON document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    print()


def show_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str | None = None) -> None:
    """A table of the named columns; numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 140)
    if title:
        console.print(Text(title, style="bold"))
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        is_number = bool(rows) and all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table)


def show_sentences(sentences: Sequence[str]) -> None:
    """One line each."""
    for sentence in sentences:
        print(sentence)


def report_rows(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per metric and protocol: code, metric, mean and 95 % interval."""
    rows = []
    for report in reports:
        for name, mean in report["means"].items():
            interval = report["intervals"][name]
            span = "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
            rows.append({"protocol": report["protocol"], "metric": name, "mean": mean, "95 % interval": span})
    return rows


def heading(card: Mapping[str, Any]) -> str:
    """What stands above a run's metrics: its model, and for a final fit on which run they were measured."""
    name = str(card["model"]["name"])
    if "final" not in card:
        return name
    return f"{name}, measured on {card['final']['metrics_are_of']} before it was trained anew on all rows"


def show_reports(reports: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """The metrics of every protocol, each protocol in a table of its own, since they do not compare."""
    for report in reports:
        whom = f"{report['num_users']:,} users, ties averaged" if "num_users" in report else f"{report['num_rows']:,} rows"
        head = f"{title}: protocol {report['protocol']}, split {report['split']}, {whom}"
        if ways := report.get("ways"):
            head += f", strangers answered: {', '.join(ways)}"
        show_table(report_rows([report]), ("metric", "mean", "95 % interval"), title=head)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
