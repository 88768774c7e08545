"""What it does to test figures to leave the target out of histories in training: remove, matched, keep.

Three fits a model and data set with equal settings, the number of epochs of each chosen on the validation part, training and
validation then learnt together. HR@10 and NDCG@10 against the given candidates, over all test rows, over warm ones and over
cold ones, whose item has no training row. Under ``remove`` a length may tell the label, and what is cold may then come first.

What stands in results/leave_out.jsonl with the same settings is left out; a fit that was stopped goes on. A line marked void
was disturbed by other processes: its seconds mean nothing, its figures do.

ATTLAS_DATA=... python benchmarks/leave_out.py dacr deepcf delf [--on amusic-ncf lastfm-ncf] [--epochs 20] [--seeds 1 2 3]
                                               [--set model.dropout=0.2 ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
import numpy as np
from machine import RESULTS, Spell, data_folder, peak_mib, record

from attlas.data.inputs import LeaveOut
from attlas.data.split import Split, read_split
from attlas.errors import ConfigError
from attlas.experiment import Experiment
from attlas.models import model_class
from attlas.recommender import Recommender
from attlas.runner import run
from attlas.telling import Terminal

FITS = Path("runs/leave-out")
WAYS: tuple[LeaveOut, ...] = get_args(LeaveOut)
VALIDATION = "leave-random-out"
PROTOCOL, METRICS = "ncf", ("hr@10", "ndcg@10")


def settings_of(name: str, way: LeaveOut, seed: int, epochs: int, further: Sequence[str]) -> Experiment:
    """The experiment of one fit.

    Args:
        further: settings as ``model.dropout=0.2``.

    Raises:
        ConfigError: the model does not leave anything out, or a setting does not fit.
    """
    if "leave_out" not in {field.name for field in dataclasses.fields(model_class(name).Config)}:  # type: ignore[attr-defined]
        raise ConfigError(f"{name} has no setting leave_out; name a model that reads histories, such as dacr")
    tables: dict[str, dict[str, Any]] = {"model": {}, "solver": {}, "training": {"patience": 5}}
    for setting in further:
        place, _, value = setting.partition("=")
        table, _, key = place.partition(".")
        if table not in tables:
            raise ConfigError(f"--set {setting} is of no table that a fit has; name one of {', '.join(tables)}")
        tables[table][key] = tomllib.loads(f"value = {value}")["value"]
    tables["model"] |= {"name": name, "leave_out": way}
    tables["training"] |= {"epochs": epochs, "refit": True, "seed": seed}
    return Experiment.of({**tables, "evaluation": {"protocol": [PROTOCOL], "k": [10], "beyond": False}})


def told(experiment: Experiment) -> dict[str, Any]:
    """What of the settings bears on the result; the data and their split are the script's."""
    return {name: table for name, table in experiment.to_dict().items() if name in ("model", "solver", "training")}


def figures(made: Recommender, split: Split) -> dict[str, dict[str, Any]]:
    """The metrics over all, warm and cold test rows, each with the number of its rows; no metrics where there are none."""
    assert split.candidates is not None
    is_warm = np.diff(made.inputs.train.by_item.indptr)[split.test.item] > 0
    found: dict[str, dict[str, Any]] = {}
    for called, rows in {"all": np.ones_like(is_warm), "warm": is_warm, "cold": ~is_warm}.items():
        found[called] = {"rows": int(rows.sum())}
        if rows.any():
            part = replace(split, test=split.test.take(rows), candidates=split.candidates[rows])
            report = attlas.evaluate(made.scorer, part, PROTOCOL, k=10)
            found[called] |= {metric: round(report.mean(metric), 5) for metric in METRICS}
    return found


def measured(data: str, split: Split, experiment: Experiment, folder: Path) -> dict[str, Any]:
    """The line of one fit; a fit that was stopped goes on."""
    is_begun = (folder / "experiment.json").is_file()
    with Spell() as spell:
        made = run(experiment, data=split, out=folder, resume=is_begun, tell=Terminal())
    return {
        "data": data,
        "what": f"{experiment.model['name']}: {experiment.model['leave_out']}",
        "settings": told(experiment),
        "protocol": PROTOCOL,
        "figures": figures(made, split),
        "valid": made.card["training"]["valid"],
        "epochs": made.card["training"]["epochs"],
        "resumed": is_begun,
        "fit_and_evaluate": spell.facts(),
        "peak_mib": peak_mib(),
    }


def is_done(data: str, experiment: Experiment) -> bool:
    """Whether the line of this fit has been written, by these settings."""
    path = RESULTS / "leave_out.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    wanted = json.loads(json.dumps(told(experiment)))
    return any(line["data"] == data and line["settings"] == wanted for line in lines)


def main() -> None:
    """The lines that were asked for and are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--on", nargs="+", default=["amusic-ncf", "lastfm-ncf"], metavar="SET")
    parser.add_argument("--epochs", type=int, default=20, help="at most so many")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", nargs="+", default=[], metavar="TABLE.NAME=VALUE", dest="further")
    words = parser.parse_args()
    asked = [
        settings_of(name, way, seed, words.epochs, words.further)
        for seed in words.seeds
        for name in words.models
        for way in WAYS
    ]
    for data in words.on:
        split = read_split(data_folder() / data, validation=VALIDATION)
        for experiment in asked:
            called = f"{experiment.model['name']}-{experiment.model['leave_out']}-{experiment.training.seed}"
            if is_done(data, experiment):
                print(f"{data}, {called}: done before")
                continue
            folder = FITS / f"{data}-{called}"
            record("leave_out", [measured(data, split, experiment, folder)])
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
