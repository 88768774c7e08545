"""NeuMF's validation NDCG@10 after each epoch, ours and RecBole's: the same sizes, negatives and rows, full ranking.

ATTLAS_DATA=... python benchmarks/curves.py [--recbole PYTHON] [--epochs 10] [--rate 0.005] [--batch 32768]

The peer keeps its own batch of 2,048 and its learning rate; a large batch of ours takes fewer, larger steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from histories import NEGATIVES, NEUMF_BATCH, NEUMF_RATE, WHAT
from machine import Spell, data_folder, peak_mib, record

from attlas.data.inputs import Inputs
from attlas.data.split import Split, read_split
from attlas.evaluation.evaluate import evaluate
from attlas.models.neumf import NeuMF
from attlas.scoring import Scorer
from attlas.training.fit import Descent
from attlas.training.objectives import Pointwise


def our_curve(split: Split, epochs: int, rate: float, batch: int) -> dict[str, Any]:
    """Seconds and validation NDCG@10 of each epoch."""
    inputs = Inputs(split.train)
    torch.manual_seed(1)
    model = NeuMF(inputs.sizes)
    solver = Descent(model, Pointwise(negatives=NEGATIVES, batch_size=batch), learning_rate=rate)
    seconds, values = [], []
    for epoch in range(epochs):
        with Spell() as spell:
            solver.epoch(model, inputs, np.random.default_rng(epoch))
        seconds.append(round(spell.wall, 2))
        report = evaluate(Scorer(model.eval(), inputs), split, "full", k=10, part="valid", metrics=["ndcg"])
        values.append(round(report.mean("ndcg@10"), 5))
    return {"learning_rate": rate, "batch_size": batch, "epoch_s": seconds, "ndcg@10": values, "peak_mib": peak_mib()}


def recbole_curve(python: str, split: Split, epochs: int) -> dict[str, Any]:
    """The same of RecBole, in an environment of its own."""
    assert split.valid is not None
    with tempfile.TemporaryDirectory() as folder:
        pairs, parts = Path(folder) / "pairs.npz", {"train": split.train, "valid": split.valid}
        np.savez(pairs, **{name: np.stack([part.user, part.item], 1) for name, part in parts.items()})
        script = Path(__file__).parent / "peers" / "recbole_curve.py"
        command = [python, str(script), str(pairs), str(epochs)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def main() -> None:
    """One line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recbole", help="the Python of RecBole's environment")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=NEUMF_RATE)
    parser.add_argument("--batch", type=int, default=NEUMF_BATCH)
    asked = parser.parse_args()
    split = read_split(data_folder() / "ml-1m-ncf")
    line: dict[str, Any] = {"data": "ml-1m-ncf", "what": f"{WHAT['neumf']}, {NEGATIVES} negatives: validation NDCG@10 by epoch"}
    line["ours"] = our_curve(split, asked.epochs, asked.rate, asked.batch)
    if asked.recbole:
        line["recbole"] = recbole_curve(asked.recbole, split, asked.epochs)
        line["last_over_recbole"] = round(line["ours"]["ndcg@10"][-1] / line["recbole"]["ndcg@10"][-1], 3)
        record("curves", [line])
    else:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
