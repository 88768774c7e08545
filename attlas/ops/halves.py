"""Layers whose input is a pair of rows, each row's share computed once however many pairs it is in.

Shapes: B pairs, G and H rows of the left and the right table, C columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import halves as _cpu


def distinct(asker_B: Tensor, is_apart_B: Tensor) -> tuple[Tensor, Tensor]:
    """Of many askers those to ask for, since the others equal one of them: equal ones are one, except who stands apart.

    Args:
        asker_B: int64[B], who asks, from 0.
        is_apart_B: bool[B], whether an asker equals nobody, whoever it is.

    Returns:
        The first of each, int64[D], by who asks and then those apart in their order; and which of these each is, int64[B].
    """
    count = int(asker_B.max()) + 1 if len(asker_B) else 0
    if can_read(asker_B):
        first_G, first_D, row_B = torch.full((count,), -1), torch.empty_like(asker_B), torch.empty_like(asker_B)
        kinds = _cpu.distinct(*(tensor.numpy() for tensor in (asker_B, is_apart_B, first_G, first_D, row_B)))
        return first_D[:kinds], row_B
    place_B = torch.arange(len(asker_B), device=asker_B.device)
    key_B = torch.where(is_apart_B, count + place_B, asker_B)
    kind_D, row_B = key_B.unique(return_inverse=True)
    first_D = torch.full_like(kind_D, len(asker_B)).scatter_reduce(0, row_B, place_B, "amin")
    return first_D, row_B


def distinct_reference(asker_B: Tensor, is_apart_B: Tensor) -> tuple[Tensor, Tensor]:
    """``distinct``, asker by asker."""
    keys = [
        (is_apart, b if is_apart else g)
        for b, (g, is_apart) in enumerate(zip(asker_B.tolist(), is_apart_B.tolist(), strict=True))
    ]
    kinds = sorted(set(keys))
    return torch.tensor([keys.index(kind) for kind in kinds]), torch.tensor([kinds.index(key) for key in keys])


def relu_of_halves(left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor) -> Tensor:
    """ReLU of the sum of a row of each table, for each pair, [B, C].

    Args:
        left_GC, right_HC: the two tables.
        left_B, right_B: int64[B], the row of each that a pair adds.
    """
    if can_read(left_GC):
        return _ReluOfHalves.apply(left_GC, left_B, right_HC, right_B)
    return (left_GC.index_select(0, left_B) + right_HC.index_select(0, right_B)).relu_()


def relu_of_halves_reference(left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor) -> Tensor:
    """``relu_of_halves``, pair by pair."""
    pairs = zip(left_B.tolist(), right_B.tolist(), strict=True)
    return torch.stack([(left_GC[g] + right_HC[h]).clamp(min=0) for g, h in pairs])


def products_and_relu_of_halves(
    left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor, split: int
) -> tuple[Tensor, Tensor]:
    """For each pair the inner product of its rows' first ``split`` columns, [B], and the ReLU of the sum of the others.

    Args:
        left_GC, right_HC: the two tables.
        left_B, right_B: int64[B], the row of each that a pair reads.
        split: how many columns are multiplied; the rest are added.
    """
    if can_read(left_GC):
        product_B, out_BH = _ProductsAndReluOfHalves.apply(left_GC, left_B, right_HC, right_B, split)
        return product_B, out_BH
    left_BC, right_BC = left_GC.index_select(0, left_B), right_HC.index_select(0, right_B)
    product_B = (left_BC[:, :split] * right_BC[:, :split]).sum(-1)
    return product_B, (left_BC[:, split:] + right_BC[:, split:]).relu_()


def products_and_relu_of_halves_reference(
    left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor, split: int
) -> tuple[Tensor, Tensor]:
    """``products_and_relu_of_halves``, pair by pair."""
    pairs = [(left_GC[g], right_HC[h]) for g, h in zip(left_B.tolist(), right_B.tolist(), strict=True)]
    products = torch.stack([left_C[:split] @ right_C[:split] for left_C, right_C in pairs])
    return products, torch.stack([(left_C[split:] + right_C[split:]).clamp(min=0) for left_C, right_C in pairs])


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


class _ProductsAndReluOfHalves(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, left_GC: Tensor, left_B: Tensor, right_HC: Tensor, right_B: Tensor, split: int
    ) -> tuple[Tensor, Tensor]:
        product_B = left_GC.new_empty(len(left_B))
        out_BH = left_GC.new_empty(len(left_B), left_GC.shape[1] - split)
        call(_cpu.products_and_relu_of_halves, left_GC, left_B, right_HC, right_B, product_B, out_BH)
        ctx.save_for_backward(left_GC, left_B, right_HC, right_B, out_BH)
        return product_B, out_BH

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        left_GC, left_B, right_HC, right_B, out_BH = ctx.saved_tensors
        sums: list[Tensor | None] = []
        sides = ((left_GC, left_B, right_HC, right_B), (right_HC, right_B, left_GC, left_B))
        for is_needed, (own_GC, own_B, other_HC, other_B) in zip(ctx.needs_input_grad[:3:2], sides, strict=True):
            if not is_needed:
                sums.append(None)
                continue
            start, place = (torch.from_numpy(array) for array in _cpu.group(own_B.numpy(), len(own_GC)))
            sum_GC = torch.empty_like(own_GC, memory_format=torch.contiguous_format)
            call(_cpu.sum_both, start, place, grads[0], other_HC, other_B, grads[1], out_BH, sum_GC)
            sums.append(sum_GC)
        return sums[0], None, sums[1], None, None
