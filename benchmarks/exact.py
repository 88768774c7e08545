"""Is full ranking exact? Every model's best 100 from the whole catalogue at once against its ``forward``, pair by pair.

    ATTLAS_DATA=... python benchmarks/exact.py [MODEL ...]

All users of MovieLens 100K and 200 random ones of MovieLens 1M; every model after one epoch. At each of the 100 places the
item found the fast way has to have the literal score of the item that belongs there, but for 1e-5 of the user's largest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # (before torch)

# isort: split
import numpy as np
import torch
from machine import data_folder, record

from attlas.data.inputs import Inputs
from attlas.models import MODELS, model_class
from attlas.models.protocol import Beginning
from attlas.scoring import Scorer
from attlas.training.solvers import make_solver

PLACES, MAY_DIFFER = 100, 1e-5
DATA = {"ml-100k/u.data.gz": None, "ml-1m/ratings.csv.gz": 200}  # how many users; None is all


class Literal(Scorer):
    """Every pair by ``forward``, also of models that could rank."""

    score = torch.inference_mode()(Scorer._score_pairs)


def trained(name: str, inputs: Inputs) -> Any:
    """A model after one epoch with its defaults, ready to score."""
    torch.manual_seed(1)
    model = model_class(name)(inputs.sizes)
    if isinstance(model, Beginning):
        model.begin(inputs)
    make_solver(model, {}).epoch(model, inputs, np.random.default_rng(1))
    return model.eval()


def gaps(model: Any, inputs: Inputs, users: np.ndarray) -> Iterator[tuple[float, int]]:
    """Of each user the largest gap between literal scores at one place, over the largest score, and how many places differ."""
    fast, literal = Scorer(model, inputs), Literal(model, inputs)
    seen = inputs.train.by_user
    for user in users:
        unseen = np.setdiff1d(np.arange(inputs.sizes.num_items), seen.indices[seen.indptr[user] : seen.indptr[user + 1]])
        score = literal.score(np.full(len(unseen), user), unseen).astype(np.float64)
        belongs = np.argsort(-score, kind="stable")[:PLACES]
        found = np.argsort(-fast.score_all(np.array([user]))[0, unseen], kind="stable")[:PLACES]
        largest = np.abs(score).max() or 1.0
        yield float(np.abs(score[found] - score[belongs]).max() / largest), int((found != belongs).sum())


def main() -> int:
    """One line a model and data set."""
    failed = False
    for data, count in DATA.items():
        rows = attlas.read(data_folder() / data, item="movie" if data.endswith("csv.gz") else None)
        inputs = Inputs(rows)
        users = np.arange(inputs.sizes.num_users)
        if count:
            users = np.sort(np.random.default_rng(1).choice(users, count, replace=False))
        lines = []
        for name in sys.argv[1:] or MODELS:
            gap, moved = map(np.array, zip(*gaps(trained(name, inputs), inputs, users), strict=True))
            facts = {"users": len(users), "largest_gap": float(f"{gap.max():.1e}"), "places_swapped": int(moved.sum())}
            is_exact = bool(gap.max() < MAY_DIFFER)
            failed |= not is_exact
            what = f"{MODELS[name]}: the best {PLACES} of all items"
            lines.append({"data": data.partition("/")[0], "what": what, **facts, "exact": is_exact})
            print(lines[-1], file=sys.stderr)
        record("exact", lines)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
