"""RecBole's seconds for one model, as one JSON line; run by ``rivals.py`` in RecBole's own environment.

python recbole_fit.py BPR|EASE|SLIMElastic PAIRS.npz

BPR: the epochs after the first, batch 2,048, 64 factors. EASE: the fit. SLIMElastic: the regressions of the first columns, as
many as the second argument after the pairs says, scaled to all.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from machine import Spell

EPOCHS = 3


def experiment(model: str, pairs: np.ndarray, folder: Path, **settings: Any) -> tuple[Any, Any, Any]:
    """RecBole's config, its training data, of the pairs as they are, and for its own evaluation a row of every user."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    (folder / "set").mkdir()
    of_each = pairs[np.unique(pairs[:, 0], return_index=True)[1]]
    for part, rows in (("train", pairs), ("valid", of_each), ("test", of_each)):
        lines = "".join(f"{user}\t{item}\n" for user, item in rows)
        (folder / "set" / f"set.{part}.inter").write_text("user_id:token\titem_id:token\n" + lines)
    sys.argv = sys.argv[:1]
    fixed = {
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id"]},
        "use_gpu": False,
        "state": "ERROR",
        "show_progress": False,
        "train_batch_size": 2048,
    }
    config = Config(model=model, dataset="set", config_dict={**fixed, **settings})
    train, _, asked = data_preparation(config, create_dataset(config))
    return config, train, asked


def descend(pairs: np.ndarray, folder: Path) -> dict[str, Any]:
    """The median epoch of BPR after the first."""
    from recbole.utils import get_model, get_trainer

    negatives = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
    config, train, _ = experiment("BPR", pairs, folder, embedding_size=64, train_neg_sample_args=negatives)
    model = get_model("BPR")(config, train.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], "BPR")(config, model)
    spells = []
    for epoch in range(EPOCHS):
        with Spell() as spell:
            trainer._train_epoch(train, epoch, show_progress=False)
        spells.append(spell)
    middle = statistics.median_low(spell.wall for spell in spells[1:])
    return next(spell for spell in spells if spell.wall == middle).facts()


def solve(model: str, pairs: np.ndarray, folder: Path, columns: int) -> dict[str, Any]:
    """The fit of a model that fits while it is made; of SLIM the first columns only."""
    import sklearn.linear_model
    from recbole.utils import get_model

    class Counted(sklearn.linear_model.ElasticNet):
        left = columns + 1

        def fit(self, *given: Any, **more: Any) -> Any:
            Counted.left -= 1
            if not Counted.left:
                raise StopIteration
            return super().fit(*given, **more)

    settings = {"alpha": 0.2, "l1_ratio": 0.02, "positive_only": True, "hide_item": True} if columns else {"reg_weight": 250.0}
    config, train, _ = experiment(model, pairs, folder, **settings)
    made = get_model(model)
    if columns:
        sys.modules[made.__module__].ElasticNet = Counted
    with Spell() as spell, suppress(StopIteration):
        made(config, train.dataset)
    share = len(np.unique(pairs[:, 1])) / columns if columns else 1.0
    facts = spell.facts()
    return {**facts, "wall_s": facts["wall_s"] * share, "cpu_s": facts["cpu_s"] * share, "extrapolated": bool(columns)}


def main() -> None:
    """One line on stdout."""
    whole_load = torch.load
    torch.load = lambda *given, **more: whole_load(*given, **{**more, "weights_only": False})
    model, pairs = sys.argv[1], np.load(sys.argv[2])["pairs"]
    columns = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    with tempfile.TemporaryDirectory() as folder:
        facts = descend(pairs, Path(folder)) if model == "BPR" else solve(model, pairs, Path(folder), columns)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
