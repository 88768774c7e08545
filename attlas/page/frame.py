"""The frame of every page: what stands above, sections of charts and tables, how it was measured; one file, no network."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from attlas.errors import MissingExtra, require
from attlas.page.charts import Chart
from attlas.training.checkpoint import write_whole


@dataclass(frozen=True)
class Section:
    """A part of a page under one heading.

    Attributes:
        name: unique on its page, the target of links.
        heading: what people read above it.
        parts: charts, and HTML whose text is escaped already; charts that follow one another stand side by side.
        words: a sentence or two below the heading; "" for none.
    """

    name: str
    heading: str
    parts: Sequence[Chart | str]
    words: str = ""


@dataclass(frozen=True)
class Frame:
    """A whole page.

    Attributes:
        kicker, title, answer: above everything; the answer is the one sentence to remember.
        introduction: paragraphs in plain words.
        facts: a few figures by their names.
        sections: from top to bottom; the first is called ``standings`` and holds the numbers.
        notes: how it was measured, name by name.
        commands: to reproduce it and to go on, each with what it does; perhaps none.
    """

    kicker: str
    title: str
    answer: str
    introduction: Sequence[str]
    facts: Mapping[str, str]
    sections: Sequence[Section]
    notes: Mapping[str, str]
    commands: Mapping[str, str]


def write_frame(frame: Frame, path: Path) -> list[str]:
    """Write a page as one HTML file that asks the network for nothing.

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
    write_whole(path, render_frame(frame, library=library, missing=missing).encode())
    return missing


def render_frame(frame: Frame, *, library: str = "", missing: Sequence[str] = ()) -> str:
    """A page as HTML.

    Args:
        library: the script that draws charts; "" leaves them out and opens their tables.
        missing: what to say about it.
    """
    charts = [part for section in frame.sections for part in section.parts if isinstance(part, Chart)]
    figures = {f"chart-{place}": chart.figure for place, chart in enumerate(charts)} if library else {}
    scripts = [text.replace("\r\n", "\n") for text in (library, _file("page.js"))] if library else []
    ids = iter(range(len(charts)))
    return Template(_file("page.html")).substitute(
        policy=_policy(scripts),
        style=_file("page.css"),
        title=escape(frame.title),
        kicker=escape(frame.kicker),
        answer=escape(frame.answer),
        introduction="".join(f"<p>{escape(text)}</p>" for text in frame.introduction),
        facts=terms(frame.facts),
        missing="".join(f'<p class="missing" role="note">{escape(text)}</p>' for text in missing),
        sections="\n".join(_section(section, ids, drawn=bool(library)) for section in frame.sections),
        notes=terms(frame.notes),
        commands=_commands(frame.commands),
        figures=_json(figures),
        scripts="".join(f"<script>{text}</script>\n" for text in scripts),
    )


def terms(said: Mapping[str, str]) -> str:
    """Names and what is said of each, for a ``dl``."""
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in said.items())


def plain_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, label: str) -> str:
    """A table of text that scrolls inside its own region; the first column names the row.

    Args:
        label: what the table holds, for those who do not see it.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    first, *others = columns
    body = "".join(
        f'<tr><th scope="row">{escape(str(row[first]))}</th>'
        + "".join(f"<td>{escape(str(row[column]))}</td>" for column in others)
        + "</tr>"
        for row in rows
    )
    return region(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", label=label)


def region(table: str, *, label: str) -> str:
    """A table in a region that scrolls sideways by itself, by keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'


def _commands(commands: Mapping[str, str]) -> str:
    """What can be typed next, each with what it does, under a heading; nothing at all where there is nothing."""
    said = "".join(f"<li><span>{escape(what)}</span> <code>{escape(command)}</code></li>" for command, what in commands.items())
    return f'<h3>Do it again, and go on</h3>\n<ul class="commands">{said}</ul>' if said else ""


def _file(name: str) -> str:
    return files("attlas.page").joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Only the page's own scripts may run, and nothing may be fetched."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in; a nan, which JSON does not have, is null."""
    return json.dumps(_defined(value)).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _defined(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _defined(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _section(section: Section, ids: Iterator[int], *, drawn: bool) -> str:
    words = f'<p class="words">{escape(section.words)}</p>' if section.words else ""
    body = ""
    for is_chart, parts in groupby(section.parts, key=lambda part: isinstance(part, Chart)):
        shown = "".join(_chart(part, f"chart-{next(ids)}", drawn=drawn) if isinstance(part, Chart) else part for part in parts)
        body += f'<div class="charts">{shown}</div>' if is_chart else shown
    head = f'<h2 id="{section.name}">{escape(section.heading)}</h2>{words}'
    return f'<section aria-labelledby="{section.name}">{head}{body}</section>'


def _chart(chart: Chart, name: str, *, drawn: bool) -> str:
    height = chart.figure["layout"]["height"]
    alt = escape(f"Chart: {chart.heading}. {chart.words} Its numbers stand in the table below it.")
    picture = (
        f'<div id="{name}" class="chart" role="img" aria-label="{alt}" style="min-height:{height}px"></div>' if drawn else ""
    )
    numbers = plain_table(chart.columns, chart.rows, label=f"Numbers of {chart.heading}")
    return (
        f'<figure class="card{" wide" if chart.is_wide else ""}"><figcaption><h3>{escape(chart.heading)}</h3>'
        f"<p>{escape(chart.words)}</p></figcaption>{picture}"
        f"<details{'' if drawn else ' open'}><summary>The numbers</summary>{numbers}</details></figure>"
    )
