"""docs/results.md from what was measured; no number of it is written by hand.

``python benchmarks/quality.py --page`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from results_beside import faithful, strangers
from results_table import joined, table

from attlas.evaluation.metrics import ERRORS
from attlas.evaluation.naming import metric_name
from attlas.evaluation.protocols import PROTOCOLS
from attlas.models import MODELS

PREDICTED = {
    "rating": "Every held-out rating is predicted (`rating`).",
    "label": "The label of every held-out row is predicted (`label`).",
    "target": "Every held-out row is predicted, +1 for label 1 and -1 for label 0, and clamped to that (`target`).",
}
Tables = Mapping[str, Any]

INTRODUCTION = """# Results

<!-- written by `make results`; what is changed here by hand is lost -->

What the models of attlas reach on public data, beside what was published. All result tables on public data are here.

```sh
make results                            # all cells that have changed since
make results ONLY=lastfm-ncf/ease       # one
```

`ATTLAS_DATA` names the folder with the data. What is asked for stands in `benchmarks/quality/`, one file a set; each cell of a
table is a file in `benchmarks/results/quality/`, with all its trials. Settings are chosen on the validation part, then the
model is trained on training and validation together, with several seeds where anything is drawn at random, and measured once
on the test part.

- *Ours* is the mean over users and seeds ± the standard deviation over seeds; without a ± there is one seed: nothing
  is random, or the time was over. The interval over users is in the cell's file and is mostly wider.
- *Difference* is ours less the published figure. † marks a figure measured under other conditions: no difference is taken.
- *Seconds* are those of all trials together and of one fit with the settings that won.
- Where a published figure is missed, all trials stand below it. What each reaches on the test part is measured when all is
  decided, by `python benchmarks/quality.py --trials`: fitted as the winner was, with the first seed. Nothing is chosen by it.
"""


def make_page(sets: Mapping[str, Tables], cells: Mapping[str, Tables]) -> str:
    """The whole page.

    Args:
        sets: the tables of each ``benchmarks/quality/SET.toml`` by its name.
        cells: what stands in ``benchmarks/results/quality/SET/MODEL.json``, by ``SET/MODEL``.
    """
    parts = [INTRODUCTION]
    for name, tables in sets.items():
        if "not_run" not in tables:
            own = {model: cells[f"{name}/{model}"] for model in tables["compare"]["models"] if f"{name}/{model}" in cells}
            parts += one_set(name, tables, own)
    absent = [
        f"- **{tables['title']}** (`{name}`): not run: {tables['not_run']}."
        for name, tables in sets.items()
        if "not_run" in tables
    ]
    parts.append("## Sets that were not run\n\n" + "\n".join(absent) + "\n" if absent else "")
    parts += strangers() + faithful() + made_with(cells.values())
    return "\n".join(part.strip("\n") + "\n" for part in parts if part)


def one_set(name: str, tables: Tables, cells: Mapping[str, Tables]) -> list[str]:
    """The section of one data set."""
    measured = {model: cell for model, cell in cells.items() if "figures" in cell}
    compare = tables["compare"]
    asked = f"At most {compare['trials']} trials and {compare['minutes']} minutes a model, {compare['seeds']} seeds"
    asked += f"; chosen on validation by {metric_name(tables['training']['metric'])}."
    said = (asked, facts_of(measured), meanings(tables))
    parts = [f"## {tables['title']}", " ".join(filter(None, said))]
    if measured or "published" in tables:
        parts.append(table_of(name, tables, measured))
    parts += [verdict_on(model, tables, cell) for model, cell in measured.items()]
    parts += [not_run(compare["models"], cells), tables["page"].get("notes", "").strip(), sources(tables)]
    return [part for part in (*parts, *map(aside, tables.get("aside", ()))) if part]


def facts_of(measured: Mapping[str, Tables]) -> str:
    """What was split how, of the first cell."""
    first = next(iter(measured.values()), None)
    if first is None:
        return ""
    users = first["users"]
    return f"Split `{first['split']}`, {first.get('measured') or f'{users:,} test users'}."


def meanings(tables: Tables) -> str:
    """What is ranked against what."""
    known = [PROTOCOLS[code] for code in tables["evaluation"]["protocol"] if code in PROTOCOLS]
    if not known:
        return " ".join(PREDICTED[code] for code in tables["evaluation"]["protocol"])
    return "Ranked against: " + "; ".join(f"{protocol.meaning} (`{protocol.code}`)" for protocol in known) + "."


def not_run(models: Iterable[str], cells: Mapping[str, Tables]) -> str:
    """The models without figures, by the reason."""
    reasons: dict[str, list[str]] = {}
    for model in models:
        if "figures" not in cells.get(model, {}):
            reasons.setdefault(cells.get(model, {}).get("not_run", "not measured yet"), []).append(called(model))
    return "\n".join(f"- {', '.join(names)}: not run: {reason}" for reason, names in reasons.items())


def called(model: str) -> str:
    """What a model, or an entry under a name of its own, is called on the page."""
    return MODELS.get(model, model)


def table_of(name: str, tables: Tables, measured: Mapping[str, Tables]) -> str:
    """One row a model."""
    metrics, codes = tables["page"]["metrics"], tables["evaluation"]["protocol"]
    columns = ["model", f"published, `{codes[0]}`", f"ours, `{codes[0]}`", "difference"]
    columns += [f"ours, `{code}`" for code in codes[1:]] + ["seconds", "peak MiB", "trials"]
    rows = []
    for model in tables["compare"]["models"]:
        published, cell = tables.get("published", {}).get(model, {}), measured.get(model)
        mark = "†" if "differs" in published else ""
        theirs = (joined(f"{published[metric]:.4f}" for metric in metrics) if published else "") + mark
        if cell is None:
            rows.append([called(model), theirs, "not run", *[""] * (len(columns) - 3)])
            continue
        ours = [joined(mean_of(cell["figures"][code][metric]) for metric in metrics) for code in codes]
        is_alike = published and not mark
        off = joined(f"{difference(cell, codes[0], metric, published):+.4f}" for metric in metrics) if is_alike else ""
        seconds = f"{cell['search_seconds']:,.1f} + {cell['fit_seconds']:,.2f}"
        trials = f"[{trials_of(cell)}](../benchmarks/results/quality/{name}/{model}.json)"
        rows.append([called(model), theirs, ours[0], off, *ours[1:], seconds, f"{cell['peak_mib']:,}", trials])
    return f"{joined(metric_name(metric) for metric in metrics)}:\n\n{table(columns, rows)}"


def mean_of(figure: Tables) -> str:
    """``0.4511 ± 0.0002``."""
    return f"{figure['mean']:.4f}" + ("" if figure["spread"] is None else f" ± {figure['spread']:.4f}")


def difference(cell: Tables, code: str, metric: str, published: Tables) -> float:
    """Ours less theirs, both with the four digits that are printed."""
    return round(round(cell["figures"][code][metric]["mean"], 4) - published[metric], 4)


def trials_of(cell: Tables) -> str:
    """How many, and how many of them were not finished."""
    states = [trial["state"] for trial in cell["tried"]]
    aside = [f"{states.count(state)} {state}" for state in ("pruned", "failed") if state in states]
    return f"{len(states)}" + (f" ({', '.join(aside)})" if aside else "")


def verdict_on(model: str, tables: Tables, cell: Tables) -> str:
    """A sentence on what was published and what is missed; with the trials behind it where something is."""
    published = tables.get("published", {}).get(model)
    if not published:
        return ""
    name, code = called(model), tables["evaluation"]["protocol"][0]
    if "differs" in published:
        return f"{name}†: the published figure does not compare: {published['differs']}."
    off = missed(model, tables, cell)
    if not off:
        return f"{name} reaches what was published."
    said = " and ".join(
        f"{metric_name(metric)} by {value:.4f}{within(cell['figures'][code][metric], value)}" for metric, value in off.items()
    )
    best = f"The best of {trials_of(cell)} trials has {cell['valid']['metric']} {cell['valid']['value']:.4f} on validation"
    return f"{name} **misses** {said}. {best}{published_trial(model, tables, cell)}.\n\n{tried(tables, cell)}"


def missed(model: str, tables: Tables, cell: Tables) -> dict[str, float]:
    """By how much each metric of the page that stays behind what was published does so; empty if nothing compares."""
    published, code = tables.get("published", {}).get(model, {}), tables["evaluation"]["protocol"][0]
    if not published or "differs" in published:
        return {}
    off = {metric: difference(cell, code, metric, published) for metric in tables["page"]["metrics"]}
    return {metric: abs(value) for metric, value in off.items() if (value > 0 if metric in ERRORS else value < 0)}


def within(figure: Tables, value: float) -> str:
    """Whether a miss is as small as the scatter of our own seeds."""
    return ", less than our seeds scatter" if figure["spread"] is not None and value <= figure["spread"] else ""


def published_trial(model: str, tables: Tables, cell: Tables) -> str:
    """What became of the settings that were published."""
    if model not in tables.get("settings", {}):
        return "; no published settings are known"
    number = cell["published_trial"]
    return "; the published settings were not tried" if number is None else f"; trial {number} has the published settings"


def tried(tables: Tables, cell: Tables) -> str:
    """All trials of a cell, folded."""
    metrics = tables["page"]["metrics"]
    of_test = f"test {joined(map(metric_name, metrics))}"
    columns = ["trial", "settings", f"validation {cell['valid']['metric']}", of_test, "state"]
    rows = [
        [
            str(trial["number"]),
            ", ".join(
                f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
                for name, value in trial["settings"].items()
            ),
            "" if trial["value"] is None else f"{trial['value']:.4f}",
            on_test(trial, metrics),
            trial["state"],
        ]
        for trial in cell["tried"]
    ]
    return f"<details><summary>The trials of {called(cell['model'])}</summary>\n\n{table(columns, rows)}\n\n</details>"


def on_test(trial: Tables, metrics: Iterable[str]) -> str:
    """What a trial reaches on the test part; nothing where it failed."""
    if trial["value"] is None:
        return ""
    found = trial.get("test", {})
    return joined(f"{found[metric]:.4f}" for metric in metrics) if set(metrics) <= set(found) else "not measured"


def sources(tables: Tables) -> str:
    """Where the published figures and settings are from."""
    figures = [f"- {called(model)}: {facts['from']}" for model, facts in tables.get("published", {}).items()]
    settings = [f"- settings of {called(model)}: {facts['from']}" for model, facts in tables.get("settings", {}).items()]
    return "Published by:\n\n" + "\n".join(figures + settings) if figures or settings else ""


def aside(each: Tables) -> str:
    """Published figures that compare with nothing of ours."""
    rows = [[name, *values] for name, values in each["rows"].items()]
    return f"### {each['title']}\n\n{each['from']}.\n\n{table(['', *each['columns']], rows)}\n\n{each['notes'].strip()}"


def made_with(cells: Iterable[Tables]) -> list[str]:
    """Machine and versions, each once."""
    measured = [cell for cell in cells if "figures" in cell]
    if not measured:
        return []
    machines = sorted({cell["machine"] for cell in measured})
    versions = sorted({", ".join(f"{name} {version}" for name, version in cell["versions"].items()) for cell in measured})
    return ["## Made with", "\n".join(f"- {line}" for line in [*machines, *versions])]
