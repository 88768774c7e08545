"""Products of matrices of which only some cells are wanted, or whose cells are mostly empty.

Shapes: U rows, I columns; G rows of a pattern, T entries, E rows of a table, D columns of it; B pairs of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import gram as _cpu
from attlas.ops.ragged import Ragged

DENSE_FLOATS = 1 << 26  # of a block of rows written out on other devices: 256 MB


def cooccurrence(rows: Ragged, columns: Ragged) -> Tensor:
    """How many rows list both i and j, [I, I] in float32: X'X of a binary X given by its rows and by its columns.

    Costs the sum of squared row lengths, not U I^2.
    """
    device = rows.start.device
    out_II = torch.zeros(rows.width, rows.width, device=device)
    if not can_read(rows.start):
        for row_R in torch.arange(rows.count, device=device).split(max(1, DENSE_FLOATS // max(rows.width, 1))):
            some = rows.take(row_R)
            dense_RI = torch.zeros(some.count, some.width, device=device)
            dense_RI[some.owner, some.index] = 1.0
            out_II.addmm_(dense_RI.T, dense_RI)
        return out_II
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
    if not can_read(left_GD):
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
    if not can_read(left_GD):
        return (left_GD.index_select(0, left_B) * right_ED.index_select(0, right_B)).sum(-1)
    return _PairProducts.apply(left_GD, right_ED, left_B, right_B)


def pair_products_reference(left_GD: Tensor, right_ED: Tensor, left_B: Tensor, right_B: Tensor) -> Tensor:
    """``pair_products``, from the whole product."""
    return (left_GD @ right_ED.T)[left_B, right_B]


def sparse_product(rows: Ragged, value_T: Tensor, table_ED: Tensor, *, columns: tuple[Ragged, Tensor] | None = None) -> Tensor:
    """The product of a sparse matrix, given by its rows, with a table, [G, D]; a gradient flows to the table alone.

    Args:
        rows: which cells are filled.
        value_T: what stands in each of them, [T].
        table_ED: what is summed.
        columns: the same matrix by its columns, which the gradient sums by; without it they are sorted out on the way back.
    """
    return _SparseProduct.apply(table_ED, rows, value_T.detach(), columns)


def sparse_product_reference(
    rows: Ragged, value_T: Tensor, table_ED: Tensor, *, columns: tuple[Ragged, Tensor] | None = None
) -> Tensor:
    """``sparse_product``, from the whole matrix."""
    matrix_GE = torch.zeros(rows.count, rows.width, dtype=table_ED.dtype, device=table_ED.device)
    matrix_GE[rows.owner, rows.index] = value_T.detach()
    return matrix_GE @ table_ED


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_ED: Tensor, rows: Ragged, value_T: Tensor, columns: tuple[Ragged, Tensor] | None) -> Tensor:
        ctx.rows, ctx.value_T, ctx.columns = rows, value_T, columns
        return _sum_cells(rows.start, rows.index, value_T, table_ED)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        if ctx.columns:
            columns, value_T = ctx.columns
            return _sum_cells(columns.start, columns.index, value_T.detach(), grads[0]), None, None, None
        first_E1, row_T, entry_T = ctx.rows.transposed
        return _sum_cells(first_E1, row_T, ctx.value_T[entry_T], grads[0]), None, None, None


def _sum_cells(start_G1: Tensor, index_T: Tensor, value_T: Tensor, table_ED: Tensor) -> Tensor:
    """The sum over each row's cells of what stands in them times the row of the table at their place, [G, D]."""
    out_GD = table_ED.new_zeros(len(start_G1) - 1, table_ED.shape[1])
    if not can_read(table_ED):
        owner_T = torch.repeat_interleave(torch.arange(len(out_GD), device=start_G1.device), start_G1.diff())
        return out_GD.index_add_(0, owner_T, value_T[:, None] * table_ED[index_T])
    call(_cpu.sum_cells, start_G1, index_T, value_T.to(table_ED.dtype), table_ED, out_GD)
    return out_GD


def residuals(rows: Ragged, value_T: Tensor, row_G: Tensor, column_E: Tensor) -> Tensor:
    """What stands in each cell of a sparse matrix less a number of its row and one of its column, [T]; not differentiable."""
    if not can_read(value_T):
        return (value_T - row_G[rows.owner] - column_E[rows.index]).detach()
    out_T = row_G.new_empty(len(value_T))
    call(_cpu.residuals, rows.start, rows.index, value_T.to(row_G.dtype), row_G, column_E, out_T)
    return out_T


def residuals_reference(rows: Ragged, value_T: Tensor, row_G: Tensor, column_E: Tensor) -> Tensor:
    """``residuals``, cell by cell."""
    cells = zip(value_T.tolist(), rows.owner.tolist(), rows.index.tolist(), strict=True)
    row, column = row_G.tolist(), column_E.tolist()
    return torch.tensor([value - row[g] - column[e] for value, g, e in cells], dtype=row_G.dtype, device=row_G.device)


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
        grad_left_GD, grad_right_ED = left_GD.new_empty(left_GD.shape), right_ED.new_empty(right_ED.shape)
        each_B = torch.arange(len(left_B) + 1)
        first, pair, _ = Ragged(each_B, left_B, len(left_GD)).transposed
        call(_cpu.weighted_sums, first, pair, grads[0], right_ED, right_B, grad_left_GD)
        first, pair, _ = Ragged(each_B, right_B, len(right_ED)).transposed
        call(_cpu.weighted_sums, first, pair, grads[0], left_GD, left_B, grad_right_ED)
        return grad_left_GD, grad_right_ED, None, None
