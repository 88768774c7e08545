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
    user, item = (_Half(inputs, asked_by(type(model), name)) for name in ("encode_user", "encode_item"))
    if not (user.is_shared or item.is_shared):
        return cast(Any, model)(**inputs)
    user_code, item_code = model.encode_user(**user.asked), model.encode_item(**item.asked)
    if isinstance(model, PairMatching):
        return model.match_pairs(user_code, user.row_B, item_code, item.row_B)
    return model.match(user.of_pairs(user_code), item.of_pairs(item_code))


class _Half:
    """What one half is encoded from: once for all pairs that share it, or pair by pair where few do.

    Attributes:
        asked: the inputs of ``encode_user`` or ``encode_item``.
        row_B: which of the codes is each pair's.
    """

    def __init__(self, inputs: dict[str, Any], names: tuple[str, ...]):
        asked = {name: inputs[name] for name in names}
        first_D, row_B = distinct_askers(asked)
        self.is_shared = len(first_D) <= LEAST_SHARED * len(row_B)
        self.asked = {name: _of_pairs(given, first_D) for name, given in asked.items()} if self.is_shared else asked
        self.row_B = row_B if self.is_shared else torch.arange(len(row_B), device=row_B.device)

    def of_pairs(self, code_DC: Tensor) -> Tensor:
        """The code of each pair, [B, C]."""
        return code_DC.index_select(0, self.row_B) if self.is_shared else code_DC


def _of_pairs(given: Any, pairs: Tensor) -> Any:
    """Of a history or an index what some of the pairs ask for; anything else is the same for all of them."""
    if isinstance(given, History):
        return given.of_pairs(pairs)
    return given.index_select(0, pairs) if isinstance(given, Tensor) else given


def distinct_askers(asked: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Which pairs to encode, int64[D], and which of these each pair equals, int64[B].

    Args:
        asked: what one half is encoded from: ``user`` or ``item``, its history, or both.
    """
    history = next((given for given in asked.values() if isinstance(given, History)), None)
    asker_B: Tensor = history.row if history else next(iter(asked.values()))
    is_apart_B = history.left_out >= 0 if history else torch.zeros_like(asker_B, dtype=torch.bool)
    return distinct(asker_B, is_apart_B)
