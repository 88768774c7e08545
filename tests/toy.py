"""Two tastes: the smallest data set on which a model can show that it looks at who asks."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.data.vocabulary import Vocabulary
from attlas.models import model_class
from attlas.models.protocol import task_of
from attlas.recommender import Recommender
from attlas.runner import fit

# What lets a model learn sixteen users in a second; a model that is not listed trains with its defaults.
QUICK: dict[str, dict[str, Any]] = {
    "ials": {"config": {"embedding_dim": 8}, "epochs": 5},
    "eals": {"config": {"embedding_dim": 8, "missing_weight": 0.3}, "epochs": 10},
    "expomf": {"config": {"embedding_dim": 4, "prior_start": 0.3}, "epochs": 10},
    "fawmf": {"config": {"embedding_dim": 4, "num_communities": 2}, "epochs": 10},
    "mf": {"config": {"embedding_dim": 2}, "solver": {"learning_rate": 0.1, "l2": 0.02}, "epochs": 12},
    "biased_mf": {"config": {"embedding_dim": 2}, "solver": {"learning_rate": 0.1}, "epochs": 20},
    "aimf": {
        "config": {"embedding_dim": 4, "attention_dim": 4},
        "solver": {"learning_rate": 0.03, "batch_size": 64},
        "epochs": 10,
    },
    "gmf": {"config": {"gmf_dim": 4, "stddev": 0.1}, "solver": {"learning_rate": 0.05, "batch_size": 128}, "epochs": 10},
    "mlp": {
        "config": {"mlp_dim": 4, "layers": (8, 4), "stddev": 0.1},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 10,
    },
    "neumf": {
        "config": {"gmf_dim": 4, "mlp_dim": 4, "layers": (8, 4), "stddev": 0.1},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 8,
    },
    "deepcf": {
        "config": {"rl_user_dim": 8, "rl_item_dim": 8, "rl_layers": (4,), "ml_dim": 8, "ml_layers": (8, 4)},
        "solver": {"learning_rate": 0.03, "batch_size": 128},
        "epochs": 8,
    },
    "cfnet_rl": {
        "config": {"rl_user_dim": 8, "rl_item_dim": 8, "rl_layers": (8,)},
        "solver": {"learning_rate": 0.03, "batch_size": 128},
        "epochs": 8,
    },
    "cfnet_ml": {
        "config": {"ml_dim": 8, "ml_layers": (8, 4)},
        "solver": {"learning_rate": 0.03, "batch_size": 128},
        "epochs": 8,
    },
    "delf": {
        "config": {"embedding_dim": 8, "attention_dim": 4, "layers": (8, 4), "stddev": 0.1},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 4,
    },
    "dacr": {
        "config": {
            "representation_dim": 8,
            "representation_layers": (8,),
            "matching_dim": 8,
            "matching_layers": (8, 4),
            "stddev": 0.1,
        },
        "solver": {"learning_rate": 0.02, "batch_size": 128},
        "epochs": 6,
    },
    "arl": {
        "config": {"representation_dim": 8, "representation_layers": (8,), "stddev": 0.1},
        "solver": {"learning_rate": 0.02, "batch_size": 128},
        "epochs": 6,
    },
    "aml": {
        "config": {"matching_dim": 8, "matching_layers": (8, 4), "stddev": 0.1},
        "solver": {"learning_rate": 0.02, "batch_size": 128},
        "epochs": 6,
    },
    "affection": {
        "config": {"embedding_dim": 4, "layers": (16, 8), "stddev": 0.1},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 8,
    },
    "association": {
        "config": {"embedding_dim": 8, "layers": (16, 8), "stddev": 0.1},
        "solver": {"learning_rate": 0.03, "batch_size": 128},
        "epochs": 8,
    },
    "drnet": {
        "config": {"embedding_dim": 8, "layers": (16, 8), "stddev": 0.1},
        "solver": {"learning_rate": 0.03, "batch_size": 128},
        "epochs": 8,
    },
    "linear": {"solver": {"learning_rate": 0.05, "batch_size": 128}, "epochs": 4},
    "fm": {"config": {"embedding_dim": 4, "stddev": 0.1}, "solver": {"learning_rate": 0.05, "batch_size": 128}, "epochs": 8},
    "nfm": {
        "config": {"embedding_dim": 8, "layers": (8,), "stddev": 0.1, "norm": False, "dropout": 0.0, "hidden_dropout": 0.0},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 10,
    },
    "deepfm": {
        "config": {"embedding_dim": 4, "layers": (8, 4), "stddev": 0.1, "dropout": 0.0},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 8,
    },
    "afm": {
        "config": {"embedding_dim": 4, "attention_dim": 4, "stddev": 0.1, "dropout": 0.0},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 8,
    },
    "fism": {"config": {"embedding_dim": 4, "stddev": 0.1}, "solver": {"learning_rate": 0.05, "batch_size": 128}, "epochs": 6},
    "nais": {
        "config": {"embedding_dim": 4, "attention_dim": 4, "stddev": 0.1},
        "solver": {"learning_rate": 0.05, "batch_size": 128},
        "epochs": 6,
    },
}


def chosen_by(lists: list[list[int]], num_items: int) -> Interactions:
    """User ``g`` has chosen the items of the g-th list; ids are u0, u1, .. and i0, i1, .. by their indices."""
    user = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    item = np.array([item for items in lists for item in items], np.int64)
    users = Vocabulary([f"u{user}" for user in range(len(lists))], noun="user")
    return Interactions(users, Vocabulary([f"i{item}" for item in range(num_items)], noun="item"), user, item)


def two_tastes(size: int = 16) -> Split:
    """Even users choose all even items, odd ones all odd items; the item that bears the user's own number is withheld.

    Every item is trained on equally often, so that popularity cannot tell one from another.
    """
    liked = [[item for item in range(size) if item % 2 == user % 2] for user in range(size)]
    everything = chosen_by(liked, size)
    is_withheld = everything.user == everything.item
    return Split(everything.take(~is_withheld), None, everything.take(is_withheld), "two-tastes")


def rated_tastes(size: int = 16) -> Split:
    """Everybody rates everything but the withheld items, 5 what is of their taste and 1 what is not."""
    everything = chosen_by([list(range(size))] * size, size)
    is_liked, is_withheld = everything.user % 2 == everything.item % 2, everything.user == everything.item
    rated = dataclasses.replace(everything, rating=np.where(is_liked, 5, 1).astype(np.float32))
    return Split(rated.take(~is_withheld), None, rated.take(is_withheld), "rated-tastes")


def trained(name: str, seed: int = 1) -> Recommender:
    """A model by its name, trained on two tastes; one of ratings on rated tastes."""
    data = rated_tastes() if task_of(model_class(name)) == "rating" else two_tastes()
    return fit(data, name, **QUICK.get(name, {}), seed=seed)


@functools.cache
def fitted(name: str) -> Recommender:
    """The same, trained once for all tests that only ask it."""
    return trained(name)
