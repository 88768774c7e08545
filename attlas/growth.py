"""Room in a trained model's tables for whoever has come since: what it knows keeps its place and its values.

A model is made anew for the larger sizes and takes over what it was. New rows of a table that is read through an index begin at
the mean of the known ones; those of a table that only histories are read through begin at zero, and add nothing.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attlas.data.encoding import of_newcomers
from attlas.data.fields import Features
from attlas.data.inputs import Sizes
from attlas.data.interactions import Interactions
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError
from attlas.models.protocol import asked_by
from attlas.ops.ragged import Ragged

PROBE = Sizes(5, 7)  # small sizes that tell a table's side by which of them it follows


def grown_model(model: Any, before: Sizes, after: Sizes) -> nn.Module:
    """The same model for more users and items, ready for use; the one that came is not changed.

    Args:
        model: trained, with its ``config``.
        before, after: how many there were, and are.

    Raises:
        ConfigError: it has weights that no new user or item can be given.
    """
    known = model.state_dict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = type(model)(after, model.config)
    fresh = made.state_dict()
    place_n = torch.from_numpy(moved_features(before.fields, after.fields)) if "fields" in asked_by(model) else None
    asked = read_by_index(model)
    for name, table in fresh.items():
        _take_over(name, table, known[name].cpu(), is_asked=name in asked, place_n=place_n)
    made.load_state_dict(fresh)
    return made.to(next(iter(known.values())).device).eval()


def _take_over(name: str, fresh: Tensor, old: Tensor, *, is_asked: bool, place_n: Tensor | None) -> None:
    """Fill one weight in place; ``place_n`` says where each known feature stands, of a model of fields."""
    grows = [dim for dim in range(fresh.ndim) if fresh.shape[dim] != old.shape[dim]]
    if not grows:
        fresh.copy_(old)
    elif place_n is not None and (grows != [0] or len(old) != len(place_n)):
        raise ConfigError(f"{name} has a weight for each pair of features, and new users or items come without; fit anew")
    elif grows == [0]:
        fresh.copy_(old.double().mean(0).to(fresh) if is_asked or place_n is not None else torch.zeros_like(fresh[0]))
        fresh[torch.arange(len(old)) if place_n is None else place_n] = old
    else:
        fresh[tuple(slice(size) for size in old.shape)] = old


def read_by_index(model: Any) -> frozenset[str]:
    """The names of the weights with a row per user or item that the model may ask for by ``user`` or ``item``."""
    kind: Any = type(model)
    sides = zip(("user", "item"), by_side(kind, model.config), strict=True)
    return frozenset().union(*(names for side, names in sides if side in asked_by(model)))


@functools.cache
def by_side(kind: Any, config: Any) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the weights with a row per user, and of those with one per item, of a class of models; tried once."""
    with torch.random.fork_rng(devices=[]):
        plain, more_users, more_items = (
            {name: tuple(tensor.shape) for name, tensor in kind(sizes, config).state_dict().items()}
            for sizes in (PROBE, replace(PROBE, num_users=6), replace(PROBE, num_items=8))
        )
    users, items = (
        frozenset(name for name, shape in plain.items() if shape and larger[name][0] > shape[0])
        for larger in (more_users, more_items)
    )
    return users, items


def moved_features(before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray:
    """Where each feature stands when fields have grown, int64[n]; the last of each field, its unknown, stays the last."""
    first, kept = np.cumsum([0, *after]), []
    for low, size, more in zip(first[:-1], before, after, strict=True):
        place = low + np.arange(size)
        place[-1] = low + more - 1
        kept.append(place)
    return np.concatenate(kept).astype(np.int64)


def grown_features(features: Features, users: Vocabulary, items: Vocabulary) -> Features:
    """The fields with further users and items.

    Args:
        users, items: the known ones and then the new; what is known of these are columns with the names of fields.

    Raises:
        DataError: a column of a field of numbers holds something else.
    """
    wanted = {"user": users, "item": items}
    own = {role: features.places(role)[0] for role in ("user", "item")}
    fields = tuple(
        replace(one, known=wanted[one.role]) if place in own.values() else one for place, one in enumerate(features.fields)
    )
    made = replace(features, fields=fields, is_seen=None, bags=None)
    feature_n = moved_features(features.sizes, made.sizes)
    moved: dict[str, Any] = {}
    if features.is_seen is not None:
        moved["is_seen"] = np.ones(int(made.first[-1]), np.bool_)
        moved["is_seen"][feature_n] = features.is_seen
    if features.bags is not None:
        index_T = torch.from_numpy(feature_n)[features.bags.index]
        moved["bags"] = Ragged(features.bags.start, index_T, int(made.first[-1]))
    made, shift = replace(made, **moved), int(made.first[-1] - features.first[-1])
    for role in ("user", "item"):
        index, value = getattr(features, f"{role}_index"), getattr(features, f"{role}_value")
        is_bag = index >= features.first[-1]
        kept = np.where(is_bag, index + shift, feature_n[np.where(is_bag, 0, index)])
        came, columns = len(wanted[role]) - len(index), wanted[role].columns
        facts = [{}] * came if columns is None else columns.tail(came).to_dicts() if came else []
        fresh, weight, bags = of_newcomers(made, role, facts)
        both: dict[str, Any] = {"bags": bags, f"{role}_index": np.concatenate([kept, fresh])}
        if value is not None:
            both[f"{role}_value"] = np.concatenate([value, weight])
        made = replace(made, **both)
    return made


def own_features(features: Features, rows: Interactions) -> Features:
    """The fields in which whoever has one of the rows is a category of their own, also if training had not seen them.

    Args:
        features: with all users and items of the rows.
        rows: the new ones.
    """
    changed: dict[str, Any] = {} if features.is_seen is None else {"is_seen": features.is_seen.copy()}
    for role, index in (("user", np.unique(rows.user)), ("item", np.unique(rows.item))):
        own = features.first[features.places(role)[0]] + index  # type: ignore[arg-type]
        table = getattr(features, f"{role}_index").copy()
        table[index, 0] = own
        changed[f"{role}_index"] = table
        if "is_seen" in changed:
            changed["is_seen"][own] = True
    return replace(features, **changed)


def rows_of_users(model: nn.Module, features: Features | None, user: np.ndarray) -> dict[str, Tensor]:
    """Which rows of which weights are the given users' own, by the name of the weight."""
    return _own_rows(model, features, user, "user")


def rows_of_items(model: nn.Module, features: Features | None, item: np.ndarray) -> dict[str, Tensor]:
    """Which rows of which weights are the given items' own, by the name of the weight."""
    return _own_rows(model, features, item, "item")


def _own_rows(model: Any, features: Features | None, index: np.ndarray, side: str) -> dict[str, Tensor]:
    kind: Any = type(model)
    names = by_side(kind, model.config)[("user", "item").index(side)]
    learned = {name: weight for name, weight in model.named_parameters() if name in names}
    if "fields" in asked_by(model):
        assert features is not None
        row = torch.from_numpy(getattr(features, f"{side}_index")[index, 0])
        count = int(features.first[-1])
        return {name: row for name, weight in learned.items() if weight.ndim == 2 and len(weight) == count}
    return {name: torch.from_numpy(index) for name in learned}
