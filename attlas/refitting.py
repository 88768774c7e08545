"""User vectors fitted to many parts of one history at once: what each would be, were this entry or that not there.

The cost is that of ``strangers.fit_users``, with the same negatives for every part. All parts are therefore scored on one list
of items, as a grid in which each user and each item is encoded once; what a part lacks does not count.

Shapes: S parts of the history, N items: those of the whole history, then the negatives. C code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from attlas.frozen import drawn_for
from attlas.models.protocol import InnerProduct, Separable, asked_by
from attlas.scoring import Scorer
from attlas.strangers import descend_users, with_users

CELL_BYTES = 4096  # what a part and an item may take together, on the way to their score and back


def fit_parts(scorer: Scorer, chosen_SI: sparse.csr_array, whole: np.ndarray) -> nn.Module:
    """The scorer's model with one user for each part of a history, whose vector is fitted to that part.

    Args:
        scorer: of a model that names its user tables and asks for ``user`` and ``item`` alone; it is not changed.
        chosen_SI: the parts, in sorted sparse rows; a part may be empty.
        whole: int64, the items of the whole history, rising; the negatives are drawn beside these.
    """
    model: Any = scorer.model
    negatives = drawn_for(whole, np.arange(chosen_SI.shape[1]))
    item_N = torch.from_numpy(np.concatenate([whole, negatives]).astype(np.int64)).to(scorer.inputs.device)
    label_N = (torch.arange(len(item_N), device=item_N.device) < len(whole)).float()
    is_there_ST = torch.from_numpy(chosen_SI[:, whole].toarray() > 0).to(item_N.device)
    counts_SN = torch.cat([is_there_ST, is_there_ST.new_ones(len(is_there_ST), len(negatives))], dim=1).float()
    parts_at_once = max(1, scorer.budget // CELL_BYTES // max(1, len(item_N)))
    fitted = [
        descend_users(model, scorer, len(part_SN), _cost(scorer, item_N, label_N, part_SN))
        for part_SN in counts_SN.split(parts_at_once)
    ]
    return with_users(model, {name: torch.cat([rows[name] for rows in fitted]) for name in model.user_tables})


def _cost(scorer: Scorer, item_N: Tensor, label_N: Tensor, counts_SN: Tensor) -> Callable[[nn.Module], Callable[[], Tensor]]:
    """The cross-entropy of all parts on the items that each has and on the negatives."""
    user_S, label_SN = torch.arange(len(counts_SN), device=item_N.device), label_N.expand_as(counts_SN)

    def cost(stranger: nn.Module) -> Callable[[], Tensor]:
        score = _scores_of(stranger, scorer, user_S, item_N)
        return lambda: functional.binary_cross_entropy_with_logits(score(), label_SN, counts_SN, reduction="sum")

    return cost


def _scores_of(stranger: nn.Module, scorer: Scorer, user_S: Tensor, item_N: Tensor) -> Callable[[], Tensor]:
    """A function that scores every part on every item, [S, N]; items are encoded once."""
    if isinstance(stranger, Separable) and asked_by(scorer.model, "encode_user") == ("user",):
        halves, code_NC = cast(Any, stranger), scorer.item_code[item_N].clone()
        if isinstance(stranger, InnerProduct):
            return lambda: halves.encode_user(user=user_S) @ code_NC.T
        return lambda: halves.match(halves.encode_user(user=user_S)[:, None], code_NC[None])
    user_P, item_P = user_S.repeat_interleave(len(item_N)), item_N.repeat(len(user_S))
    return lambda: stranger(user=user_P, item=item_P).view(len(user_S), -1)
