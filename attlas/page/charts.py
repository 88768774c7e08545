"""Charts as plotly understands them, each with its words and its numbers for those who do not see it.

A figure is plain data: colours are the page's own CSS variables, which the page fills in for light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.metrics import ERRORS
from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import Mean
from attlas.page.standings import Entry, as_rows, show

NUM_COLOURS = 8
MOST_NAMED = 4  # more names beside their marks would cover one another; a legend has them then
DASHES = ("solid", "dash", "longdash", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "pentagon")
INK, SOFT, LINE, PAPER = "var(--ink)", "var(--soft)", "var(--line)", "var(--card)"


@dataclass(frozen=True)
class Chart:
    """A picture of some numbers.

    Attributes:
        heading: what it shows.
        words: what to look for, one or two sentences.
        figure: ``data`` and ``layout`` of plotly.
        columns, rows: the same numbers as a table.
        is_wide: takes a row of its own.
    """

    heading: str
    words: str
    figure: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    is_wide: bool = False


def intervals(entries: Sequence[Entry], metric: str, *, words: str, digits: int = 3) -> Chart:
    """A dot with its interval for each entry, the best on top."""
    ranked = sorted(entries, key=lambda entry: entry.mean(metric).value, reverse=metric in ERRORS)
    looks = looks_of(entries)
    data = [
        _dot(entry.mean(metric).value, label(entry.name), label(entry.name), looks[entry.name])
        | {"error_x": _whiskers([entry.mean(metric)], looks[entry.name])}
        for entry in ranked
    ]
    layout = blank(max(300, 60 + (48 if len(ranked) <= NUM_COLOURS else 30) * len(ranked)))
    layout["xaxis"] |= {"rangemode": _from(metric), "title": title(metric_name(metric))}
    layout["yaxis"] |= {"showgrid": False, "ticklen": 8, "tickcolor": "rgba(0,0,0,0)", "tickfont": {"size": 14, "color": INK}}
    rows = [{"model": entry.name, metric_name(metric): show(entry.mean(metric), digits)} for entry in reversed(ranked)]
    return Chart(
        f"{metric_name(metric)} and its 95 % interval", words, figure(data, layout), ("model", metric_name(metric)), rows
    )


def learning_curve(entry: Entry, metric: str, *, others: Sequence[Entry] = (), look: dict[str, str], words: str) -> Chart:
    """Loss and validation metric of one entry by epoch; others, which do not learn in epochs, as levels beside them."""
    number = [epoch.number for epoch in entry.curve]
    valid = [epoch.valid for epoch in entry.curve]
    line = {"mode": "lines+markers", "line": {"color": look["color"], "width": 2.5}, "marker": {"size": 6}}
    data: list[dict[str, Any]] = [
        {"x": number, "y": [epoch.loss for epoch in entry.curve], "name": "loss", **line, "yaxis": "y2"},
        {"x": number, "y": valid, "name": f"validation {metric}", **line},
    ]
    measured = [value for value in valid if value is not None]
    layout = blank(380)
    layout["xaxis"] |= {"title": title("epoch"), "anchor": "y", "showgrid": False, "dtick": max(1, len(number) // 8)}
    layout["yaxis"] |= {"domain": [0, 0.56], "title": title(metric_name(metric)), "nticks": 5}
    layout["yaxis2"] = layout["yaxis"] | {"domain": [0.66, 1], "title": title("loss"), "nticks": 4}
    if measured:
        best = valid.index(max(measured))
        ring = {"size": 13, "color": PAPER, "line": {"color": look["color"], "width": 3}}
        data.append({"x": [number[best]], "y": [valid[best]], "mode": "markers", "marker": ring, "name": "kept"})
    levels = [other for other in others if other.valid is not None]
    layout["shapes"] = [_level(other.valid) for other in levels]
    layout["annotations"] = [_level_name(other) for other in levels]
    rows = [
        {"epoch": epoch.number, "loss": _text(epoch.loss), f"validation {metric}": _text(epoch.valid)} for epoch in entry.curve
    ]
    return Chart(
        f"Loss and validation {metric_name(metric)} by epoch", words, figure(data, layout), tuple(rows[0]), rows, is_wide=True
    )


def quality_against_seconds(
    entries: Sequence[Entry],
    metric: str,
    *,
    words: str,
    heading: str = "Quality against time",
    axis: str = "seconds to fit",
    digits: int = 3,
) -> Chart:
    """Each fitted entry's metric by what its fit took."""
    looks = looks_of(entries)
    fitted = [entry for entry in entries if entry.seconds is not None]
    is_crowded = len(fitted) > MOST_NAMED
    data = [
        _dot(entry.seconds, entry.mean(metric).value, label(entry.name), looks[entry.name])
        | {"error_y": _whiskers([entry.mean(metric)], looks[entry.name])}
        | ({} if is_crowded else _named(entry.name))
        for entry in fitted
    ]
    layout = with_legend(len(fitted)) if is_crowded else blank(300)
    layout["margin"] |= {"r": 16 if is_crowded else 72}
    layout["xaxis"] |= _log_axis([entry.seconds for entry in fitted if entry.seconds]) | {"title": title(axis)}
    layout["yaxis"] |= {"rangemode": _from(metric), "title": title(metric_name(metric))}
    columns = ("model", "seconds", metric_name(metric))
    rows = [
        {"model": entry.name, "seconds": f"{entry.seconds:.2f}", metric_name(metric): show(entry.mean(metric), digits)}
        for entry in fitted
    ]
    return Chart(heading, words, figure(data, layout), columns, rows)


def by_group(
    breakdown: Breakdown,
    looks: Mapping[str, dict[str, str]],
    metric: str,
    *,
    heading: str,
    words: str,
    axis: str,
    counted: str,
    digits: int = 3,
) -> Chart:
    """The metric of every entry in every group."""
    data = [
        {"x": breakdown.groups, "y": [mean.value for mean in means], "name": label(name), "mode": "lines+markers"}
        | {"error_y": _whiskers(means, looks[name]), "marker": marker(looks[name], 9)}
        | {"line": {"color": looks[name]["color"], "width": 2, "dash": looks[name]["dash"]}}
        for name, means in breakdown.means.items()
    ]
    layout = with_legend(len(data))
    if len(data) > MOST_NAMED:
        layout |= {"scattermode": "group", "scattergap": 0.4}  # side by side within a group
        data = [trace | {"offsetgroup": trace["name"]} for trace in data]
    layout["xaxis"] |= {"type": "category", "title": title(axis), "showgrid": False}
    layout["yaxis"] |= {"rangemode": _from(metric), "title": title(metric_name(metric))}
    rows = as_rows(breakdown, axis, counted, digits)
    return Chart(heading, words, figure(data, layout), tuple(rows[0]), rows)


def places(
    points: Mapping[str, tuple[Mean, Mean]],
    looks: Mapping[str, dict[str, str]],
    *,
    heading: str,
    words: str,
    axes: tuple[str, str],
) -> Chart:
    """Points with intervals in both directions."""
    data = [
        _dot(across.value, up.value, label(name), looks[name])
        | {"error_x": _whiskers([across], looks[name]), "error_y": _whiskers([up], looks[name])}
        | _named(name)
        for name, (across, up) in points.items()
    ]
    layout = blank(420)
    furthest = max(across.high for across, _ in points.values())
    layout["xaxis"] |= {"title": title(axes[0]), "range": [0, 1.35 * furthest]}  # room for the names
    layout["yaxis"] |= {"title": title(axes[1]), "zeroline": True}
    rows = [{"list": name, axes[1]: show(up), axes[0]: show(across)} for name, (across, up) in points.items()]
    return Chart(heading, words, figure(data, layout), tuple(rows[0]), rows, is_wide=True)


def looks_of(entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """A colour, a symbol and a dash for each name, the same in every chart; references are hollow and dashed.

    From the ninth on colours come again, with other symbols and dashes.
    """
    competing = [entry.name for entry in entries if not entry.is_reference]
    looks = {
        name: {
            "color": f"var(--series-{place % NUM_COLOURS})",
            "symbol": SYMBOLS[(place + place // NUM_COLOURS) % len(SYMBOLS)],
            "dash": DASHES[place // NUM_COLOURS % len(DASHES)],
        }
        for place, name in enumerate(competing)
    }
    hollow = {"color": SOFT, "symbol": "diamond-open", "dash": "dot"}
    return looks | {entry.name: hollow for entry in entries if entry.is_reference}


def with_legend(count: int) -> dict[str, Any]:
    """A layout with so many names above it, which need not be beside their marks."""
    layout = blank(380 + 14 * max(0, count - 4))
    return layout | {"showlegend": True, "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}}


def label(text: str) -> str:
    """Text as plotly shows it literally; it reads some tags."""
    return html.escape(text, quote=False)


def marker(look: Mapping[str, str], size: int) -> dict[str, Any]:
    """A filled mark in the colour and symbol of a look."""
    return {"size": size, "color": look["color"], "symbol": look["symbol"], "line": {"width": 2, "color": look["color"]}}


def blank(height: int) -> dict[str, Any]:
    """An empty layout of so many pixels, in the page's colours."""
    axis = {
        "gridcolor": LINE,
        "linecolor": LINE,
        "zeroline": False,
        "zerolinecolor": SOFT,
        "automargin": True,
        "hoverformat": ".3~f",
    }
    return {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 16, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": SOFT, "size": 13, "family": "var(--text)"},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": LINE, "font": {"color": INK}},
        "showlegend": False,
        "dragmode": False,
        "xaxis": dict(axis),
        "yaxis": dict(axis),
    }


def title(text: str) -> dict[str, Any]:
    """What stands beside an axis."""
    return {"text": text, "font": {"size": 13}, "standoff": 12}


def figure(data: list[dict[str, Any]], layout: dict[str, Any]) -> dict[str, Any]:
    """Traces and their layout as plotly takes them."""
    return {"data": [{"type": "scatter"} | trace for trace in data], "layout": layout}


def _named(name: str) -> dict[str, Any]:
    """A mark with its name to the right of it."""
    beside = {"mode": "markers+text", "text": [f"  {label(name)}"], "textposition": "middle right"}
    return beside | {"textfont": {"color": INK, "size": 13}, "cliponaxis": False}


def _dot(x: Any, y: Any, name: str, look: Mapping[str, str]) -> dict[str, Any]:
    return {"x": [x], "y": [y], "name": name, "mode": "markers", "marker": marker(look, 11)}


def _from(metric: str) -> str:
    """Where an axis begins: at zero, but for errors, of which none comes near it."""
    return "normal" if metric in ERRORS else "tozero"


def _whiskers(means: Sequence[Mean], look: Mapping[str, str]) -> dict[str, Any]:
    above = [mean.high - mean.value for mean in means]
    below = [mean.value - mean.low for mean in means]
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    return bars | {"color": look["color"], "thickness": 2.5, "width": 0}


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Ticks at powers of ten, or at 1, 2 and 5 times them where fewer than two would be seen."""
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    if sum(min(values) <= 10.0**power <= max(values) for power in powers) > 1:
        return {"type": "log", "dtick": 1}
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _level(value: float | None) -> dict[str, Any]:
    line = {"color": SOFT, "width": 1.5, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": value, "y1": value, "line": line}


def _level_name(entry: Entry) -> dict[str, Any]:
    place = {"xref": "paper", "x": 1, "xanchor": "right", "yref": "y", "y": entry.valid, "yanchor": "bottom"}
    return place | {"text": label(entry.name), "showarrow": False, "font": {"color": SOFT, "size": 12}}


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
