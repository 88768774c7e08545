"""A sweep of eALS beside sweeps of iALS, and a stream beside a new fit, 64 factors.

    ATTLAS_DATA=... python benchmarks/eals.py [sweeps]

The three take turns; seconds are those of the quickest sweep after the first two. The stream is the last tenth of ml-1m-ncf's
training rows by time: a model of the rows before it takes them in, one call for all of them, and stands beside a model that has
never seen them and one that is fitted anew to all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record

from attlas.data.inputs import Inputs
from attlas.data.split import Split, read_split
from attlas.evaluation.evaluate import evaluate
from attlas.models.eals import EALS
from attlas.models.ials import IALS
from attlas.scoring import Scorer

DIM, SWEEPS, SHARE = 64, 15, 0.1
SETTINGS: dict[str, Any] = {"embedding_dim": DIM, "missing_weight": 0.1, "popularity_power": 0.4, "l2": 10.0}


def models(inputs: Inputs) -> dict[str, tuple[Any, Any]]:
    """Each with its solver, before the first sweep."""
    torch.manual_seed(1)
    ours = EALS(inputs.sizes, EALS.Config(**SETTINGS))
    ours.begin(inputs)
    theirs = {method: IALS(inputs.sizes, IALS.Config(embedding_dim=DIM)) for method in ("cg", "cholesky")}
    solvers = {f"ials {method}": (model, IALS.Alternating(method=method)) for method, model in theirs.items()}
    return {"ours": (ours, EALS.CoordinateDescent()), **solvers}


def sweeps_beside(name: str, split: Split, sweeps: int) -> dict[str, Any]:
    """One line: the quickest sweep of each, and what eALS ranks after all of them."""
    inputs = Inputs(split.train)
    contenders = models(inputs)
    spells: dict[str, list[Spell]] = {who: [] for who in contenders}
    for _ in range(sweeps):
        for who, (model, solver) in contenders.items():
            with Spell() as spell:
                solver.epoch(model, inputs, np.random.default_rng(1))
            spells[who].append(spell)
    best = {who: min(found[2:], key=lambda spell: spell.wall) for who, found in spells.items()}
    return {
        "data": name,
        "what": f"eALS sweep, {DIM} factors",
        **{who: spell.facts() for who, spell in best.items()},
        "ratio": round(best["ours"].wall / best["ials cg"].wall, 2),
        "ratio_cpu": round(best["ours"].cpu / best["ials cg"].cpu, 2),
        "full ndcg@10": quality(contenders["ours"][0], inputs, split),
        "peak_mib": peak_mib(),
    }


def quality(model: EALS, inputs: Inputs, split: Split) -> float:
    """NDCG@10 in full ranking."""
    return round(evaluate(Scorer(model.eval(), inputs), split, "full", k=10, metrics=["ndcg"]).mean("ndcg@10"), 4)


def fitted(inputs: Inputs, sweeps: int) -> EALS:
    """A model after so many sweeps."""
    torch.manual_seed(1)
    model = EALS(inputs.sizes, EALS.Config(**SETTINGS))
    model.begin(inputs)
    for _ in range(sweeps):
        EALS.CoordinateDescent().epoch(model, inputs, np.random.default_rng(1))
    return model


def stream_beside(split: Split, sweeps: int) -> dict[str, Any]:
    """One line: what taking the last rows in costs and gains, of what a new fit does."""
    inputs, order = Inputs(split.train), np.argsort(split.train.time, kind="stable")
    cut = int((1 - SHARE) * len(order))
    old, new = split.train.take(np.sort(order[:cut])), split.train.take(order[cut:])
    model = fitted(Inputs(old), sweeps)
    line: dict[str, Any] = {"data": "ml-1m-ncf", "what": f"eALS takes in {len(new):,} rows, {DIM} factors"}
    line["before"] = {"full ndcg@10": quality(model, inputs, split)}
    model.update(inputs, new.take(np.arange(1)))  # compiles; the row is taken in a second time below
    with Spell() as spell:
        model.update(inputs, new)
    line["update"] = {**spell.facts(), "full ndcg@10": quality(model, inputs, split)}
    with Spell() as spell:
        whole = fitted(inputs, sweeps)
    line["new fit"] = {**spell.facts(), "full ndcg@10": quality(whole, inputs, split)}
    line["microseconds_a_row"] = round(1e6 * line["update"]["wall_s"] / len(new), 1)
    return line


def main() -> None:
    """Sweeps on two sets, and the stream."""
    sweeps = int(sys.argv[1]) if len(sys.argv) > 1 else SWEEPS
    splits = {name: read_split(data_folder() / name, validation="none") for name in ("ml-1m-ncf", "amazon-cds")}
    lines = [sweeps_beside(name, split, sweeps) for name, split in splits.items()]
    record("eals", [*lines, stream_beside(splits["ml-1m-ncf"], sweeps)])


if __name__ == "__main__":
    main()
