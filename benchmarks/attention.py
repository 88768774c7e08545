"""Does attention find what was liked? On simulated film clubs, whose members also see films that they dislike.

A model is fitted on all rows of a club but each member's last two, of which one chooses the epochs; then it weighs each
member's history for the last film. The area under the curve (AUC) is the chance that a liked entry of the history outweighs a
disliked one; liking is what the club was drawn from, and no model saw it. Weights that are all equal have 0.5 for everybody,
so that a signed-rank test of AUC - 0.5 is the paired test against them.

Beside it stand four others: how often each film was chosen, which a model without attention would know too; the model's own
score of each entry, without that entry in the history, which is what it has learnt of liking at all; the exposure by which the
film came to the member's notice; and the chance of the choice that followed, exposure times choice, which is all that a perfect
model of choices would know.

    python benchmarks/attention.py drnet delf [--seeds 3] [--users 600] [--items 300]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
import numpy as np
import torch
from machine import Spell, record
from scipy.stats import rankdata, wilcoxon

from attlas.data.simulate import Club
from attlas.models import model_class
from attlas.models.protocol import asked_by
from attlas.models.reasons import Explaining, reasons_of
from attlas.recommender import Recommender

ROWS_PER_USER = 45
BESIDE = ("popularity_auc", "score_auc", "exposure_auc", "chance_auc")
# What differs from a model's defaults: clubs are small, and patience chooses the epochs.
SETTINGS: dict[str, dict[str, Any]] = {
    "delf": {"config": {"embedding_dim": 32, "attention_dim": 32, "layers": (32, 16), "stddev": 0.1}},
    "drnet": {"config": {"stddev": 0.1}},
    "association": {"config": {"stddev": 0.1}},
}
USUAL = {"solver": {"learning_rate": 0.003}, "epochs": 60, "patience": 5}


def auc(weight: np.ndarray, is_liked: np.ndarray) -> float:
    """The chance that a liked entry weighs more than another; a tie counts half."""
    liked = int(is_liked.sum())
    ranks = rankdata(weight)[is_liked].sum() - liked * (liked + 1) / 2
    return float(ranks / (liked * (len(weight) - liked)))


def weights_for(made: Recommender, user: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """The items of a user's history, and what each weighs when the target is asked for."""
    model: Any = made.model
    inputs = made.inputs.gather(("user", "item", "user_history", "item_history"), np.array([user]), np.array([target]))
    with torch.inference_mode():
        weight_T = model.attention(**{name: inputs[name] for name in asked_by(model, "attention")})["user_history"]
    history = inputs["user_history"]
    return history.distinct[history.index].numpy(), weight_T.numpy()


def per_user(made: Recommender, club: Club, users: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """AUC of attention and of each of ``BESIDE``, for each user who has liked and disliked, float64[V, 5]."""
    popularity, truth, found = np.diff(made.inputs.train.by_item.indptr), club.truth, []
    for user, target in zip(users, targets, strict=True):
        items, weight = weights_for(made, int(user), int(target))
        same_user = np.full(len(items), user)
        is_liked = truth.preference(same_user, items) > 0
        if 0 < is_liked.sum() < len(items):
            exposure, score = truth.exposure(same_user, items), made.scorer.score(same_user, items)
            beside = popularity[items], score, exposure, exposure * truth.choice(same_user, items)
            found.append([auc(by, is_liked) for by in (weight, *beside)])
    return np.array(found)


def one_club(name: str, seed: int, num_users: int, num_items: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The AUCs of one club, and what its fit came to."""
    club = attlas.simulate(num_users, num_items, seed=seed, num_interactions=ROWS_PER_USER * num_users)
    parts = attlas.split(club.interactions, "leave-last-out")
    made = attlas.fit(parts, name, **USUAL | SETTINGS.get(name, {}), seed=seed)
    found = per_user(made, club, parts.test.user, parts.test.item)
    means = dict(zip(("auc", *BESIDE), found.mean(0).round(4).tolist(), strict=True))
    fit = {"epochs": made.card["training"]["epochs"], "ndcg@10": round(made.report.mean("ndcg@10"), 4)}
    return found, {"seed": seed, "users": len(found), **means, **fit}


def measured(name: str, seeds: int, num_users: int, num_items: int) -> dict[str, Any]:
    """The line of one model: users of all clubs together."""
    with Spell() as spell:
        clubs = [one_club(name, seed, num_users, num_items) for seed in range(1, seeds + 1)]
    found = np.concatenate([values for values, _ in clubs])
    attention, popularity, *_ = found.T
    half = 1.96 * attention.std(ddof=1) / len(found) ** 0.5
    return {
        "what": f"{name}: AUC of attention, liked over disliked",
        "data": f"{seeds} film clubs of {num_users:,} users, {num_items:,} items, {ROWS_PER_USER} rows a user",
        "auc": round(float(attention.mean()), 4),
        "interval": [round(float(attention.mean() + side * half), 4) for side in (-1, 1)],
        "above_0.6": bool(attention.mean() > 0.6),
        "p_against_uniform": float(f"{wilcoxon(attention - 0.5).pvalue:.3g}"),
        "p_against_popularity": float(f"{wilcoxon(attention - popularity).pvalue:.3g}"),
        **dict(zip(BESIDE, found[:, 1:].mean(0).round(4).tolist(), strict=True)),
        "clubs": [facts for _, facts in clubs],
        "settings": USUAL | SETTINGS.get(name, {}),
        "fits": spell.facts(),
    }


def main() -> None:
    """A line for each model."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("models", nargs="+")
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--users", type=int, default=600)
    words.add_argument("--items", type=int, default=300)
    asked = words.parse_args()
    for name in asked.models:
        chosen = model_class(name)
        if not isinstance(chosen, Explaining) or reasons_of(chosen) != "attention":
            sys.exit(f"{name} has no attention over histories; ask for models whose reasons are attention")
    for name in asked.models:
        record("attention", [measured(name, asked.seeds, asked.users, asked.items)])


if __name__ == "__main__":
    main()
