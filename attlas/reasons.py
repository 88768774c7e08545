"""The weights behind one score, gathered from the model and put into outside ids.

Shapes: T history entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from attlas.data.inputs import History
from attlas.data.vocabulary import Vocabulary
from attlas.explanation import Explanation, Exposure
from attlas.models.protocol import Explaining, Exposing, asked_by, reasons_of
from attlas.scoring import Scorer
from attlas.strangers import given_history

ROUNDING = 1e-3  # how far from 1 the float32 weights of a softmax may sum


def explain_pair(
    scorer: Scorer,
    item: int,
    *,
    user: int | None = None,
    chosen: np.ndarray | None = None,
    way: str,
    top: int | None = None,
) -> Explanation:
    """Why one item: for a known user by index, or for a stranger by the items chosen.

    The item itself is never among its own reasons.
    """
    model, items = scorer.model, scorer.train.items
    made = _inputs_of(scorer, item, user, chosen)
    with torch.inference_mode():
        score = _score_of(scorer, made, way)
        weights = (
            model.attention(**{name: made[name] for name in asked_by(model, "attention")})
            if isinstance(model, Explaining)
            else {}
        )
        exposure = _exposure(model, made["user"], made["item"]) if isinstance(model, Exposing) and way != "popular" else None
    facts: dict[str, Any] = {"item": items.ids_of([item])[0], "title": items.titles_of([item])[0], "score": score, "way": way}
    facts["exposure"] = exposure
    method = "popularity" if way == "popular" else reasons_of(model)
    if not weights or way == "popular":
        return Explanation(**facts, method=method, history=_frame(items, np.zeros(0, np.int64), np.zeros(0), top))
    audience = None
    if "item_history" in weights:
        audience = _entries(scorer.train.users, made["item_history"], weights["item_history"], top).drop("title")
    return Explanation(
        **facts,
        method=method,
        history=_entries(items, made["user_history"], weights["user_history"], top),
        audience=audience,
        are_shares=method == "attention" and abs(float(weights["user_history"].sum()) - 1.0) < ROUNDING,
    )


def _inputs_of(scorer: Scorer, item: int, user: int | None, chosen: np.ndarray | None) -> dict[str, Any]:
    """The pair's inputs, its own target really taken out of its lists, so that weights are those of what is left."""
    inputs, target = scorer.inputs, np.array([item])
    if user is not None:
        mine = inputs.train.by_user[[user]].indices.astype(np.int64)
        asker = user
    else:
        mine, asker = np.asarray(chosen), 0
    if "fields" in scorer.names:
        return {"item": torch.as_tensor(target, device=inputs.device)} | inputs.gather(("fields",), np.array([asker]), target)
    theirs = inputs.train.by_item[[item]].indices.astype(np.int64)
    matrix = inputs.gather(["observed"], np.array([asker]), target) if "observed" in scorer.names else {}
    return matrix | {
        "user": torch.tensor([asker], device=inputs.device),
        "item": torch.as_tensor(target, device=inputs.device),
        "user_history": given_history(inputs, mine[mine != item]),
        "item_history": given_history(inputs, theirs if user is None else theirs[theirs != user]),
    }


def _exposure(model: Exposing, user: Tensor, item: Tensor) -> Exposure:
    share_C, exposure_C = model.communities(user)[0].cpu().numpy(), model.exposure(item)[0].cpu().numpy()
    order = np.argsort(-share_C, kind="stable")
    columns = {"community": order, "membership": share_C[order].astype(float), "exposure": exposure_C[order].astype(float)}
    return Exposure(float(share_C @ exposure_C), float(model.preference(user, item)[0]), pl.DataFrame(columns))


def _score_of(scorer: Scorer, made: dict[str, Any], way: str) -> float:
    if way == "popular":
        return float(scorer.inputs.item_lists.length[made["item"]][0])
    return float(scorer.model(**{name: made[name] for name in scorer.names})[0])


def _entries(known: Vocabulary, history: History, weight_T: Tensor, top: int | None) -> pl.DataFrame:
    index = history.distinct[history.index].cpu().numpy()
    return _frame(known, index, weight_T.cpu().numpy(), top)


def _frame(known: Vocabulary, index: np.ndarray, weight: np.ndarray, top: int | None) -> pl.DataFrame:
    order = np.argsort(-weight, kind="stable")[:top]
    return pl.DataFrame(
        {
            known.noun: known.ids.gather(index[order]),
            "title": pl.Series(known.titles_of(index[order]), dtype=pl.String),
            "weight": pl.Series(weight[order], dtype=pl.Float64),
        }
    )
