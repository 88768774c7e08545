"""Ridge regressions, one per row of a ragged pattern, that share the heaviest part of their normal equations.

Row g solves, for its entries t that point to rows v_t of one table,

    (gram + sum_t weight_t v_t v_t' + penalty_g I) x_g = sum_t target_t v_t

Whoever weighs all cells of a matrix, and the listed ones differently, puts the weight of all into ``gram`` once and only the
difference into ``weight``: the cost is then linear in the listed cells. Nothing here is differentiable.

Shapes: G rows, T entries, E rows of the table, D columns of it, R rows in a block, L entries of the longest of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import torch
from torch import Tensor

from attlas.errors import ConfigError
from attlas.ops._lockstep import conjugate_gradients
from attlas.ops._numba import can_read
from attlas.ops._numba import ridge as _cpu
from attlas.ops.ragged import Ragged

BLOCK_FLOATS = 1 << 21  # what a block's gathered rows may take: 8 MB, a part of what two cores' caches hold
DEVICE_FLOATS = 1 << 26  # the same where conjugate gradients run on other devices: 256 MB


@torch.no_grad()
def ridge_rows(
    table_ED: Tensor, rows: Ragged, weight_T: Tensor, target_T: Tensor, gram_DD: Tensor, penalty_G: Tensor
) -> Tensor:
    """The exact solutions, [G, D], by Cholesky: each row its entries times D squared, and D cubed.

    Args:
        table_ED: what entries point to.
        rows: which rows of the table each equation has.
        weight_T: of each entry in the normal matrix.
        target_T: of each entry on the right side.
        gram_DD: the part that all rows share, symmetric.
        penalty_G: of each row, positive unless the rest is of full rank.

    Raises:
        ConfigError: a row's matrix is not positive definite in floats.
    """
    solved_GD = table_ED.new_empty(rows.count, table_ED.shape[1])
    if can_read(table_ED):
        given = (table_ED, rows.start, rows.index, weight_T, target_T, gram_DD, penalty_G)
        arrays = [tensor.detach().contiguous().numpy() for tensor in given]
        failed = _cpu.cholesky(*arrays, numba.get_num_threads(), solved_GD.numpy())
    else:
        failed = _exactly_on_device(table_ED, rows, weight_T, target_T, gram_DD, penalty_G, solved_GD)
    if failed:
        raise ConfigError(
            f"{failed:,} of {rows.count:,} ridge regressions cannot be solved in floats: the penalty, l2, is too small"
        )
    return solved_GD


@torch.no_grad()
def ridge_rows_reference(
    table_ED: Tensor, rows: Ragged, weight_T: Tensor, target_T: Tensor, gram_DD: Tensor, penalty_G: Tensor
) -> Tensor:
    """``ridge_rows``, row by row."""
    solved = []
    for normal_DD, right_D in _equations(table_ED, rows, weight_T, target_T, gram_DD, penalty_G):
        solved.append(torch.linalg.solve(normal_DD, right_D))
    return torch.stack(solved)


@torch.no_grad()
def ridge_rows_nearly(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    penalty_G: Tensor,
    begin_GD: Tensor,
    *,
    steps: int,
) -> Tensor:
    """Solutions after so many steps of conjugate gradients from ``begin_GD`` on, [G, D]; D steps solve exactly.

    No matrix is built per row: a step costs each row its entries times D, and D squared.
    Source: Hestenes & Stiefel 1952; for implicit feedback Takacs, Pilaszy & Tikk, RecSys 2011.
    """
    if not can_read(table_ED):
        return _nearly_on_device(table_ED, rows, weight_T, target_T, gram_DD, penalty_G, begin_GD, steps)
    found_GD = begin_GD.detach().clone().contiguous()
    given = (table_ED, rows.start, rows.index, weight_T, target_T, gram_DD, penalty_G)
    arrays = [tensor.detach().contiguous().numpy() for tensor in given]
    _cpu.conjugate_gradients(*arrays, numba.get_num_threads(), steps, found_GD.numpy())
    return found_GD


@torch.no_grad()
def ridge_rows_nearly_reference(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    penalty_G: Tensor,
    begin_GD: Tensor,
    *,
    steps: int,
) -> Tensor:
    """``ridge_rows_nearly``, row by row with its whole matrix."""
    found = []
    equations = _equations(table_ED, rows, weight_T, target_T, gram_DD, penalty_G)
    for (normal_DD, right_D), begin_D in zip(equations, begin_GD, strict=True):
        x_D = begin_D.clone()
        direction_D = residual_D = right_D - normal_DD @ x_D
        for _ in range(steps):
            if residual_D @ residual_D < _cpu.TINY:
                break
            step = (residual_D @ residual_D) / (direction_D @ normal_DD @ direction_D)
            x_D = x_D + step * direction_D
            left_D = residual_D - step * (normal_DD @ direction_D)
            direction_D = left_D + (left_D @ left_D) / (residual_D @ residual_D) * direction_D
            residual_D = left_D
        found.append(x_D)
    return torch.stack(found)


def _exactly_on_device(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    penalty_G: Tensor,
    solved_GD: Tensor,
) -> int:
    """Fills in the solutions, block by block of rows of like length, padded to the longest; returns how many have none."""
    failed = 0
    for row_R in _blocks_of_like_length(rows, table_ED.shape[1], BLOCK_FLOATS):
        length_R = rows.length[row_R]
        place_L = torch.arange(int(length_R.max()), device=table_ED.device)
        is_there_RL = place_L < length_R[:, None]
        entry_RL = torch.where(is_there_RL, rows.start[row_R][:, None] + place_L, 0)
        value_RLD = table_ED[rows.index[entry_RL]]
        weighted_RLD = value_RLD * (weight_T[entry_RL] * is_there_RL).unsqueeze(-1)
        normal_RDD = gram_DD + weighted_RLD.transpose(1, 2) @ value_RLD
        normal_RDD.diagonal(dim1=1, dim2=2).add_(penalty_G[row_R, None])
        right_RD1 = value_RLD.transpose(1, 2) @ (target_T[entry_RL] * is_there_RL).unsqueeze(-1)
        factor_RDD, failed_R = torch.linalg.cholesky_ex(normal_RDD)
        failed += int((failed_R > 0).sum())
        solved_GD[row_R] = torch.cholesky_solve(right_RD1, factor_RDD).squeeze(-1)
    return failed


def _nearly_on_device(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    penalty_G: Tensor,
    begin_GD: Tensor,
    steps: int,
) -> Tensor:
    """Block by block of rows of like length, those of a block in lockstep."""
    found_GD, every_T = begin_GD.detach().clone(), torch.arange(len(rows.index), device=table_ED.device)
    entries = Ragged(rows.start, every_T, len(every_T))
    for row_R in _blocks_of_like_length(rows, table_ED.shape[1], DEVICE_FLOATS):
        mine = entries.take(row_R)
        value_TD, own_T = table_ED[rows.index[mine.index]], (mine.owner, weight_T[mine.index], target_T[mine.index])
        found_GD[row_R] = _nearly_at_once(value_TD, *own_T, gram_DD, penalty_G[row_R, None], found_GD[row_R], steps)
    return found_GD


def _nearly_at_once(
    value_TD: Tensor,
    owner_T: Tensor,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    penalty_R1: Tensor,
    begin_RD: Tensor,
    steps: int,
) -> Tensor:
    """The solutions of a block of rows, whose T entries point to the given vectors."""

    def apply(x_RD: Tensor) -> Tensor:
        on_T = weight_T * (value_TD * x_RD[owner_T]).sum(-1)
        return (x_RD @ gram_DD + penalty_R1 * x_RD).index_add_(0, owner_T, on_T[:, None] * value_TD)

    right_RD = torch.zeros_like(begin_RD).index_add_(0, owner_T, target_T[:, None] * value_TD)
    return conjugate_gradients(apply, right_RD, begin_RD, steps)


def _blocks_of_like_length(rows: Ragged, dim: int, block_floats: int) -> Iterator[Tensor]:
    """The rows in blocks, longest first, such that a block padded to its longest row fits ``block_floats`` or is one row."""
    order_G = torch.argsort(rows.length, descending=True, stable=True)
    length = rows.length[order_G].tolist()
    first = 0
    while first < len(length):
        floats = dim * max(length[first], dim)  # its gathered rows, or its matrix
        last = first + max(1, block_floats // floats)
        yield order_G[first:last]
        first = last


def _equations(
    table_ED: Tensor, rows: Ragged, weight_T: Tensor, target_T: Tensor, gram_DD: Tensor, penalty_G: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """The normal matrix and the right side of each row."""
    for g in range(rows.count):
        own = slice(int(rows.start[g]), int(rows.start[g + 1]))
        value_LD = table_ED[rows.index[own]]
        normal_DD = gram_DD + value_LD.T @ (weight_T[own, None] * value_LD) + penalty_G[g] * torch.eye(len(gram_DD)).to(gram_DD)
        yield normal_DD, value_LD.T @ target_T[own]
