"""How threads should wait: a training step and the ranking of some users under the policy that the environment names.

    ATTLAS_DATA=... OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=5000 python benchmarks/wait.py
    ATTLAS_DATA=... OMP_WAIT_POLICY=ACTIVE python benchmarks/wait.py

Lines made beside busy processes on purpose are void by the rule of the other benchmarks; their
share of the machine is the point.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, record

from attlas.data.inputs import Inputs
from attlas.data.split import read_split
from attlas.models.delf import DELF
from attlas.scoring import Scorer
from attlas.training.objectives import Pointwise

STEPS, USERS = 30, 600


def main() -> None:
    """One line for ml-1m-ncf under the current policy."""
    inputs = Inputs(read_split(data_folder() / "ml-1m-ncf", validation="none").train)
    torch.manual_seed(1)
    model, objective = DELF(inputs.sizes), Pointwise(batch_size=8192)
    optimizer = torch.optim.Adam(model.parameters())
    batches = objective.batches(inputs, model, np.random.default_rng(1))

    def step() -> None:
        loss = objective.loss(model, next(batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(5):
        step()
    with Spell() as training:
        for _ in range(STEPS):
            step()
    scorer = Scorer(model.eval(), inputs)
    with Spell() as ranking:
        scorer.score_all(np.arange(USERS))
    policy = {name: os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    step_ms = round(1000 * training.wall / STEPS, 1)
    everybody = round(ranking.wall * inputs.sizes.num_users / USERS, 2)
    times = {"step_ms": step_ms, "rank_everybody_s": everybody, "training": training.facts(), "ranking": ranking.facts()}
    record("wait", [{"data": "ml-1m-ncf", "what": "DELF, embedding 64, batch 8,192", **policy, **times}])


if __name__ == "__main__":
    main()
