"""Features as arrays, a table and plain facts, and back again: what a run folder keeps of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from attlas.data.fields import Features, Field
from attlas.data.vocabulary import Vocabulary
from attlas.ops.ragged import Ragged

ARRAYS = ("user_index", "item_index", "user_value", "item_value", "is_seen")


def arrays_of(features: Features) -> dict[str, np.ndarray]:
    """What is known of users and items, what bags hold and what training has seen."""
    arrays = {name: getattr(features, name) for name in ARRAYS if getattr(features, name) is not None}
    if features.bags is not None:
        arrays |= {"bag_start": features.bags.start.numpy(), "bag_index": features.bags.index.numpy()}
    return {name: np.ascontiguousarray(values) for name, values in arrays.items()}


def table_of(features: Features) -> pl.DataFrame:
    """The categories of every field, as text."""
    rows = [(place, str(id_)) for place, one in enumerate(features.fields) for id_ in one.known.ids.to_list()]
    return pl.DataFrame(rows, schema={"field": pl.Int64, "category": pl.String}, orient="row")


def facts_of(features: Features) -> list[dict[str, Any]]:
    """What else there is to say of each field, ready for JSON."""
    return [
        {
            "name": one.name,
            "role": one.role,
            "kind": one.kind,
            "edges": list(one.edges),
            "centre": one.centre,
            "spread": one.spread,
            "are_numbers": one.known.ids.dtype == pl.Int64,
        }
        for one in features.fields
    ]


def features_from(
    facts: list[dict[str, Any]], table: pl.DataFrame, arrays: dict[str, np.ndarray], users: Vocabulary, items: Vocabulary
) -> Features:
    """The features that were kept; the user's and the item's own field have the given vocabularies, titles and all."""
    fields, own = [], {"user": users, "item": items}
    for place, fact in enumerate(facts):
        ids = table.filter(pl.col("field") == place)["category"]
        settings = {name: value for name, value in fact.items() if name not in ("are_numbers", "edges")}
        known = own.pop(fact["role"], None)
        if known is None:
            known = Vocabulary(ids.cast(pl.Int64) if fact["are_numbers"] else ids, noun=fact["name"])
        fields.append(Field(known=known, edges=tuple(fact["edges"]), **settings))
    width = sum(one.size for one in fields)
    bags = None
    if "bag_start" in arrays:
        bags = Ragged(torch.from_numpy(arrays["bag_start"]), torch.from_numpy(arrays["bag_index"]), width)
    return Features(tuple(fields), bags=bags, **{name: arrays[name] for name in ARRAYS if name in arrays})
