"""AIMF beside biased MF: how long an epoch takes, and how far predicted ratings are off.

    ATTLAS_DATA=... python benchmarks/aimf.py epoch
    ATTLAS_DATA=... python benchmarks/aimf.py errors [ml-100k ml-latest-small ml-1m] [--trials 20] [--seeds 5]

``epoch``: ml-1m at D = 64, each variant in turn, the quickest of three after one that compiles. ``errors``: the settings of
AIMF and of biased MF are searched with as many trials each, on the validation part of the first split; then every seed has a
split of its own, 80/10/10 at random. Ablations have the settings that AIMF won with. SVD++ and NMF come from scikit-surprise
where it is installed (in an environment of its own), with its defaults, fitted on the same rows.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record
from scipy.stats import t

from attlas.data.inputs import Inputs
from attlas.data.split import Split
from attlas.evaluation.metrics import mae, rmse
from attlas.experiment import Experiment
from attlas.loading import load_split
from attlas.models.aimf import AIMF
from attlas.models.biased_mf import BiasedMF
from attlas.search.search import search
from attlas.telling import Teller
from attlas.training.fit import Descent
from attlas.training.whole import Ratings
from attlas.trial import Trial

SOURCES = {"ml-100k": "ml-100k/u.data.gz", "ml-latest-small": "ml-latest-small/ratings.csv.gz", "ml-1m": "ml-1m/ratings.csv.gz"}
RUNS = Path("runs/aimf")
START: tuple[dict[str, Any], dict[str, Any]] = (
    {"neighbours": 1024},
    {"learning_rate": 0.003, "learning_rate_decay": 0.9},
)  # of AIMF's first trial
EPOCHS = {
    "aimf": {},
    "aimf by windows": {"correlation": "windows"},
    "slide alone": {"explicit": 0.0},
    "self-attention alone": {"implicit": 0.0},
    "1,024 neighbours": {"neighbours": 1024},
    "self-attention on all": {"implicit": 0.0, "neighbours": None},
    "neither": {"implicit": 0.0, "explicit": 0.0},
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "no slide-attention": {"implicit": 0.0},
    "no self-attention": {"explicit": 0.0},
    "neither": {"implicit": 0.0, "explicit": 0.0},
    "as printed": {"value": "literal"},
    "gate": {"value": "gate"},
    "random start": {"start": "random"},
}


def experiment(name: str, data: str, model: dict[str, Any], solver: dict[str, Any], seed: int = 1) -> Experiment:
    """The settings of one fit; the seed draws the split too."""
    tables = {
        "data": {"source": str(data_folder() / SOURCES[data]), "split": "global-ratio", "seed": seed},
        "model": {"name": name, **model},
        "solver": solver,
        "training": {"epochs": 100, "patience": 5, "seed": seed},
    }
    return Experiment.of(tables)


def one_epoch(inputs: Inputs, settings: dict[str, Any]) -> Spell:
    """An epoch of AIMF by Adam after one batch that compiles; the start is not counted."""
    torch.manual_seed(1)
    model = AIMF(inputs.sizes, AIMF.Config(embedding_dim=64, **settings))
    model.begin(inputs)
    with Spell() as spell:
        Descent(model, Ratings()).epoch(model, inputs, np.random.default_rng(1))
    return spell


def sgd_epoch(inputs: Inputs) -> Spell:
    """An epoch of biased MF by its own solver."""
    model, solver = BiasedMF(inputs.sizes, BiasedMF.Config(embedding_dim=64)), BiasedMF.SGD()
    model.begin(inputs)
    with Spell() as spell:
        solver.epoch(model, inputs, np.random.default_rng(1))
    return spell


def epochs() -> list[dict[str, Any]]:
    """One line: every variant's quickest epoch, and by how much each is slower than biased MF by Adam."""
    split, _ = load_split(experiment("aimf", "ml-1m", {}, {}).data)
    inputs = Inputs(split.train)
    spells: dict[str, list[Spell]] = {}
    for _ in range(4):
        for name, settings in EPOCHS.items():
            spells.setdefault(name, []).append(one_epoch(inputs, settings))
        spells.setdefault("biased_mf by sgd", []).append(sgd_epoch(inputs))
    best = {name: min(found[1:], key=lambda spell: spell.wall) for name, found in spells.items()}
    line: dict[str, Any] = {"data": "ml-1m", "what": "an epoch of AIMF, D = 64", "ratings": len(split.train)}
    line |= {name: spell.facts() for name, spell in best.items()}
    plain = best["neither"]
    line["ratio"] = {name: round(spell.wall / plain.wall, 2) for name, spell in best.items()}
    line["ratio_cpu"] = {name: round(spell.cpu / plain.cpu, 2) for name, spell in best.items()}
    return [line | {"peak_mib": peak_mib()}]


def chosen(name: str, data: str, trials: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The settings of model and solver that win on the first split's validation part, and what they reached there."""
    begin = experiment(name, data, *(START if name == "aimf" else ({}, {})))
    split, _ = load_split(begin.data)
    found = search(begin, split, folder=RUNS / data / name, trials=trials, tell=Teller())
    model = {key: value for key, value in found.experiment.model.items() if key != "name"}
    return (
        model,
        dict(found.experiment.solver),
        {"value": found.best.value, "epoch": found.best.epoch, "trials": len(found.tried)},
    )


def errors_of(name: str, data: str, model: dict[str, Any], solver: dict[str, Any], seed: int) -> dict[str, float]:
    """The errors of one fit on its seed's test part, stopped by its validation part."""
    asked = experiment(name, data, model, solver, seed)
    split, _ = load_split(asked.data)
    report = Trial(asked, split, None, Teller()).finish().report
    return {metric: report.mean(metric) for metric in ("rmse", "mae")}


def surprise_errors(name: str, data: str, seed: int) -> dict[str, float]:
    """SVD++ or NMF of scikit-surprise on the same rows."""
    from surprise import NMF, Dataset, Reader, SVDpp

    split = load_split(experiment("biased_mf", data, {}, {}, seed).data)[0]
    rows = split.train.to_frame().select("user", "item", "rating").to_pandas()
    scale = (float(rows["rating"].min()), float(rows["rating"].max()))
    peer = {"SVD++": SVDpp, "NMF": NMF}[name](random_state=seed)
    peer.fit(Dataset.load_from_df(rows, Reader(rating_scale=scale)).build_full_trainset())
    predicted_N = predictions(peer, split)
    return {"rmse": rmse(split.test.rating, predicted_N), "mae": mae(split.test.rating, predicted_N)}


def predictions(peer: Any, split: Split) -> np.ndarray:
    """A peer's rating of every test row."""
    pairs = split.test.to_frame().select("user", "item").iter_rows()
    return np.array([peer.predict(user, item).est for user, item in pairs], np.float32)


def errors(data: str, trials: int, seeds: int) -> list[dict[str, Any]]:
    """One line a model: its errors over the seeds, and how far AIMF is below it, paired over them, with a 95 % interval."""
    won = {name: chosen(name, data, trials) for name in ("biased_mf", "aimf")}
    plain, ours = won["biased_mf"], won["aimf"]
    fits: dict[str, Any] = {"biased_mf": lambda seed: errors_of("biased_mf", data, plain[0], plain[1], seed)}
    fits["aimf"] = lambda seed: errors_of("aimf", data, ours[0], ours[1], seed)
    for name, settings in ABLATIONS.items():
        fits[name] = lambda seed, settings=settings: errors_of("aimf", data, {**ours[0], **settings}, ours[1], seed)
    if has_surprise():
        fits |= {name: lambda seed, name=name: surprise_errors(name, data, seed) for name in ("SVD++", "NMF")}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in fits}
    for seed in range(1, seeds + 1):
        for name, fit in fits.items():
            found[name].append(fit(seed))
            print(data, seed, name, found[name][-1], file=sys.stderr, flush=True)
    lines = []
    for name, runs in found.items():
        line: dict[str, Any] = {"data": data, "what": f"errors over {seeds} random 80/10/10 splits", "model": name}
        for metric in ("rmse", "mae"):
            value_S, aimf_S = (np.array([run[metric] for run in each]) for each in (runs, found["aimf"]))
            line[metric] = {"mean": round(value_S.mean(), 5), "sd": round(value_S.std(ddof=1), 5) if seeds > 1 else None}
            line[metric] |= {"by_seed": value_S.round(5).tolist()}
            if name != "aimf" and seeds > 1:
                line[metric] |= {"aimf_below_by": interval(value_S - aimf_S)}
        if name in won:
            line |= {"settings": {"model": won[name][0], "solver": won[name][1]}, "valid": won[name][2]}
        lines.append(line)
    return lines


def interval(difference_S: np.ndarray) -> list[float]:
    """The mean of paired differences and the ends of its 95 % interval."""
    half = t.ppf(0.975, len(difference_S) - 1) * difference_S.std(ddof=1) / len(difference_S) ** 0.5
    mean = float(difference_S.mean())
    return [round(value, 5) for value in (mean, mean - half, mean + half)]


def has_surprise() -> bool:
    """Whether scikit-surprise is there."""
    try:
        import surprise  # noqa: F401
    except ImportError:
        print("scikit-surprise is not installed; SVD++ and NMF are left out", file=sys.stderr)
        return False
    return True


def main() -> None:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["epoch", "errors"])
    parser.add_argument("data", nargs="*", default=list(SOURCES), help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--trials", type=int, default=20, help="of each search")
    parser.add_argument("--seeds", type=int, default=5)
    words = parser.parse_args()
    os.makedirs(RUNS, exist_ok=True)
    if words.what == "epoch":
        record("aimf", epochs())
        return
    for data in words.data:
        record("aimf", errors(data, words.trials, words.seeds))


if __name__ == "__main__":
    main()
