"""The scores of a batch, each half of a separable model encoded once for all pairs that share it.

Shapes: B pairs, D distinct askers among them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from attlas.data.inputs import History
from attlas.models.protocol import PairMatching, Separable, Sharing, asked_by
from attlas.ops.halves import distinct

LEAST_SHARED = 0.75  # of a half's askers: with more distinct ones, encoding them apart costs more than it saves


def score_pairs(model: Any, inputs: dict[str, Any]) -> Tensor:
    """What ``model(**inputs)`` gives, [B].

    A user is encoded once for all pairs that leave nothing out of the history, an item likewise; a pair that leaves an entry
    out is an asker of its own. Dropout below the codes has one mask for all who share a code.
    """
    if not isinstance(model, Separable) or isinstance(model, Sharing):
        return cast(Any, model)(**inputs)
    names = asked_by(type(model), "encode_user"), asked_by(type(model), "encode_item")
    user_code, user_row = _encoded(model.encode_user, inputs, names[0])
    item_code, item_row = _encoded(model.encode_item, inputs, names[1])
    if user_row is None and item_row is None:
        return model.match(user_code, item_code)
    user_row, item_row = _each(user_code) if user_row is None else user_row, _each(item_code) if item_row is None else item_row
    if isinstance(model, PairMatching):
        return model.match_pairs(user_code, user_row, item_code, item_row)
    return model.match(user_code.index_select(0, user_row), item_code.index_select(0, item_row))


def _each(code_BC: Tensor) -> Tensor:
    return torch.arange(len(code_BC), device=code_BC.device)


def _encoded(encode: Any, inputs: dict[str, Any], names: tuple[str, ...]) -> tuple[Tensor, Tensor | None]:
    """The codes of one half, and which of them is each pair's; None where each pair has its own."""
    asked = {name: inputs[name] for name in names}
    first_D, row_B = distinct_askers(asked)
    if len(first_D) > LEAST_SHARED * len(row_B):
        return encode(**asked), None
    of_distinct = {
        name: given.of_pairs(first_D) if isinstance(given, History) else given.index_select(0, first_D)
        for name, given in asked.items()
        if isinstance(given, History | Tensor)
    }
    return encode(**asked | of_distinct), row_B


def distinct_askers(asked: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Which pairs to encode, int64[D], and which of these each pair equals, int64[B].

    Args:
        asked: what one half is encoded from: ``user`` or ``item``, its history, or both.
    """
    history = next((given for given in asked.values() if isinstance(given, History)), None)
    asker_B: Tensor = history.row if history else next(iter(asked.values()))
    is_apart_B = history.left_out >= 0 if history else torch.zeros_like(asker_B, dtype=torch.bool)
    return distinct(asker_B, is_apart_B)
