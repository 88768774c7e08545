"""What being a stranger costs: NDCG@10 of users held out whole beside that of the same users known to training.

Two fits a model on MovieLens 1M, every rating a choice. Strangers: a tenth of the users is held out whole, four fifths of each
one's rows are given, the rest is ranked. Known: the same held-out rows, ranked by a model that was trained on the given rows
too. The number of epochs of each is chosen on the validation users, who are strangers or known alike; but for DELF, where
fitting hundreds of strangers' vectors after every epoch would take longer than the epochs: it gets those of its config.

What stands in results/strangers.jsonl with the same settings is left out; a fit that was stopped goes on. A line marked void
was disturbed by other processes: its seconds mean nothing, its NDCG does.

ATTLAS_DATA=... python benchmarks/strangers.py ease delf
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
from machine import RESULTS, Spell, data_folder, peak_mib, record

from attlas.data.split import Split
from attlas.errors import ConfigError
from attlas.experiment import Experiment
from attlas.models import MODELS
from attlas.runner import run
from attlas.telling import Terminal
from attlas.trial import together

FITS = Path("runs/strangers")
ASKED = ("ease", "delf", "ials", "itemknn")
# What differs from a model's defaults: settings and, for DELF, epochs that were chosen in configs/*-ml-1m-ncf.toml.
TABLES: dict[str, dict[str, Any]] = {
    "itemknn": {"model": {"neighbours": 50, "target_power": 0.55, "shrink": 0.0, "weighting": "bm25"}},
    "ials": {"model": {"embedding_dim": 192, "l2": 0.007}},
    "delf": {
        "solver": {"batch_size": 8192, "learning_rate": 0.004, "learning_rate_decay": 0.75},
        "training": {"epochs": 6},
    },
}
WITHOUT_VALIDATION = ("delf",)


def splits() -> dict[str, Split]:
    """The same held-out rows twice: of strangers, and of users whose given rows are trained on."""
    data = attlas.read(data_folder() / "ml-1m" / "ratings.csv.gz")
    strangers = attlas.split(data, "held-out-users")
    known = Split(together(strangers.train, strangers.given), strangers.valid, strangers.test, "held-out-users, known")
    return {"strangers": strangers, "known": known}


def settings_of(name: str) -> Experiment:
    """The experiment of one model."""
    tables = TABLES.get(name, {})
    return Experiment.of({**tables, "model": {"name": name, **tables.get("model", {})}, "evaluation": {"k": [10]}})


def told(experiment: Experiment) -> dict[str, Any]:
    """What of the settings bears on the result; the data and their split are the script's."""
    return {name: table for name, table in experiment.to_dict().items() if name in ("model", "solver", "training")}


def measured(name: str, who: str, split: Split, folder: Path) -> dict[str, Any]:
    """The line of one fit; a fit that was stopped goes on."""
    is_begun = (folder / "experiment.json").is_file()
    if name in WITHOUT_VALIDATION:
        split = replace(split, valid=None)
    with Spell() as spell:
        made = run(settings_of(name), data=split, out=folder, resume=is_begun, tell=Terminal())
    (report,) = made.card["reports"]
    return {
        "data": "ml-1m",
        "what": f"{name}: {who}",
        "settings": told(Experiment.of(made.card["experiment"])),
        "ndcg@10": round(report["means"]["ndcg@10"], 5),
        "interval": [round(end, 5) for end in report["intervals"]["ndcg@10"]],
        "ways": report["ways"],
        "users": report["num_users"],
        "epochs": made.card["training"]["epochs"],
        "train_rows": made.card["data"]["train_rows"],
        "resumed": is_begun,
        "fit_and_evaluate": spell.facts(),
        "peak_mib": peak_mib(),
    }


def is_done(name: str, who: str) -> bool:
    """Whether the line of this fit has been written, by these settings."""
    path = RESULTS / "strangers.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    wanted = json.loads(json.dumps(told(settings_of(name))))
    return any(line["what"] == f"{name}: {who}" and line["settings"] == wanted for line in lines)


def main(names: list[str]) -> None:
    """Both lines of each model; without names, of every model asked for that is there."""
    for name in names:
        if name not in MODELS:
            raise ConfigError(f"no model is called {name!r}; known are: {', '.join(MODELS)}")
    parts = splits()
    for name in names or [name for name in ASKED if name in MODELS]:
        for who, split in parts.items():
            if is_done(name, who):
                print(f"{name}, {who}: done before")
                continue
            folder = FITS / f"{name}-{who}"
            record("strangers", [measured(name, who, split, folder)])
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
