"""Full ranking of every user: all scores and the ten best, DELF and EASE.

ATTLAS_DATA=... python benchmarks/score.py
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
from attlas.data.split import read_split
from attlas.models.delf import DELF
from attlas.models.ease import EASE
from attlas.ops.topk import top_k
from attlas.scoring import Scorer


def rank_everybody(model: Any, inputs: Inputs) -> Spell:
    """The ten best unseen items of every user, in blocks of users that fit the budget."""
    seen = inputs.train.by_user
    users = np.arange(inputs.sizes.num_users)
    with Spell() as spell:
        scorer = Scorer(model, inputs)
        for first in range(0, len(users), scorer.users_at_once):
            block = users[first : first + scorer.users_at_once]
            rows = seen[block]
            top_k(scorer.score_all(block), 10, rows.indptr.astype(np.int64), rows.indices.astype(np.int64))
    return spell


def main() -> None:
    """All lines for ml-1m-ncf."""
    inputs = Inputs(read_split(data_folder() / "ml-1m-ncf", validation="none").train)
    lines = []
    torch.manual_seed(1)
    ease = EASE(inputs.sizes, EASE.Config(l2=1000.0))
    EASE.ClosedForm().epoch(ease, inputs, np.random.default_rng(1))
    for name, model in (("DELF, embedding 64, four towers 128-64-32", DELF(inputs.sizes).eval()), ("EASE", ease)):
        rank_everybody(model, inputs)
        spells = [rank_everybody(model, inputs) for _ in range(3)]
        best = min(spells, key=lambda spell: spell.wall)
        shape = f"{inputs.sizes.num_users:,} users x {inputs.sizes.num_items:,} items"
        lines.append(
            {"data": "ml-1m-ncf", "what": f"{name}: full ranking of {shape}", "best_of_3": best.facts(), "peak_mib": peak_mib()}
        )
    record("score", lines)


if __name__ == "__main__":
    main()
