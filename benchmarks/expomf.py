"""A sweep of ExpoMF beside the same steps row by row in numpy, as the authors' code takes them, and beside a sweep of iALS.

    ATTLAS_DATA=... python benchmarks/expomf.py [sweeps rows]

64 factors on ml-1m-ncf. The three take turns. The rival, on one thread, solves for rows spread evenly over users and items
and is scaled up to all: a row costs the same whoever it is. A sweep's operations are counted, so that its rate can be held
against what the machine's dense product reaches.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of numpy, as each of the authors' processes has one
sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record

from attlas.data.inputs import Inputs
from attlas.data.split import Split, read_split
from attlas.evaluation.evaluate import evaluate
from attlas.models.expomf import ExpoMF, Side
from attlas.models.ials import IALS
from attlas.scoring import Scorer

DIM, SWEEPS, ROWS = 64, 8, 200
SETTINGS: dict[str, Any] = {"embedding_dim": DIM, "prior_start": 0.05}


def swept(model: Any, solver: Any, inputs: Inputs) -> Spell:
    """One epoch."""
    with Spell() as spell:
        solver.epoch(model, inputs, np.random.default_rng(1))
    return spell


def row_by_row(side: Side, row_R: np.ndarray, l2: float) -> np.ndarray:
    """Each row's exposure, matrix and solution, one row after the other."""
    other_ED, solved_RD = side.other.detach().numpy(), []
    for row in row_R:
        chosen = side.lists.index[side.lists.start[row] : side.lists.start[row + 1]].numpy()
        odds_E = np.exp(side.odds[row].numpy() - 0.5 * (other_ED @ side.own[row].detach().numpy()) ** 2)
        seen_E = odds_E / (odds_E + 1)
        seen_E[chosen] = 1.0
        normal_DD = (other_ED.T * seen_E) @ other_ED + l2 * np.eye(DIM, dtype=np.float32)
        solved_RD.append(np.linalg.solve(normal_DD, other_ED[chosen].sum(0)))
    return np.stack(solved_RD)


def rival(model: ExpoMF, inputs: Inputs, rows: int) -> tuple[Spell, float]:
    """Some users and some items row by row; the spell scaled up to all, and by how much the vectors differ from ours."""
    whole, difference = Spell(), 0.0
    for name in ("user", "item"):
        side = model.side(inputs, name)
        row_R = np.linspace(0, len(side.own) - 1, rows).round().astype(int)
        with Spell() as spell:
            found_RD = row_by_row(side, row_R, model.config.l2)
        scale, ours_RD = len(side.own) / rows, model.solve(side).numpy()[row_R]
        whole.wall, whole.cpu = whole.wall + scale * spell.wall, whole.cpu + scale * spell.cpu
        whole.others = max(whole.others, spell.others)
        difference = max(difference, float(np.abs(ours_RD - found_RD).max() / np.abs(found_RD).max()))
    return whole, difference


def operations(inputs: Inputs) -> float:
    """Of one sweep: the matrices of both sides, and the scores of three passes."""
    cells = inputs.sizes.num_users * inputs.sizes.num_items
    return 2 * cells * DIM * (DIM + 1) / 2 * 2 + 3 * 2 * cells * DIM


def quality(model: Any, inputs: Inputs, split: Split) -> float:
    """NDCG@10 in full ranking."""
    return round(evaluate(Scorer(model.eval(), inputs), split, "full", k=10, metrics=["ndcg"]).mean("ndcg@10"), 4)


def best(spells: list[Spell]) -> Spell:
    """The quickest after the first, which compiles."""
    return min(spells[1:], key=lambda spell: spell.wall)


def main() -> None:
    """One line."""
    sweeps, rows = (int(word) for word in (sys.argv[1:3] if len(sys.argv) > 2 else (SWEEPS, ROWS)))
    split = read_split(data_folder() / "ml-1m-ncf", validation="none")
    inputs = Inputs(split.train)
    torch.manual_seed(1)
    ours, plain = ExpoMF(inputs.sizes, ExpoMF.Config(**SETTINGS)), IALS(inputs.sizes, IALS.Config(embedding_dim=DIM))
    spells: dict[str, list[Spell]] = {"ours": [], "rival": [], "ials cholesky": []}
    for _ in range(sweeps):
        spells["ours"].append(swept(ours, ExpoMF.EM(), inputs))
        spells["ials cholesky"].append(swept(plain, IALS.Alternating(method="cholesky"), inputs))
        spell, difference = rival(ours, inputs, rows)
        spells["rival"].append(spell)
    chosen = {who: best(found) for who, found in spells.items()}
    line = {
        "data": "ml-1m-ncf",
        "what": f"ExpoMF sweep, {DIM} factors, after {sweeps}",
        **{who: spell.facts() for who, spell in chosen.items()},
        "rival_rows": 2 * rows,
        "largest_relative_difference": float(f"{difference:.2g}"),
        "gflop": round(operations(inputs) / 1e9, 1),
        "gflops": round(operations(inputs) / 1e9 / chosen["ours"].wall, 1),
        "ratio": round(chosen["rival"].wall / chosen["ours"].wall, 1),
        "ratio_cpu": round(chosen["rival"].cpu / chosen["ours"].cpu, 1),
        "full ndcg@10": quality(ours, inputs, split),
        "peak_mib": peak_mib(),
    }
    record("expomf", [line])


if __name__ == "__main__":
    main()
