"""A sweep of iALS beside one of ``implicit`` (pip install implicit), the same objective, 64 factors, 15 sweeps.

ATTLAS_DATA=... python benchmarks/als.py [cg cholesky]

The two take turns, data set by data set and method by method. Seconds are the median of the sweeps after the first two, of
the quickest start; what the vectors rank is the mean over STARTS, with its standard deviation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as implicit asks for
sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, record
from scipy import sparse

from attlas.data.inputs import Inputs
from attlas.data.split import Split, read_split
from attlas.evaluation.evaluate import evaluate
from attlas.models.ials import IALS
from attlas.scoring import Scorer

SWEEPS, DIM = 15, 64
STARTS = {"cg": 24, "cholesky": 5}
CONFIDENCE, L2 = 5.0, 30.0  # of observed cells, and for every vector alike: what implicit calls alpha and regularization


class Told:
    """A spell for each sweep."""

    def __init__(self) -> None:
        self.spells: list[Spell] = []
        self.open = Spell().__enter__()

    def __call__(self, *_: Any) -> None:
        self.open.__exit__()
        self.spells.append(self.open)
        self.open = Spell().__enter__()

    def facts(self) -> dict[str, float]:
        """The medians over the sweeps after the first two, and the most that others took."""
        steady = self.spells[2:]
        return {
            "wall_s": round(float(np.median([spell.wall for spell in steady])), 4),
            "cpu_s": round(float(np.median([spell.cpu for spell in steady])), 4),
            "others": round(float(np.median([spell.others for spell in steady])), 3),
        }


def ours(inputs: Inputs, method: str, seed: int) -> tuple[IALS, Told]:
    """iALS on the objective of Hu et al."""
    torch.manual_seed(seed)
    config = IALS.Config(
        embedding_dim=DIM, alpha=CONFIDENCE - 1, unobserved_weight=1.0, zeros="unobserved", l2=L2, l2_exponent=0.0
    )
    model, solver = IALS(inputs.sizes, config), IALS.Alternating(method=method)
    inputs.user_lists, inputs.item_lists  # noqa: B018  (made before the clock runs, as implicit's transpose is)
    told = Told()
    for _ in range(SWEEPS):
        solver.epoch(model, inputs, np.random.default_rng(1))
        told()
    return model.eval(), told


def theirs(inputs: Inputs, method: str, seed: int) -> tuple[IALS, Told]:
    """The same by implicit; its vectors in a model of ours, so that both are measured alike."""
    from implicit.als import AlternatingLeastSquares

    settings = {"factors": DIM, "regularization": L2, "alpha": CONFIDENCE, "iterations": SWEEPS}
    peer = AlternatingLeastSquares(**settings, use_cg=method == "cg", num_threads=2, random_state=seed)
    told = Told()
    peer.fit(sparse.csr_matrix(inputs.train.by_user), show_progress=False, callback=told)
    model = IALS(inputs.sizes, IALS.Config(embedding_dim=DIM))
    model.user_embedding.weight.data.copy_(torch.from_numpy(peer.user_factors))
    model.item_embedding.weight.data.copy_(torch.from_numpy(peer.item_factors))
    return model.eval(), told


def measure(name: str, split: Split, method: str) -> dict[str, Any]:
    """One line: both in turn, their ratio, and what their vectors rank."""
    inputs = Inputs(split.train)
    line: dict[str, Any] = {"data": name, "what": f"iALS sweep, {method}, {DIM} factors, after {SWEEPS}"}
    found: dict[str, list[dict[str, float]]] = {"theirs": [], "ours": []}
    for seed in range(1, STARTS[method] + 1):
        for who, fit in (("theirs", theirs), ("ours", ours)):
            model, told = fit(inputs, method, seed)
            found[who].append(quality(model, inputs, split))
            if seed == 1 or told.facts()["wall_s"] < line[who]["wall_s"]:
                line[who] = told.facts()
    for who, runs in found.items():
        line[who] |= {name: round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]}
        line[who] |= {f"{name} sd": round(float(np.std([run[name] for run in runs], ddof=1)), 4) for name in runs[0]}
    line["ratio"] = round(line["ours"]["wall_s"] / line["theirs"]["wall_s"], 3)
    return line


def quality(model: IALS, inputs: Inputs, split: Split) -> dict[str, float]:
    """NDCG@10 by protocol."""
    codes = ("full",) if split.candidates is None else ("full", "ncf")
    reports = {code: evaluate(Scorer(model, inputs), split, code, k=10, metrics=["ndcg"]) for code in codes}
    return {f"{code} ndcg@10": report.mean("ndcg@10") for code, report in reports.items()}


def main() -> None:
    """Both data sets, the methods that were asked for."""
    methods = sys.argv[1:] or ["cg", "cholesky"]
    lines = []
    for name in ("ml-1m-ncf", "amazon-cds"):
        split = read_split(data_folder() / name, validation="none")
        lines += [measure(name, split, method) for method in methods]
    record("als", lines)


if __name__ == "__main__":
    main()
