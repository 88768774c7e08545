"""EASE, SLIM and BPR-MF on ml-1m-ncf beside RecBole, in turn.

ATTLAS_DATA=... python benchmarks/rivals.py --recbole PYTHON [ease slim mf]

PYTHON is that of an environment with RecBole 1.2.1 (it wants numpy 1.26, pandas 2.2, scipy 1.11, setuptools 80).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, record

from attlas.data.inputs import Inputs
from attlas.data.split import read_split
from attlas.models import model_class

ALPHA, L1_RATIO = 0.2, 0.02  # RecBole's defaults for SLIM; on the Gram matrix's scale times the number of users
COLUMNS = 60


def best(deed: Callable[[Inputs], None], inputs: Inputs, times: int = 4) -> dict[str, float]:
    """The quickest of some spells, after one that compiles."""
    spells = []
    for _ in range(times + 1):
        fresh = Inputs(inputs.train)
        with Spell() as spell:
            deed(fresh)
        spells.append(spell)
    return min(spells[1:], key=lambda spell: spell.wall).facts()


def ease(inputs: Inputs) -> None:
    """The fit, l2 250."""
    chosen: Any = model_class("ease")
    chosen.ClosedForm().epoch(chosen(inputs.sizes, chosen.Config(l2=250.0)), inputs, np.random.default_rng(1))


def slim(inputs: Inputs) -> None:
    """The fit of all columns at RecBole's penalties."""
    chosen: Any = model_class("slim")
    users = inputs.sizes.num_users
    config = chosen.Config(l1=users * ALPHA * L1_RATIO, l2=users * ALPHA * (1 - L1_RATIO), neighbours=None)
    next(iter(chosen.Solvers.values()))().epoch(chosen(inputs.sizes, config), inputs, np.random.default_rng(1))


def mf(inputs: Inputs) -> None:
    """One epoch of BPR, 64 factors, one negative."""
    chosen: Any = model_class("mf")
    torch.manual_seed(1)
    chosen.SGD(loss="bpr", negatives=1).epoch(chosen(inputs.sizes), inputs, np.random.default_rng(1))


RIVALS = {
    "ease": (ease, ["EASE"], "EASE's fit, l2 250"),
    "slim": (
        slim,
        ["SLIMElastic", str(COLUMNS)],
        f"SLIM's fit, alpha {ALPHA}, l1 ratio {L1_RATIO}; theirs from {COLUMNS}",
    ),
    "mf": (mf, ["BPR"], "an epoch of BPR-MF, 64 factors, 1 negative; theirs at batch 2,048"),
}


def main() -> None:
    """A line for each model that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recbole", required=True, help="the Python of RecBole's environment")
    parser.add_argument("models", nargs="*", default=list(RIVALS))
    asked = parser.parse_args()
    inputs = Inputs(read_split(data_folder() / "ml-1m-ncf", validation="none").train)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.npz"
        np.savez(pairs, pairs=np.stack([inputs.train.user, inputs.train.item], 1))
        for name in asked.models:
            deed, model, what = RIVALS[name]
            script = Path(__file__).parent / "peers" / "recbole_fit.py"
            command = [asked.recbole, str(script), model[0], str(pairs), *model[1:]]
            said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout
            theirs, ours = json.loads(said.splitlines()[-1]), best(deed, inputs)
            ratio = round(ours["wall_s"] / theirs["wall_s"], 4)
            lines.append({"data": "ml-1m-ncf", "what": what, "theirs": theirs, "ours": ours, "ratio": ratio})
    record("rivals", lines)


if __name__ == "__main__":
    main()
