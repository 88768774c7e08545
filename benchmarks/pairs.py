"""Do the pairs that a model of feature fields names decide? Asked of the simulated film club, whose deciding pairs are known.

python benchmarks/pairs.py [--seeds 5] [--users 1500] [--items 800] [--epochs 20]

A club's ten features, three of the member, four of the film, three of the moment, and whether the film was seen; negatives are
random films in the same moment. For each positive row of the test part: the pair of features that moved the member's
preference most, and its place among all 45 by the absolute size of what the model says that it adds.

As its paper has it, AFM begins with an FM of the same size. So that what attention does is not what further epochs do, that FM
goes on too, with AFM's steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
import numpy as np
import polars as pl
from machine import Spell, peak_mib, record

from attlas.data.examples import Examples
from attlas.data.film_club import ITEM_LEVELS, USER_LEVELS
from attlas.data.labelled import Layout, read_parts
from attlas.data.labelling import labelled_rows
from attlas.data.split import Split
from attlas.pairs import average_pairs, contributions
from attlas.runner import fit

TOP, NEGATIVES = 3, 2
SIZE = {"embedding_dim": 64}
FIRST, FURTHER = 0.003, 0.001  # learning rates
AFTER_FM: dict[str, tuple[str, dict[str, Any]]] = {
    "FM, gone on": ("fm", SIZE),
    "AFM from it": ("afm", {**SIZE, "attention_dim": 16, "dropout": 0.0, "l2": 0.001, "pretraining": "preserve"}),
}
USER, ITEM = (next(iter(levels)) for levels in (USER_LEVELS, ITEM_LEVELS))


def parts_of(club: Any, seed: int) -> tuple[Split, np.ndarray]:
    """Labelled rows of the ten features in three parts; and of each positive test row its place in the club's rows."""
    rows = labelled_rows(
        club.interactions,
        user_columns=[*USER_LEVELS],
        item_columns=[*ITEM_LEVELS],
        context=club.features.drop(*USER_LEVELS, *ITEM_LEVELS).select(pl.all().cast(pl.String)),
        negatives=NEGATIVES,
        seed=seed,
    ).drop("user", "item")
    count = len(club.interactions)
    of_row = np.concatenate([np.arange(count), np.full(len(rows) - count, -1)])
    order = np.random.default_rng(seed).permutation(len(rows))
    cuts = np.split(order, [int(0.7 * len(rows)), int(0.9 * len(rows))])
    further = {"user_fields": tuple(USER_LEVELS)[1:], "item_fields": tuple(ITEM_LEVELS)[1:]}
    train, valid, test = read_parts([rows[cut.tolist()] for cut in cuts], Layout(user=USER, item=ITEM, **further))
    given: dict[str, Any] = {"train": train, "valid": valid, "test": test, "code": "random"}
    return Split(**given), of_row[cuts[2]]


def places(test: Examples, added_NP: np.ndarray, truth: Any, club: Any, of_row: np.ndarray) -> np.ndarray:
    """The place of the true pair of every positive row among all pairs, from 1, by absolute contribution."""
    rows = np.flatnonzero(of_row >= 0)
    user, item = (getattr(club.interactions, side)[of_row[rows]] for side in ("user", "item"))
    strongest = truth.strongest_pair(user, item, club.features[of_row[rows].tolist()])
    names = test.features.names
    fields = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    at = [fields.index(tuple(sorted((names.index(one), names.index(other))))) for one, other in truth.effects]
    size_NP = np.abs(added_NP[rows])
    own_N = size_NP[np.arange(len(rows)), np.array(at)[strongest]]
    return 1 + (size_NP > own_N[:, None]).sum(1)


def asked(split: Split, of_row: np.ndarray, club: Any, epochs: int, seed: int) -> Iterator[dict[str, Any]]:
    """How often the true pair is among the first, and first, by what an FM says and by what those say that begin with it."""
    with tempfile.TemporaryDirectory() as folder:
        kept = str(Path(folder) / "fm")
        yield told("FM", split, of_row, club, seed, model="fm", config=SIZE, rate=FIRST, epochs=epochs, out=kept)
        for said, (model, config) in AFTER_FM.items():
            yield told(said, split, of_row, club, seed, model=model, config=config, rate=FURTHER, epochs=epochs, start=[kept])


def told(said: str, split: Split, of_row: np.ndarray, club: Any, seed: int, *, rate: float, **how: Any) -> dict[str, Any]:
    """One fit, and what it says of the positive test rows."""
    solver = {"batch_size": 1024, "learning_rate": rate, "unknown_share": 0.0}
    with Spell() as spell:
        made = fit(split, solver=solver, seed=seed, **how)
    test: Any = split.test
    place = places(test, contributions(made, test), club.truth, club, of_row)
    heaviest = average_pairs(made, test).head(4).select("field", "other_field").rows()
    return {
        "what": f"{said}, its pairs on the film club, seed {seed}",
        "positives": len(place),
        f"among the first {TOP} of 45": round(float((place <= TOP).mean()), 4),
        "first": round(float((place == 1).mean()), 4),
        "test_auc": round(made.report.mean("auc"), 4),
        "heaviest": [" x ".join(pair) for pair in heaviest],
        "fit": spell.facts(),
        "peak_mib": peak_mib(),
    }


def main() -> None:
    """A line for each model and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seeds", 5), ("users", 1500), ("items", 800), ("epochs", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    words = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for seed in range(1, words.seeds + 1):
        club = attlas.simulate(words.users, words.items, seed=seed)
        split, of_row = parts_of(club, seed)
        lines += asked(split, of_row, club, words.epochs, seed)
    record("pairs", lines)


if __name__ == "__main__":
    main()
