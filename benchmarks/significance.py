"""How often two trainings of one model are called different, and how often a better model is found so.

    python benchmarks/significance.py [100]

Each comparison has a simulated film club of its own, with its split, and holds three seeds of a model against three others;
nothing is shared between comparisons but the settings. Beside it stands what would be said of the same fits by a test that
does not see the seeds: their mean as if it were one training, and one training alone. The better models are held against
the first three seeds on the same clubs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
import numpy as np
from machine import record

from attlas.data.split import Split, split
from attlas.evaluation.significance import Pair, compare_pairs
from attlas.telling import Terminal

METRIC, SEEDS = "ndcg@10", 3
USERS, ITEMS, ROWS = 400, 200, 12_000
MODELS: dict[str, dict[str, Any]] = {
    "mf": {
        "config": {"embedding_dim": 16},
        "solver": {"objective": "bpr", "learning_rate": 0.05, "batch_size": 2048},
        "epochs": 10,
        "patience": 3,
    },
    "ials": {"config": {"embedding_dim": 16}, "epochs": 10, "patience": 3},
    "ials of 4": {"model": "ials", "config": {"embedding_dim": 4}, "epochs": 10, "patience": 3},
    "ease": {"config": {"l2": 50.0}},
    "popularity": {},
}
SEEDED = ("mf", "ials", "ials of 4")
UNEQUAL = (("mf", "popularity"), ("ials", "popularity"), ("ease", "ials"), ("ease", "mf"), ("ials", "ials of 4"))


def measure(parts: Split, name: str, seeds: range) -> np.ndarray:
    """The metric of each user under each seed, float64[S, V]."""
    runs = [attlas.fit(parts, **{"model": name} | MODELS[name], seed=seed) for seed in seeds]
    return np.stack([run.reports[0].per_user[METRIC] for run in runs])


def one_club(number: int) -> dict[str, Pair]:
    """The comparisons of one club by what they are."""
    parts = split(attlas.simulate(USERS, ITEMS, seed=number, num_interactions=ROWS).interactions, "user-ratio", seed=number)
    first = range(1 + 2 * SEEDS * number, 1 + 2 * SEEDS * number + SEEDS)
    second = range(first.stop, first.stop + SEEDS)
    values = {name: measure(parts, name, first if name in SEEDED else range(1, 2)) for name in MODELS}
    found = {}
    for name in SEEDED:
        others = measure(parts, name, second)
        found[f"{name} against itself"] = judge(values[name], others)
        merged = (one.mean(axis=0, keepdims=True) for one in (values[name], others))
        found[f"{name} against itself, seeds unseen"] = judge(*merged)
        found[f"{name} against itself, one seed each"] = judge(values[name][:1], others[:1])
    return found | {f"{better} against {worse}": judge(values[better], values[worse]) for better, worse in UNEQUAL}


def judge(one: np.ndarray, other: np.ndarray) -> Pair:
    """The only pair of two."""
    return compare_pairs({"one": one, "other": other}, METRIC)[0]


def main() -> None:
    """One line for each kind of comparison."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    found: dict[str, list[Pair]] = {}
    began = time.perf_counter()
    with Terminal().bar("clubs", total=count) as bar:
        for number in range(1, count + 1):
            for what, pair in one_club(number).items():
                found.setdefault(what, []).append(pair)
            bar.update(number)
    seconds = round(time.perf_counter() - began, 1)
    data = f"simulated clubs of {USERS} users, {ITEMS} items, {ROWS:,} rows"
    record(
        "significance",
        [{"data": data, "seeds": SEEDS, **summary(what, pairs), "seconds": seconds} for what, pairs in found.items()],
    )


def summary(what: str, pairs: list[Pair]) -> dict[str, Any]:
    """What one line says of all comparisons of a kind; the difference is signed, in favour of the one named first."""
    signed = [pair.difference if pair.above == "one" else -pair.difference for pair in pairs]
    significant = [pair for pair in pairs if pair.is_significant]
    return {
        "what": what,
        "comparisons": len(pairs),
        "significant": len(significant),
        "not_significant": len(pairs) - len(significant),
        "first_above": sum(pair.above == "one" for pair in significant),
        f"mean_difference {METRIC}": round(float(np.mean(signed)), 4),
        "mean_width": round(float(np.mean([pair.high - pair.low for pair in pairs])), 4),
    }


if __name__ == "__main__":
    main()
