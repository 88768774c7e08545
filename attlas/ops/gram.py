"""Products of matrices of which only some cells are wanted, or whose cells are mostly empty.

Shapes: U rows, I columns; G rows of a pattern, T entries, E rows of a table, D columns of it; B pairs of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call
from attlas.ops._numba import gram as _cpu
from attlas.ops.ragged import Ragged


def cooccurrence(rows: Ragged, columns: Ragged) -> Tensor:
    """How many rows list both i and j, [I, I] in float32: X'X of a binary X given by its rows and by its columns.

    Costs the sum of squared row lengths, not U I^2.
    """
    device = rows.start.device
    if device.type != "cpu":
        dense_UI = torch.zeros(rows.count, rows.width, device=device)
        dense_UI[rows.owner, rows.index] = 1.0
        return dense_UI.T @ dense_UI
    out_II = torch.zeros(rows.width, rows.width)
    arrays = (rows.start, rows.index, columns.start, columns.index, out_II)
    _cpu.cooccurrence(*(tensor.numpy() for tensor in arrays))
    _cpu.mirror(out_II.numpy())
    return out_II


def cooccurrence_reference(rows: Ragged, columns: Ragged) -> Tensor:
    """``cooccurrence``, row by row and pair by pair."""
    out_II = torch.zeros(rows.width, rows.width)
    for g in range(rows.count):
        listed = rows.index[rows.start[g] : rows.start[g + 1]].tolist()
        for i in listed:
            for j in listed:
                out_II[i, j] += 1.0
    return out_II


@torch.no_grad()
def inner_products(left_GD: Tensor, right_ED: Tensor, rows: Ragged) -> Tensor:
    """The product of each row's vector with the vector that each of its entries points to, [T]; not differentiable."""
    if left_GD.device.type != "cpu":
        return (left_GD[rows.owner] * right_ED[rows.index]).sum(-1)
    out_T = left_GD.new_empty(len(rows.index))
    call(_cpu.inner_products, left_GD, right_ED, rows.start, rows.index, out_T)
    return out_T


@torch.no_grad()
def inner_products_reference(left_GD: Tensor, right_ED: Tensor, rows: Ragged) -> Tensor:
    """``inner_products``, from the whole product."""
    return (left_GD @ right_ED.T)[rows.owner, rows.index]


def pair_products(left_GD: Tensor, right_ED: Tensor, left_B: Tensor, right_B: Tensor) -> Tensor:
    """The product of the two rows that each pair names, one of each table, [B].

    No row is copied: on the way back each row of a table gathers from the pairs that name it.
    """
    if left_GD.device.type != "cpu":
        return (left_GD.index_select(0, left_B) * right_ED.index_select(0, right_B)).sum(-1)
    return _PairProducts.apply(left_GD, right_ED, left_B, right_B)


def pair_products_reference(left_GD: Tensor, right_ED: Tensor, left_B: Tensor, right_B: Tensor) -> Tensor:
    """``pair_products``, from the whole product."""
    return (left_GD @ right_ED.T)[left_B, right_B]


class _PairProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        ctx.save_for_backward(*given)
        out_B = given[0].new_empty(len(given[2]))
        call(_cpu.pair_products, *given, out_B)
        return out_B

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left_GD, right_ED, left_B, right_B = ctx.saved_tensors
        grad_left_GD, grad_right_ED = torch.empty_like(left_GD), torch.empty_like(right_ED)
        each_B = torch.arange(len(left_B) + 1)
        first, pair, _ = Ragged(each_B, left_B, len(left_GD)).transposed
        call(_cpu.weighted_sums, first, pair, grads[0], right_ED, right_B, grad_left_GD)
        first, pair, _ = Ragged(each_B, right_B, len(right_ED)).transposed
        call(_cpu.weighted_sums, first, pair, grads[0], left_GD, left_B, grad_right_ED)
        return grad_left_GD, grad_right_ED, None, None
