"""The sections of docs/results.md that are not about how well models recommend: strangers, and whether reasons are true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results_table import joined, table

from attlas.models import MODELS, model_class
from attlas.models.protocol import reads_history

STRANGERS = Path(__file__).parent / "results/strangers.jsonl"
FAITHFULNESS = Path(__file__).parent / "results/faithfulness.jsonl"
Tables = Mapping[str, Any]

FAITHFUL = """`benchmarks/faithfulness.py`: the best recommendation of each of some users drawn at random. *Agreement* is
Spearman's rank correlation of an explanation's weights with the fall of the score without each entry, and its 95 % interval
over users. *Deletion* is the mean fall while entries go, the heaviest first, in standard deviations of the user's scores: by
the model's own weights / by the falls themselves / by popularity / at random. Models of a data set were fitted by the script
with settings near their defaults, not tuned: these figures say nothing of how well they recommend. What the figures mean
stands in [how to say why](how-to/explain.md#are-these-reasons-true)."""


def strangers() -> list[str]:
    """The section on users who were held out whole, from the last run of benchmarks/strangers.py for each model."""
    if not STRANGERS.exists():
        return []
    last = {line["what"]: line for line in map(json.loads, STRANGERS.read_text().splitlines())}
    rows = []
    for model in MODELS:
        lines = [last.get(f"{model}: {way}") for way in ("strangers", "known")]
        if all(lines):
            strange, known = (
                f"{line['ndcg@10']:.4f} ({line['interval'][0]:.4f} to {line['interval'][1]:.4f})" for line in lines if line
            )
            rows.append([MODELS[model], strange, ", ".join(lines[0]["ways"]) if lines[0] else "", known])
    if not rows:
        return []
    users, source = (next(iter(last.values()))[name] for name in ("users", "data"))
    said = f"`benchmarks/strangers.py` on {source}, {users:,} test users, one seed: NDCG@10 under `full` and its 95 % interval."
    return ["## Users held out whole", said, table(["model", "as strangers", "way", "known"], rows)]


def faithful() -> list[str]:
    """The section on explanations, from the last line of benchmarks/faithfulness.py for each data set and model."""
    lines = [json.loads(line) for line in FAITHFULNESS.read_text().splitlines()] if FAITHFULNESS.exists() else []
    last = {(line["data"], line["report"]["model"]): line for line in lines}
    parts = [
        "## Do explanations agree with what removing their reasons does?",
        FAITHFUL,
    ]
    for data in dict.fromkeys(line["data"] for line in lines):
        rows = [_faithful_row(model, last.get((data, model))) for model in MODELS if reads_history(model_class(model))]
        columns = ["model", "weights", "users", "agreement", "popularity", "random", "deletion"]
        parts += [f"On {data}:", table(columns, rows)]
        warned = [last[data, model]["report"] for model in MODELS if (data, model) in last]
        parts.append("\n".join(f"- {report['sentence']}" for report in warned if not report["agrees"]))
    return [part for part in [*parts, "" if lines else "Not run."] if part]


def _faithful_row(model: str, line: Tables | None) -> list[str]:
    if line is None:
        return [MODELS[model], "not run", *[""] * 5]
    report = line["report"]
    own, *beside = (report["agreement"][order] for order in ("own", "popularity", "random"))
    figure = "1 by definition" if report["method"] == "counterfactual" else _spanned(own)
    orders = ("own", "exact", "popularity", "random")
    areas = joined(f"{report['deletion'][order]['value']:.2f}" for order in orders)
    return [
        MODELS[model],
        report["method"],
        f"{report['users']:,}",
        figure,
        *(f"{each['value']:.2f}" for each in beside),
        areas,
    ]


def _spanned(figure: Tables) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"
