"""SLIM's fit beside scikit-learn's elastic net, column by column, and EASE's beside a sparse product and a dense inverse.

    ATTLAS_DATA=... python benchmarks/slim.py [columns]

The rivals are called as RecBole 1.2.1 calls them: in SLIMElastic one ``ElasticNet`` is fitted anew for every item on the whole
matrix, a list of lists, with the item's own column emptied; in EASE X'X is a sparse product and its inverse numpy's. A whole
fit of the first takes minutes: columns spread evenly over the items by popularity are timed, and scaled up to all.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
from machine import Spell, data_folder, peak_mib, record
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet

from attlas.data.inputs import Inputs
from attlas.data.split import read_split
from attlas.models.ease import EASE
from attlas.models.slim import SLIM
from attlas.ops.elastic import elastic_net
from attlas.ops.gram import cooccurrence

ALPHA, L1_RATIO, COLUMNS = 0.2, 0.02, 60
TOLERANCE = 1e-6  # tighter than the default, so that no column's objective is higher than the rival's
CALLED = {"positive": True, "fit_intercept": False, "copy_X": False, "precompute": True, "selection": "random"}
STOPS = {"max_iter": 100, "tol": 1e-4}


def fitted(model: Any, inputs: Inputs) -> Spell:
    """A fit from the interactions on, as the command line does it after reading."""
    solver = next(iter(type(model).Solvers.values()))()
    fresh = Inputs(inputs.train)
    with Spell() as spell:
        solver.epoch(model, fresh, np.random.default_rng(1))
    return spell


def rival_columns(inputs: Inputs, column_N: np.ndarray) -> tuple[Spell, np.ndarray]:
    """The weights of some columns, [N, I], and what they took."""
    x_UI = inputs.train.by_user.astype(np.float32).tolil()
    net = ElasticNet(alpha=ALPHA, l1_ratio=L1_RATIO, **CALLED, **STOPS, random_state=1)
    weights = []
    with Spell() as spell, warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        for column in column_N:
            own = x_UI[:, [column]]
            x_UI[:, [column]] = 0
            net.fit(x_UI, own.toarray().ravel())
            weights.append(net.sparse_coef_)
            x_UI[:, [column]] = own
    return spell, sparse.vstack(weights).toarray()


def objectives(gram_II: np.ndarray, column_N: np.ndarray, weight_NI: np.ndarray, l1: float, l2: float) -> np.ndarray:
    """1/2 ||x_j - X w||^2 + l2/2 ||w||^2 + l1 ||w||_1 of each column, in double precision."""
    gram, weight = gram_II.astype(np.float64), weight_NI.astype(np.float64)
    error = gram[column_N, column_N] - 2 * (weight * gram[column_N]).sum(1) + (weight @ gram * weight).sum(1)
    return (error + l2 * (weight**2).sum(1)) / 2 + l1 * np.abs(weight).sum(1)


def slim_beside_elastic_net(inputs: Inputs, count: int) -> dict[str, Any]:
    """Ours, the best of three fits of all columns after one that compiles; the rival's on some; objectives of the same."""
    users, items = inputs.sizes.num_users, inputs.sizes.num_items
    config = SLIM.Config(l1=users * ALPHA * L1_RATIO, l2=users * ALPHA * (1 - L1_RATIO), tolerance=TOLERANCE)
    models = [SLIM(inputs.sizes, config) for _ in range(4)]
    best = min([fitted(model, inputs) for model in models][1:], key=lambda spell: spell.wall)
    by_popularity = np.argsort(inputs.item_lists.length.numpy(), kind="stable")
    column_N = by_popularity[np.linspace(0, items - 1, count).round().astype(int)]
    rival, rival_NI = rival_columns(inputs, column_N)
    gram_II = cooccurrence(inputs.user_lists, inputs.item_lists).numpy()
    ours = objectives(gram_II, column_N, models[-1].weight_II.numpy().T[column_N], config.l1, config.l2)
    theirs = objectives(gram_II, column_N, rival_NI, config.l1, config.l2)
    exact = elastic_net(gram_II.astype(np.float64), l1=config.l1, l2=config.l2, tolerance=1e-8)[1][column_N]
    return {
        "what": "SLIM fit beside scikit-learn's ElasticNet as RecBole 1.2.1 calls it",
        "alpha": ALPHA,
        "l1_ratio": L1_RATIO,
        "tolerance": TOLERANCE,
        "ours": best.facts(),
        "rival_columns": len(column_N),
        "rival": rival.facts(),
        "rival_fit_s": round(rival.wall * items / count, 1),
        "ratio": round(rival.wall * items / count / best.wall, 1),
        "ratio_cpu": round(rival.cpu * items / count / best.cpu, 1),
        "objective_ours": round(float(ours.sum()), 4),
        "objective_rival": round(float(theirs.sum()), 4),
        "objective_optimum": round(float(exact.sum()), 4),
        "columns_where_ours_is_higher": int((ours > theirs).sum()),
        "largest_relative_excess": float(f"{((ours - theirs) / np.maximum(theirs, 1e-9)).max():.2g}"),
        "peak_mib": peak_mib(),
    }


def rival_ease(inputs: Inputs, l2: float) -> Spell:
    """The closed form by a sparse product and numpy's inverse."""
    x_UI = inputs.train.by_user.astype(np.float32)
    with Spell() as spell:
        gram_II = (x_UI.T @ x_UI + l2 * sparse.identity(x_UI.shape[1], dtype=np.float32)).toarray()
        inverse_II = np.linalg.inv(gram_II)
        weight_II = inverse_II / -np.diag(inverse_II)
        np.fill_diagonal(weight_II, 0.0)
    return spell


def ease_beside_inverse(inputs: Inputs) -> dict[str, Any]:
    """Both in turn, the best of three after one that compiles."""
    pairs = [(fitted(EASE(inputs.sizes, EASE.Config(l2=250.0)), inputs), rival_ease(inputs, 250.0)) for _ in range(4)]
    ours, rival = (min(spells[1:], key=lambda spell: spell.wall) for spells in zip(*pairs, strict=True))
    return {
        "what": "EASE fit, l2 250, beside scipy's sparse X'X and numpy's inverse, as RecBole 1.2.1 has it",
        "ours": ours.facts(),
        "rival": rival.facts(),
        "share": round(ours.wall / rival.wall, 3),
        "share_cpu": round(ours.cpu / rival.cpu, 3),
        "peak_mib": peak_mib(),
    }


def main() -> None:
    """Both lines for ml-1m-ncf."""
    inputs = Inputs(read_split(data_folder() / "ml-1m-ncf", validation="none").train)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COLUMNS
    lines = [slim_beside_elastic_net(inputs, count), ease_beside_inverse(inputs)]
    record("slim", [{"data": "ml-1m-ncf", **line} for line in lines])


if __name__ == "__main__":
    main()
