"""Does FAWMF's gamma follow the true exposure of a film club, by objective? Spearman's correlation over cells never chosen.

python benchmarks/exposure.py [exact none bound ...] [--seeds 5]

For each club, of the default size, and each form of the objective: after 5 and after 20 sweeps the correlation of gamma with
the truth, NDCG@10 on validation when ranked by preference and by its product with gamma, and the mean of gamma; beside them the
correlation of popularity.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import attlas

# isort: split
import numpy as np
import torch
from machine import record
from scipy.stats import rankdata

from attlas.data.inputs import Inputs
from attlas.data.split import Split
from attlas.evaluation.evaluate import evaluate
from attlas.models.fawmf import FAWMF
from attlas.models.fawmf_solvers import Alternating
from attlas.scoring import Scorer

PRIOR = {"kl": "bound", "prior_exposure": 0.5, "l2": 0.01}
FORMS: dict[str, dict[str, Any]] = {
    "exact": {},
    "exact, random start": {"start": "random"},
    "none": {"kl": "none", "l2": 0.1},
    "none, random start": {"kl": "none", "l2": 0.1, "start": "random"},
    "bound, constant, precision 2": {**PRIOR, "prior": "constant", "precision": 2.0},
    "bound, popularity, precision 20": {**PRIOR, "prior": "popularity"},
    "bound, learned, precision 20": {**PRIOR, "prior": "learned"},
    "bound, popularity, precision 500": {**PRIOR, "prior": "popularity", "precision": 500.0},
    "bound, learned, precision 500": {**PRIOR, "prior": "learned", "precision": 500.0},
}
TOLD_AFTER = (5, 20)


class Truth:
    """A club's cells without a training row, and how they rank by true exposure.

    Args:
        seed: of the club.
    """

    def __init__(self, seed: int):
        club = attlas.simulate(seed=seed)
        self.split: Split = attlas.split(club.interactions, "global-ratio")
        self.user, self.item = np.nonzero(self.split.train.by_user.toarray() == 0)
        self.rank = rankdata(club.truth.exposure(self.user, self.item))

    def correlation(self, value: np.ndarray) -> float:
        """Spearman's, of one value per cell."""
        return round(float(np.corrcoef(rankdata(value), self.rank)[0, 1]), 3)


def facts(model: FAWMF, inputs: Inputs, truth: Truth) -> dict[str, float]:
    """What the model finds so far."""
    share_UC = model.communities(torch.arange(inputs.sizes.num_users)).detach()
    gamma_UI = (share_UC @ model.exposure_table.T).numpy()
    told = {"spearman": truth.correlation(gamma_UI[truth.user, truth.item]), "gamma": round(float(gamma_UI.mean()), 3)}
    for rank in ("preference", "expected"):
        other = FAWMF(inputs.sizes, dataclasses.replace(model.config, rank=rank))
        other.load_state_dict(model.state_dict())
        report = evaluate(Scorer(other.eval(), inputs), truth.split, "full", k=10, part="valid", metrics=["ndcg"])
        told[f"ndcg@10 by {rank}"] = round(report.mean("ndcg@10"), 4)
    return told


def measure(form: str, seed: int) -> dict[str, Any]:
    """One line: a form of the objective on one club."""
    truth = Truth(seed)
    inputs = Inputs(truth.split.train)
    torch.manual_seed(1)
    model, solver = FAWMF(inputs.sizes, FAWMF.Config(**FORMS[form])), Alternating()
    model.begin(inputs)
    line: dict[str, Any] = {"what": form, "club": seed}
    for sweep in range(1, max(TOLD_AFTER) + 1):
        solver.epoch(model, inputs, np.random.default_rng(sweep))
        if sweep in TOLD_AFTER:
            line[f"after {sweep}"] = facts(model, inputs, truth)
    return line | {"popularity": truth.correlation(np.diff(truth.split.train.by_item.indptr)[truth.item])}


def main() -> None:
    """The forms that were asked for, or all, on so many clubs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("forms", nargs="*", default=list(FORMS))
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    record("exposure", [measure(form, seed) for form in asked.forms for seed in range(1, asked.seeds + 1)])


if __name__ == "__main__":
    main()
