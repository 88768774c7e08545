"""RecBole's validation NDCG@10 after each epoch of NeuMF, as one JSON line; run by ``curves.py`` in RecBole's own environment.

python recbole_curve.py PAIRS.npz EPOCHS
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from machine import Spell, peak_mib
from recbole_fit import experiment
from recbole_histories import SETTINGS

USERS_AT_ONCE = 64


def curve(train_pairs: np.ndarray, valid_pairs: np.ndarray, folder: Path, epochs: int) -> dict[str, Any]:
    """Train as RecBole does by itself, at its learning rate of 0.001; between epochs rank every held-out item among all."""
    from recbole.utils import get_model, get_trainer

    negatives = {"distribution": "uniform", "sample_num": 4, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    config, train, _ = experiment("NeuMF", train_pairs, folder, train_neg_sample_args=negatives, **SETTINGS["NeuMF"])
    made = get_model("NeuMF")(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "NeuMF")(config, made)
    seconds, values = [], []
    for epoch in range(epochs):
        with Spell() as spell:
            trainer._train_epoch(train, epoch, show_progress=False)
        seconds.append(round(spell.wall, 2))
        values.append(round(ndcg(made, train.dataset, train_pairs, valid_pairs), 5))
    return {"epoch_s": seconds, "ndcg@10": values, "peak_mib": peak_mib()}


@torch.no_grad()
def ndcg(made: Any, dataset: Any, train_pairs: np.ndarray, valid_pairs: np.ndarray) -> float:
    """The mean over users of 1 / log2(place + 1) of the held-out item among all that the user has not seen, 0 below ten."""
    from recbole.data.interaction import Interaction

    made.eval()
    user_of, item_of = (
        {int(t): i for t, i in dataset.field2token_id[f].items() if t != "[PAD]"} for f in ("user_id", "item_id")
    )
    seen: dict[int, list[int]] = {}
    for user, item in train_pairs.tolist():
        seen.setdefault(user, []).append(item_of[item])
    known = [(user, item) for user, item in valid_pairs.tolist() if item in item_of and user in user_of]
    gain, items = 0.0, torch.arange(made.n_items)
    for first in range(0, len(known), USERS_AT_ONCE):
        block = known[first : first + USERS_AT_ONCE]
        users = torch.tensor([user_of[user] for user, _ in block])
        asked = {"user_id": users.repeat_interleave(made.n_items), "item_id": items.repeat(len(block))}
        score = made.predict(Interaction(asked)).view(len(block), -1)
        for row, (user, item) in zip(score, block, strict=True):
            its = row[item_of[item]].item()
            row[seen[user]] = -torch.inf
            row[0] = -torch.inf  # RecBole's padding
            ahead = int((row > its).sum())
            gain += float(1 / np.log2(ahead + 2)) if ahead < 10 else 0.0
    made.train()
    return gain / len(valid_pairs)


def main() -> None:
    """One line on stdout."""
    whole_load = torch.load
    torch.load = lambda *given, **more: whole_load(*given, **{**more, "weights_only": False})
    given, epochs = np.load(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(curve(given["train"], given["valid"], Path(folder), epochs)))


if __name__ == "__main__":
    main()
