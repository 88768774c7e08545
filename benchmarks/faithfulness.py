"""Are explanations true? Weights of history entries against what happens when the entries are taken out.

Of each run folder, or of each model fitted on a data set by its defaults, the best recommendation of some users is explained,
and each entry of their histories is really taken out. One line a model goes into results/faithfulness.jsonl, from which
`docs/results.md` is made; a line that stands there for the same model, data, number of users and seed is not measured again.

The data set is cut as leave-last-out, every row a choice but for models of ratings; settings that differ from the defaults
stand below. Fitting vectors anew is dear: models that are asked so get the users of ``--fitted``.

    ATTLAS_DATA=... python benchmarks/faithfulness.py --data ml-100k/u.data.gz ease nais [--users 200] [--fitted 20]
    python benchmarks/faithfulness.py runs/delf runs/ease
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
from machine import RESULTS, Spell, data_folder, peak_mib, record

from attlas.counterfactual import way_of_counterfactuals
from attlas.faithfulness import faithfulness
from attlas.models import MODELS, model_class
from attlas.models.protocol import reads_history, task_of
from attlas.recommender import Recommender, load
from attlas.strangers import FITTED
from attlas.telling import Terminal

SEED = 1
# What differs from a model's defaults: larger steps, and patience chooses the epochs.
USUAL: dict[str, Any] = {"solver": {"learning_rate": 0.003, "batch_size": 4096}, "epochs": 15, "patience": 3}
OWN_SOLVER: dict[str, Any] = {"epochs": 15, "patience": 3}


def fitted(name: str, data: str) -> Recommender:
    """A model on all choices of a table, or on its ratings where that is what it learns from."""
    told: dict[str, Any] = OWN_SOLVER if getattr(model_class(name), "Solvers", {}) else USUAL
    made = attlas.fit(attlas.read(data_folder() / data), name, split="leave-last-out", **told, seed=SEED)
    assert isinstance(made, Recommender)
    return made


def asked_of(name: str, users: int, few: int) -> int:
    """How many users a model is asked about: few where each entry of each history costs a fit, or where ratings are learned."""
    chosen = model_class(name)
    return few if way_of_counterfactuals(chosen) == FITTED or task_of(chosen) == "rating" else users


def measured(made: Recommender, data: str, count: int) -> dict[str, Any]:
    """The line of one model, of so many users."""
    with Spell() as spell:
        report = faithfulness(made, users=count, seed=SEED, tell=Terminal())
    print(report.sentence(), file=sys.stderr)
    return {
        "what": f"{report.model}: {report.method} against counterfactuals",
        "data": data,
        "asked": count,
        "report": report.to_dict(),
        "fit": {name: made.card.get(name) for name in ("model", "training")},
        "measure": spell.facts(),
        "peak_mib": peak_mib(),
    }


def is_done(name: str, data: str, count: int) -> bool:
    """Whether the line of this model, data and number of users has been written."""
    path = RESULTS / "faithfulness.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = [(line["data"], line["report"]["model"], line["asked"], line["report"]["seed"]) for line in lines]
    return (data, name, count, SEED) in done


def main() -> None:
    """A line for each run, or each model on the data."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", help="run folders; with --data models, all that score from a history by default")
    words.add_argument("--data", help="a file in the folder that ATTLAS_DATA names")
    words.add_argument("--users", type=int, default=200)
    words.add_argument("--fitted", type=int, default=20, help="users of models whose vectors are fitted anew, or of ratings")
    asked = words.parse_args()
    for name in asked.names or [name for name in MODELS if asked.data and reads_history(model_class(name))]:
        data = asked.data or "/".join(Path(load(name).card["data"]["source"]).parts[-2:])
        model = name if asked.data else load(name).card["model"]["name"]
        count = asked_of(model, asked.users, asked.fitted)
        if is_done(model, data, count):
            print(f"{model} on {data}: done before")
            continue
        made = fitted(name, asked.data) if asked.data else load(name)
        record("faithfulness", [measured(made, data, count)])


if __name__ == "__main__":
    main()
