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


def sparse_product(rows: Ragged, value_T: Tensor, table_ED: Tensor) -> Tensor:
    """The product of a sparse matrix, given by its rows, with a table, [G, D]; a gradient flows to the table alone.

    Args:
        rows: which cells are filled.
        value_T: what stands in each of them, [T].
        table_ED: what is summed.
    """
    return _SparseProduct.apply(table_ED, rows, value_T.detach())


def sparse_product_reference(rows: Ragged, value_T: Tensor, table_ED: Tensor) -> Tensor:
    """``sparse_product``, from the whole matrix."""
    matrix_GE = torch.zeros(rows.count, rows.width, dtype=table_ED.dtype, device=table_ED.device)
    matrix_GE[rows.owner, rows.index] = value_T.detach()
    return matrix_GE @ table_ED


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_ED: Tensor, rows: Ragged, value_T: Tensor) -> Tensor:
        ctx.rows, ctx.value_T = rows, value_T
        entry_T = torch.arange(len(rows.index), device=table_ED.device)
        return _weighted_sums(rows.start, entry_T, value_T, table_ED, rows.index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        first_E1, _, entry_T = ctx.rows.transposed
        return _weighted_sums(first_E1, entry_T, ctx.value_T, grads[0], ctx.rows.owner), None, None


def _weighted_sums(first_G1: Tensor, entry_T: Tensor, value_T: Tensor, table_ED: Tensor, place_T: Tensor) -> Tensor:
    """The sum over each row's entries of their values times the rows of the table at their places, [G, D]."""
    count = len(first_G1) - 1
    if table_ED.device.type != "cpu":
        owner_T = torch.repeat_interleave(torch.arange(count, device=first_G1.device), first_G1.diff())
        part_TD = value_T[entry_T, None] * table_ED[place_T[entry_T]]
        return table_ED.new_zeros(count, table_ED.shape[1]).index_add_(0, owner_T, part_TD)
    out_GD = table_ED.new_empty(count, table_ED.shape[1])
    call(_cpu.weighted_sums, first_G1, entry_T, value_T, table_ED, place_T, out_GD)
    return out_GD


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
