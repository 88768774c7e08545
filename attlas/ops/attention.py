"""Softmax attention of many rows over one table, with no more logits at a time than a block of rows has.

Shapes: G rows that ask, A rows that are asked, D columns of a query, E columns of a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LOGITS_AT_ONCE = 2**18  # 1 MB: what is made of a block stays in the cache


def attend(query_GD: Tensor, key_AD: Tensor, value_AE: Tensor, *, scale: float) -> Tensor:
    """softmax(scale * query key') value, row by row, [G, E].

    Weights are not kept for the way back but made again, block by block.

    Args:
        query_GD: who asks.
        key_AD, value_AE: who is asked, and what they have to say.
        scale: what logits are multiplied by.
    """
    return _Attend.apply(query_GD, key_AD, value_AE, scale)


def attend_reference(query_GD: Tensor, key_AD: Tensor, value_AE: Tensor, *, scale: float) -> Tensor:
    """``attend``, row by row."""
    rows = []
    for query_D in query_GD:
        exp_A = torch.stack([(scale * (query_D * key_D).sum()).exp() for key_D in key_AD])
        rows.append(sum(weight * value_E for weight, value_E in zip(exp_A / exp_A.sum(), value_AE, strict=True)))
    return torch.stack(rows)


def _blocks(rows: int, asked: int) -> Iterator[slice]:
    step = max(1, LOGITS_AT_ONCE // max(asked, 1))
    return (slice(first, first + step) for first in range(0, rows, step))


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_GD: Tensor, key_AD: Tensor, value_AE: Tensor, scale: float) -> Tensor:
        out_GE = query_GD.new_empty(len(query_GD), value_AE.shape[1])
        for block in _blocks(len(query_GD), len(key_AD)):
            weight_RA = torch.softmax((scale * query_GD[block]) @ key_AD.T, dim=-1)
            torch.mm(weight_RA, value_AE, out=out_GE[block])
        ctx.scale = scale
        ctx.save_for_backward(query_GD, key_AD, value_AE, out_GE)
        return out_GE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query_GD, key_AD, value_AE, out_GE = ctx.saved_tensors
        grad_query_GD, grad_key_AD, grad_value_AE = (torch.zeros_like(given) for given in (query_GD, key_AD, value_AE))
        mean_G1 = (grads[0] * out_GE).sum(-1, keepdim=True)
        for block in _blocks(len(query_GD), len(key_AD)):
            query_RD, grad_RE = ctx.scale * query_GD[block], grads[0][block]
            weight_RA = torch.softmax(query_RD @ key_AD.T, dim=-1)
            grad_value_AE.addmm_(weight_RA.T, grad_RE)
            grad_logit_RA = (grad_RE @ value_AE.T).sub_(mean_G1[block]).mul_(weight_RA)
            grad_query_GD[block] = ctx.scale * (grad_logit_RA @ key_AD)
            grad_key_AD.addmm_(grad_logit_RA.T, query_RD)
        return grad_query_GD, grad_key_AD, grad_value_AE, None
