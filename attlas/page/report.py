"""One self-contained page: numbers, charts and recommendations with their reasons, readable without a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from attlas.errors import MissingExtra, require
from attlas.evaluation.codes import refuse_mixed
from attlas.evaluation.metrics import metric_name
from attlas.evaluation.report import Mean
from attlas.page.cards import Person, card
from attlas.page.charts import Chart
from attlas.page.standings import Entry
from attlas.training.checkpoint import write_whole

MEANINGS = {
    "hr": "the share of users with at least one held-out item among the first {cut}",
    "ndcg": "how high the held-out items stand among the first {cut}: 1 is all of them on top",
    "recall": "the share of a user's held-out items that are among the first {cut}",
    "precision": "the share of the first {cut} places that hold a held-out item",
    "map": "the mean precision at the places of held-out items among the first {cut}",
    "mrr": "one over the place of the first held-out item, 0 below place {cut}",
}


@dataclass(frozen=True)
class Page:
    """What a report says.

    Attributes:
        kicker, title, answer: above everything; the answer is the one sentence to remember.
        introduction: paragraphs in plain words.
        facts: a few figures by their names.
        entries, metrics: the lines and columns of the table.
        charts: by the heading of their section; a section begins with its words.
        people: who was recommended what; its words stand above it.
        notes: how it was measured, name by name.
        commands: to reproduce it and to go on, each with what it does.
    """

    kicker: str
    title: str
    answer: str
    introduction: Sequence[str]
    facts: Mapping[str, str]
    entries: Sequence[Entry]
    metrics: Sequence[str]
    charts: Mapping[str, Sequence[Chart]]
    people: Sequence[Person]
    people_words: str
    notes: Mapping[str, str]
    commands: Mapping[str, str]


def write_page(page: Page, path: Path) -> list[str]:
    """Write the page as one HTML file that asks the network for nothing.

    Returns:
        What a person should hear: why charts are missing, if they are.

    Raises:
        ArtefactError: the file cannot be written.
    """
    try:
        library = require("plotly.offline", extra="report", purpose="drawing charts").get_plotlyjs()
        missing = []
    except MissingExtra as error:
        library, missing = "", [f"{error}; the report has its tables only"]
    write_whole(path, render(page, library=library, missing=missing).encode())
    return missing


def render(page: Page, *, library: str = "", missing: Sequence[str] = ()) -> str:
    """The page as HTML.

    Args:
        library: the script that draws charts; "" leaves them out and opens their tables.
        missing: what to say about it.
    """
    charts = [chart for section in page.charts.values() for chart in section]
    figures = {f"chart-{place}": chart.figure for place, chart in enumerate(charts)} if library else {}
    scripts = [text.replace("\r\n", "\n") for text in (library, _part("page.js"))] if library else []
    return Template(_part("page.html")).substitute(
        policy=_policy(scripts),
        style=_part("page.css"),
        title=escape(page.title),
        kicker=escape(page.kicker),
        answer=escape(page.answer),
        introduction="".join(f"<p>{escape(text)}</p>" for text in page.introduction),
        facts="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in page.facts.items()),
        missing="".join(f'<p class="missing" role="note">{escape(text)}</p>' for text in missing),
        standings=_standings(page.entries, page.metrics),
        charts=_sections(page.charts, drawn=bool(library)),
        people=_people(page),
        notes="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in page.notes.items()),
        commands="".join(
            f"<li><span>{escape(what)}</span> <code>{escape(command)}</code></li>" for command, what in page.commands.items()
        ),
        figures=_json(figures),
        scripts="".join(f"<script>{text}</script>\n" for text in scripts),
    )


def _part(name: str) -> str:
    return files("attlas.page").joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Only the page's own scripts may run, and nothing may be fetched."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _standings(entries: Sequence[Entry], metrics: Sequence[str]) -> str:
    refuse_mixed({entry.name: entry.report.code for entry in entries})
    head = "".join(f'<th scope="col" class="number">{escape(metric_name(metric))}</th>' for metric in metrics)
    best = {metric: max((e.mean(metric).value for e in entries if not e.is_reference), default=0.0) for metric in metrics}
    rows = []
    for entry in entries:
        cells = "".join(_cell(entry.mean(metric), entry, best[metric]) for metric in metrics)
        seconds = "–" if entry.seconds is None else _seconds(entry.seconds)
        kind = ' class="reference"' if entry.is_reference else ""
        note = " <small>reference</small>" if entry.is_reference else ""
        rows.append(f'<tr{kind}><th scope="row">{escape(entry.name)}{note}</th>{cells}<td class="number">{seconds}</td></tr>')
    meanings = [f"{metric_name(metric)} is {_meaning(metric)}." for metric in metrics if metric.partition("@")[0] in MEANINGS]
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Standings"><table class="standings">'
        f'<thead><tr><th scope="col">Model</th>{head}<th scope="col" class="number">Fitted in</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="aside">{escape(" ".join(meanings))} Beneath each mean stands its 95 % '
        "interval: where the mean would lie with other users like these.</p>"
    )


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value >= 0.1 else "under 0.1 s"


def _meaning(metric: str) -> str:
    name, _, cut = metric.partition("@")
    return MEANINGS[name].format(cut=cut)


def _cell(mean: Mean, entry: Entry, best: float) -> str:
    value = f"{mean.value:.3f}"
    shown = f"<strong>{value}</strong>" if mean.value == best and not entry.is_reference else value
    return f'<td class="number">{shown}<small>{mean.low:.3f} to {mean.high:.3f}</small></td>'


def _people(page: Page) -> str:
    if not page.people:
        return ""
    cards = "".join(card(person, f"person-{place}") for place, person in enumerate(page.people))
    return (
        '<section aria-labelledby="people"><h2 id="people">What they would be shown</h2>'
        f'<p class="words">{escape(page.people_words)}</p><div class="people">{cards}</div></section>'
    )


def _sections(charts: Mapping[str, Sequence[Chart]], *, drawn: bool) -> str:
    parts, place = [], 0
    for number, (heading, section) in enumerate(charts.items()):
        figures = []
        for chart in section:
            figures.append(_chart(chart, f"chart-{place}", drawn=drawn))
            place += 1
        parts.append(
            f'<section aria-labelledby="section-{number}"><h2 id="section-{number}">{escape(heading)}</h2>'
            f'<div class="charts">{"".join(figures)}</div></section>'
        )
    return "".join(parts)


def _chart(chart: Chart, name: str, *, drawn: bool) -> str:
    height = chart.figure["layout"]["height"]
    alt = escape(f"Chart: {chart.heading}. {chart.words} Its numbers stand in the table below it.")
    picture = (
        f'<div id="{name}" class="chart" role="img" aria-label="{alt}" style="min-height:{height}px"></div>' if drawn else ""
    )
    return (
        f'<figure class="card{" wide" if chart.is_wide else ""}"><figcaption><h3>{escape(chart.heading)}</h3>'
        f"<p>{escape(chart.words)}</p></figcaption>{picture}"
        f"<details{'' if drawn else ' open'}><summary>The numbers</summary>{_table(chart)}</details></figure>"
    )


def _table(chart: Chart) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in chart.columns)
    first, *others = chart.columns
    rows = "".join(
        f'<tr><th scope="row">{escape(str(row[first]))}</th>'
        + "".join(f"<td>{escape(str(row[column]))}</td>" for column in others)
        + "</tr>"
        for row in chart.rows
    )
    label = escape(f"Numbers of {chart.heading}")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
