"""RecBole's seconds an epoch of a model on feature fields, as one JSON line; run by ``fields.py`` in RecBole's own environment.

python recbole_fields.py FM|NFM|DeepFM|AFM ROWS.npz EPOCHS
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from machine import Spell, peak_mib

DIM, ATTENTION, BATCH = 64, 32, 4096
SETTINGS: dict[str, dict[str, Any]] = {
    "FM": {},
    "NFM": {"mlp_hidden_size": [64], "dropout_prob": 0.0},
    "DeepFM": {"mlp_hidden_size": [400, 400, 400], "dropout_prob": 0.0},
    "AFM": {"attention_size": ATTENTION, "dropout_prob": 0.0, "reg_weight": 0.0},
}


def written(index_NF: np.ndarray, label_N: np.ndarray, folder: Path) -> list[str]:
    """Write the rows as RecBole reads them, a few again for its validation and test; what the fields are called."""
    names = ["user_id", "item_id", *(f"field_{place}" for place in range(2, index_NF.shape[1]))]
    head = "\t".join([*(f"{name}:token" for name in names), "label:float"]) + "\n"
    folder.mkdir()
    for part, count in (("train", len(index_NF)), ("valid", 2 * BATCH), ("test", 2 * BATCH)):
        rows = zip(index_NF[:count].tolist(), label_N[:count].tolist(), strict=True)
        lines = "".join("\t".join(map(str, row)) + f"\t{label}\n" for row, label in rows)
        (folder / f"set.{part}.inter").write_text(head + lines)
    return names


def measured(model: str, index_NF: np.ndarray, label_N: np.ndarray, folder: Path, epochs: int) -> dict[str, Any]:
    """The median epoch after the first, as RecBole trains by itself."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer

    names = written(index_NF, label_N, folder / "set")
    sys.argv = sys.argv[:1]
    settings = {
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": [*names, "label"]},
        "LABEL_FIELD": "label",
        "train_neg_sample_args": None,
        "eval_args": {"mode": "labeled"},
        "metrics": ["AUC"],
        "valid_metric": "AUC",
        "embedding_size": DIM,
        "train_batch_size": BATCH,
        "use_gpu": False,
        "state": "ERROR",
        "show_progress": False,
    }
    config = Config(model=model, dataset="set", config_dict=settings | SETTINGS[model])
    train, *_ = data_preparation(config, create_dataset(config))
    made = get_model(model)(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, made)
    spells = []
    for epoch in range(epochs + 1):
        with Spell() as spell:
            trainer._train_epoch(train, epoch, show_progress=False)
        spells.append(spell)
    middle = statistics.median_low(spell.wall for spell in spells[1:])
    facts = next(spell for spell in spells if spell.wall == middle).facts()
    return facts | {"rows": len(index_NF), "batches": len(train), "peak_mib": peak_mib()}


def main() -> None:
    """One line on stdout."""
    whole_load = torch.load
    torch.load = lambda *given, **more: whole_load(*given, **{**more, "weights_only": False})
    model, rows, epochs = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(model, rows["index"], rows["label"], Path(folder), epochs)))


if __name__ == "__main__":
    main()
