"""Charts of progress: how several models learned, and what the search for their settings tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from attlas.evaluation.metrics import ERRORS
from attlas.evaluation.naming import metric_name
from attlas.page.charts import PAPER, Chart, figure, label, marker, title, with_legend
from attlas.page.standings import Entry

Look = Mapping[str, str]


def learning_curves(entries: Sequence[Entry], looks: Mapping[str, Look], kept: Mapping[str, int], metric: str) -> Chart:
    """The validation value of several models by epoch, all of which have a curve.

    Args:
        kept: the epoch whose weights were kept, by name; its mark is a ring.
        metric: what was measured on the validation part.
    """
    data = []
    for entry in entries:
        look, number = looks[entry.name], [epoch.number for epoch in entry.curve]
        ring = {"color": [PAPER if each == kept.get(entry.name) else look["color"] for each in number]}
        size = {"size": [12 if each == kept.get(entry.name) else 6 for each in number]}
        data.append(
            {"x": number, "y": [epoch.valid for epoch in entry.curve], "name": label(entry.name), "mode": "lines+markers"}
            | {"line": {"color": look["color"], "width": 2, "dash": look["dash"]}}
            | {"marker": marker(look, 6) | ring | size, "cliponaxis": False}
        )
    layout = with_legend(len(data))
    layout["xaxis"] |= {"title": title("epoch"), "showgrid": False}
    layout["yaxis"] |= {"title": title(f"validation {metric_name(metric)}")}
    valid = {entry.name: {epoch.number: epoch.valid for epoch in entry.curve} for entry in entries}
    epochs = sorted({number for values in valid.values() for number in values})
    rows = [{"epoch": number} | {name: _text(values.get(number)) for name, values in valid.items()} for number in epochs]
    words = f"{metric_name(metric)} on the validation part after each epoch of the trial that won. The ringed epoch was kept."
    return Chart("How those who learn in epochs learned", words, figure(data, layout), ("epoch", *valid), rows, is_wide=True)


def trials(tried: Mapping[str, Sequence[Mapping[str, Any]]], looks: Mapping[str, Look], metric: str) -> Chart:
    """The validation value of every trial and the best so far, by the number of the trial.

    Args:
        tried: the trials of each search by the name of the model, as ``Contender.tried`` has them.
        metric: what was measured on the validation part.
    """
    data: list[dict[str, Any]] = []
    for name, found in tried.items():
        number, best = [each["number"] for each in found], _best_so_far(found, metric)
        line = {"shape": "hv", "color": looks[name]["color"], "width": 2, "dash": looks[name]["dash"]}
        data.append({"x": number, "y": best, "name": label(name), "mode": "lines", "line": line, "legendgroup": label(name)})
        signs = ["x-thin" if each.get("state") == "pruned" else looks[name]["symbol"] for each in found]
        data.append(
            {"x": number, "y": [each.get("value") for each in found], "name": label(name), "mode": "markers"}
            | {
                "marker": marker(looks[name], 6) | {"symbol": signs},
                "legendgroup": label(name),
                "showlegend": False,
                "cliponaxis": False,
            }
        )
    layout = with_legend(len(tried))
    layout["xaxis"] |= {"title": title("trial"), "showgrid": False}
    layout["yaxis"] |= {"title": title(f"validation {metric_name(metric)}")}
    rows = [_trial(name, each) for name, found in tried.items() for each in found]
    words = (
        "Each mark is one trial, a cross one that was stopped early because it was no longer promising; the line is the best "
        "complete trial so far. A line that still moves at its end has not been searched to the end."
    )
    return Chart("What the search tried", words, figure(data, layout), tuple(rows[0]), rows, is_wide=True)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings in one line, those of tables by their full name: ``solver.penalty = 0.1``."""
    said = []
    for name, value in settings.items():
        nested = {f"{name}.{inner}": part for inner, part in value.items()} if isinstance(value, Mapping) else None
        said.append(settings_text(nested) if nested else f"{name} = {_shown(value)}")
    return ", ".join(said)


def _best_so_far(tried: Sequence[Mapping[str, Any]], metric: str) -> list[float | None]:
    best: list[float | None] = []
    better = min if metric in ERRORS else max
    for each in tried:
        value = each.get("value") if each.get("state") == "complete" else None
        known = [*best[-1:], value]
        best.append(better((value for value in known if value is not None and not math.isnan(value)), default=None))
    return best


def _trial(name: str, each: Mapping[str, Any]) -> dict[str, str]:
    seconds = each.get("seconds")
    return {
        "model": name,
        "trial": str(each["number"]),
        "state": str(each.get("state", "")),
        "validation value": _text(each.get("value")),
        "epoch": "" if each.get("epoch") is None else str(each["epoch"]),
        "seconds": "" if seconds is None else f"{seconds:.1f}",
        "settings": settings_text(each.get("settings", {})),
    }


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _text(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"
