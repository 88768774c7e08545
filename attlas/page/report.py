"""The report of a demonstration: numbers, charts and recommendations with their reasons, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from attlas.evaluation.codes import refuse_mixed
from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import Mean
from attlas.page.cards import Person, card
from attlas.page.charts import Chart
from attlas.page.frame import Frame, Section, region, render_frame, write_frame
from attlas.page.ladder import seconds_text
from attlas.page.standings import Entry, meanings


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
    return write_frame(_frame(page), path)


def render(page: Page, *, library: str = "", missing: Sequence[str] = ()) -> str:
    """The page as HTML.

    Args:
        library: the script that draws charts; "" leaves them out and opens their tables.
        missing: what to say about it.
    """
    return render_frame(_frame(page), library=library, missing=missing)


def _frame(page: Page) -> Frame:
    charts = [Section(f"section-{place}", heading, parts) for place, (heading, parts) in enumerate(page.charts.items())]
    sections = [Section("standings", "Standings", [_standings(page.entries, page.metrics)]), *charts, *_people(page)]
    return Frame(page.kicker, page.title, page.answer, page.introduction, page.facts, sections, page.notes, page.commands)


def _standings(entries: Sequence[Entry], metrics: Sequence[str]) -> str:
    refuse_mixed({entry.name: entry.report.code for entry in entries})
    head = "".join(f'<th scope="col" class="number">{escape(metric_name(metric))}</th>' for metric in metrics)
    best = {metric: max((e.mean(metric).value for e in entries if not e.is_reference), default=0.0) for metric in metrics}
    rows = []
    for entry in entries:
        cells = "".join(_cell(entry.mean(metric), entry, best[metric]) for metric in metrics)
        seconds = "–" if entry.seconds is None else seconds_text(entry.seconds)
        kind = ' class="reference"' if entry.is_reference else ""
        note = " <small>reference</small>" if entry.is_reference else ""
        rows.append(f'<tr{kind}><th scope="row">{escape(entry.name)}{note}</th>{cells}<td class="number">{seconds}</td></tr>')
    head = f'<th scope="col">Model</th>{head}<th scope="col" class="number">Fitted in</th>'
    table = f'<table class="standings"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    said = (
        f"{meanings(metrics)} Beneath each mean stands its 95 % interval: where the mean would lie with other users like these."
    )
    return region(table, label="Standings") + f'<p class="aside">{escape(said)}</p>'


def _cell(mean: Mean, entry: Entry, best: float) -> str:
    value = f"{mean.value:.3f}"
    shown = f"<strong>{value}</strong>" if mean.value == best and not entry.is_reference else value
    return f'<td class="number">{shown}<small>{mean.low:.3f} to {mean.high:.3f}</small></td>'


def _people(page: Page) -> list[Section]:
    if not page.people:
        return []
    cards = "".join(card(person, f"person-{place}") for place, person in enumerate(page.people))
    return [Section("people", "What they would be shown", [f'<div class="people">{cards}</div>'], page.people_words)]
