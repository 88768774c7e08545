"""Layers whose input is a pair of rows, each row's share computed once however many pairs it is in.

Shapes: B pairs, G and H rows of the left and the right table, C columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call
from attlas.ops._numba import halves as _cpu


def relu_of_halves(left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor) -> Tensor:
    """ReLU of the sum of a row of each table, for each pair, [B, C].

    Args:
        left_GC, right_HC: the two tables.
        left_B, right_B: int64[B], the row of each that a pair adds.
    """
    if left_GC.device.type == "cpu":
        return _ReluOfHalves.apply(left_GC, left_B, right_HC, right_B)
    return (left_GC.index_select(0, left_B) + right_HC.index_select(0, right_B)).relu_()


def relu_of_halves_reference(left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor) -> Tensor:
    """``relu_of_halves``, pair by pair."""
    pairs = zip(left_B.tolist(), right_B.tolist(), strict=True)
    return torch.stack([(left_GC[g] + right_HC[h]).clamp(min=0) for g, h in pairs])


class _ReluOfHalves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor) -> Tensor:
        out_BC = left_GC.new_empty(len(left_B), left_GC.shape[1])
        call(_cpu.relu_of_halves, left_GC, left_B, right_HC, right_B, out_BC)
        ctx.rows = len(left_GC), len(right_HC)
        ctx.save_for_backward(left_B, right_B, out_BC)
        return out_BC

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        left_B, right_B, out_BC = ctx.saved_tensors
        sums: list[Tensor | None] = []
        for is_needed, row_B, count in zip(ctx.needs_input_grad[::2], (left_B, right_B), ctx.rows, strict=True):
            if not is_needed:
                sums.append(None)
                continue
            start, place = (torch.from_numpy(array) for array in _cpu.group(row_B.numpy(), count))
            sum_GC = grads[0].new_empty(count, out_BC.shape[1])
            call(_cpu.sum_where_positive, start, place, grads[0], out_BC, sum_GC)
            sums.append(sum_GC)
        return sums[0], None, sums[1], None
