"""RecBole's seconds for NAIS, FISM or NeuMF, as one JSON line; run by ``histories.py`` in RecBole's own environment.

python recbole_histories.py NAIS|FISM|NeuMF PAIRS.npz BATCHES USERS

An epoch is the median of so many batches after two that warm up, times the number of batches; the ranking is RecBole's own
evaluation of all users where USERS is 0, else that of so many users, one at a time as RecBole ranks them, scaled up.
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
from recbole_fit import experiment

WARM_UP = 2
SETTINGS: dict[str, dict[str, Any]] = {
    "FISM": {"embedding_size": 64, "split_to": 0, "reg_weights": [0.0, 0.0], "alpha": 0.0},
    "NAIS": {
        "embedding_size": 64,
        "weight_size": 64,
        "algorithm": "prod",
        "split_to": 0,
        "alpha": 0.0,
        "beta": 0.5,
        "reg_weights": [0.0, 0.0, 0.0],
        "pretrain_path": None,
    },
    "NeuMF": {
        "mf_embedding_size": 8,
        "mlp_embedding_size": 32,
        "mlp_hidden_size": [32, 16, 8],
        "dropout_prob": 0.0,
        "mf_train": True,
        "mlp_train": True,
        "use_pretrain": False,
    },
}


def measured(model: str, pairs: np.ndarray, folder: Path, batches: int, users: int) -> dict[str, Any]:
    """Seconds an epoch and a full ranking would take."""
    from recbole.data.interaction import Interaction
    from recbole.utils import get_model, get_trainer

    negatives = {"distribution": "uniform", "sample_num": 4, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    config, train, asked = experiment(model, pairs, folder, train_neg_sample_args=negatives, **SETTINGS[model])
    made = get_model(model)(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, made)
    optimizer = trainer.optimizer
    made.train()
    walls, cpus, source = [], [], iter(train)
    for _ in range(batches + WARM_UP):
        with Spell() as spell:
            batch = next(source)
            optimizer.zero_grad()
            made.calculate_loss(batch).backward()
            optimizer.step()
        walls.append(spell.wall)
        cpus.append(spell.cpu)
    made.eval()
    with Spell() as ranking, torch.no_grad():
        if not users:
            trainer.evaluate(asked, load_best_model=False)
        for user in range(1, users + 1):
            made.full_sort_predict(Interaction({"user_id": torch.tensor([user])}))
    scale = len(np.unique(pairs[:, 0])) / users if users else 1.0
    return {
        "epoch_s": round(statistics.median(walls[WARM_UP:]) * len(train), 1),
        "epoch_cpu_s": round(statistics.median(cpus[WARM_UP:]) * len(train), 1),
        "ranking_s": round(ranking.wall * scale, 1),
        "others": round(max(spell.others, ranking.others), 3),
        "batches": [batches, len(train)],
        "users": users,
        "extrapolated": True,
        "peak_mib": peak_mib(),
    }


def main() -> None:
    """One line on stdout."""
    whole_load = torch.load
    torch.load = lambda *given, **more: whole_load(*given, **{**more, "weights_only": False})
    model, pairs, batches, users = sys.argv[1], np.load(sys.argv[2])["pairs"], int(sys.argv[3]), int(sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(model, pairs, Path(folder), batches, users)))


if __name__ == "__main__":
    main()
