"""Clean data and honest models, small enough for a second: what faults are planted in."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

import attlas
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.recommender import Recommender

SMALL: dict[str, dict[str, Any]] = {
    "popularity": {},
    "ease": {"config": {"l2": 20.0}},
    "mf": {"config": {"embedding_dim": 4}, "epochs": 10},
    "delf": {
        "config": {"embedding_dim": 8, "attention_dim": 8, "layers": (8,), "stddev": 0.1},
        "solver": {"learning_rate": 0.01, "batch_size": 512},
        "epochs": 3,
    },
    "drnet": {
        "config": {"embedding_dim": 8, "layers": (8,), "stddev": 0.3},
        "solver": {"learning_rate": 0.01, "batch_size": 512},
        "epochs": 3,
    },
}
DESCENT: dict[str, Any] = {"solver": {"learning_rate": 0.01, "batch_size": 512}, "epochs": 3}
NCF = {"gmf_dim": 8, "mlp_dim": 8, "layers": (16, 8), "stddev": 0.1}
CFNET = {"rl_user_dim": 8, "rl_item_dim": 8, "rl_layers": (16,), "ml_dim": 8, "ml_layers": (16, 8)}
GATED = {
    "representation_dim": 8,
    "representation_layers": (16,),
    "matching_dim": 8,
    "matching_layers": (16, 16),
    "stddev": 0.05,
}


def part_of(config: dict[str, Any], *names: str) -> dict[str, Any]:
    """The settings of a part of a model."""
    return {"config": {name: value for name, value in config.items() if name.startswith(names)}, **DESCENT}


OTHERS: dict[str, dict[str, Any]] = {
    "itemknn": {"config": {"neighbours": 10}},
    "slim": {"config": {"l1": 1.0, "l2": 10.0}},
    "ials": {"config": {"embedding_dim": 8, "l2": 0.01}, "epochs": 5},
    "eals": {"config": {"embedding_dim": 4}, "epochs": 5},
    "expomf": {"config": {"embedding_dim": 4}, "epochs": 5},
    "fawmf": {"config": {"embedding_dim": 8, "num_communities": 2}, "epochs": 5},
    "linear": DESCENT,
    "fm": {"config": {"embedding_dim": 8, "stddev": 0.1}, **DESCENT},
    "nfm": {"config": {"embedding_dim": 8, "stddev": 0.1}, **DESCENT},
    "deepfm": {"config": {"embedding_dim": 8, "layers": (16,), "stddev": 0.1}, **DESCENT},
    "afm": {"config": {"embedding_dim": 8, "attention_dim": 4, "stddev": 0.1}, **DESCENT},
    "fism": {"config": {"embedding_dim": 8, "stddev": 0.1}, **DESCENT},
    "nais": {"config": {"embedding_dim": 8, "attention_dim": 8, "stddev": 0.1}, **DESCENT},
    "neumf": {"config": NCF, **DESCENT},
    "gmf": part_of(NCF, "gmf", "stddev"),
    "mlp": part_of(NCF, "mlp", "layers", "stddev"),
    "deepcf": {"config": CFNET, **DESCENT},
    "cfnet_rl": part_of(CFNET, "rl"),
    "cfnet_ml": part_of(CFNET, "ml"),
    "affection": {"config": {"embedding_dim": 8, "layers": (16, 8), "stddev": 0.3}, **DESCENT},
    "association": {"config": {"embedding_dim": 8, "layers": (16, 8), "stddev": 0.3}, **DESCENT},
    "dacr": {"config": GATED, **DESCENT},
    "arl": part_of(GATED, "representation", "stddev"),
    "aml": part_of(GATED, "matching", "stddev"),
}


@functools.cache
def club(seed: int = 7, num_users: int = 100, num_items: int = 60) -> Interactions:
    """Rows of a simulated film club; those of the default size have no cold item under leave-last-out."""
    return attlas.simulate(num_users, num_items, seed=seed, num_interactions=15 * num_users).interactions


def with_candidates(split: Split, count: int = 20) -> Split:
    """The same split with so many items for each test row that the user has not chosen, each of them once."""
    parts = [part.by_user for part in (split.train, split.valid, split.test) if part is not None]
    is_chosen = sum(parts[1:], start=parts[0]).toarray() > 0
    rng = np.random.default_rng(0)
    lists = [rng.choice(np.flatnonzero(~is_chosen[user]), count, replace=False) for user in split.test.user]
    return replace(split, candidates=np.array(lists))


@functools.cache
def clean(code: str = "leave-last-out") -> Split:
    """The club split without a fault, with candidates."""
    return with_candidates(attlas.split(club(), code))


def fitted(name: str, split: Split, **further: Any) -> Recommender:
    """An honest model, or one with other settings."""
    settings = {**(SMALL | OTHERS)[name], **further}
    return attlas.fit(split, name, **settings)
