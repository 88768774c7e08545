"""Ridge regressions, one per row of a ragged pattern, whose shared parts are mixtures of a few matrices.

What ``ops/ridge.py`` solves with one shared matrix is solved here with one of each row's own, mixed a block of rows at a time:

    (sum over c of share_gc gram_c + sum over its entries of weight_t v_t v_t' + penalty_g I) x_g
        = sum over its entries of target_t v_t

Shapes: G rows, T entries, E rows of the table, D columns of it, C matrices to mix, R rows in a block.
"""

from __future__ import annotations

from functools import partial

import numba
import torch
from torch import Tensor

from attlas.errors import ConfigError
from attlas.ops._lockstep import conjugate_gradients
from attlas.ops._numba import can_read
from attlas.ops._numba import exposure as _cpu
from attlas.ops.ragged import Ragged
from attlas.ops.ridge import ridge_rows_nearly_reference, ridge_rows_reference

BLOCK_FLOATS = 1 << 21  # what the matrices of a block take: 8 MB
ENTRY_FLOATS = 1 << 26  # what is built of a block's entries at a time on other devices: 256 MB


@torch.no_grad()
def mixed_ridge_rows(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor | None,
    target_T: Tensor,
    gram_DCD: Tensor,
    share_GC: Tensor,
    penalty_G: Tensor,
    begin_GD: Tensor,
    *,
    steps: int | None,
) -> Tensor:
    """The solutions x of the equations above, [G, D]; not differentiable.

    Args:
        table_ED: what entries point to.
        rows: which rows of the table each equation has.
        weight_T: of each entry in the matrix; None weighs none, and the matrix costs nothing per entry.
        target_T: of each entry on the right side.
        gram_DCD: the symmetric matrices, as ``exposure.mixed_grams`` makes them.
        share_GC: how each row mixes them.
        penalty_G: of each row.
        begin_GD: where conjugate gradients begin.
        steps: of conjugate gradients; None solves exactly, by Cholesky.

    Raises:
        ConfigError: a row's matrix is not positive definite in floats.
    """
    found_GD, gram_CX, failed = begin_GD.detach().clone().contiguous(), gram_DCD.transpose(0, 1).flatten(1), 0
    step = max(1, BLOCK_FLOATS // gram_CX.shape[1])
    for first in range(0, len(share_GC), step):
        block = slice(first, min(first + step, len(share_GC)))
        gram_RDD = (share_GC[block] @ gram_CX).view(-1, *gram_DCD[:, 0].shape)
        solve = _solve if can_read(table_ED) else _solve_on_device
        failed += solve(table_ED, rows, weight_T, target_T, gram_RDD, penalty_G, block, found_GD, steps)
    if failed:
        raise ConfigError(f"{failed:,} of {rows.count:,} ridge regressions cannot be solved in floats: l2 is too small")
    return found_GD


@torch.no_grad()
def mixed_ridge_rows_reference(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor | None,
    target_T: Tensor,
    gram_DCD: Tensor,
    share_GC: Tensor,
    penalty_G: Tensor,
    begin_GD: Tensor,
    *,
    steps: int | None,
) -> Tensor:
    """``mixed_ridge_rows``, row by row with its whole matrix."""
    found = []
    weight_T = torch.zeros_like(target_T) if weight_T is None else weight_T
    for g in range(rows.count):
        own = slice(int(rows.start[g]), int(rows.start[g + 1]))
        row = Ragged(torch.tensor([0, own.stop - own.start]), rows.index[own], rows.width)
        gram_DD = sum((share * gram_DCD[:, c] for c, share in enumerate(share_GC[g])), torch.zeros_like(gram_DCD[:, 0]))
        given = (table_ED, row, weight_T[own], target_T[own], gram_DD, penalty_G[g : g + 1])
        exactly, nearly = ridge_rows_reference, ridge_rows_nearly_reference
        found.append(exactly(*given) if steps is None else nearly(*given, begin_GD[g : g + 1], steps=steps))
    return torch.cat(found)


def _solve(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor | None,
    target_T: Tensor,
    gram_RDD: Tensor,
    penalty_G: Tensor,
    block: slice,
    found_GD: Tensor,
    steps: int | None,
) -> int:
    """Fills in a block of solutions; returns how many have none."""
    weighs, start = weight_T is not None, rows.start[block.start : block.stop + 1]
    tensors = (table_ED, start, rows.index, target_T if weight_T is None else weight_T, target_T)
    given = [tensor.detach().contiguous().numpy() for tensor in tensors]
    own = (weighs, gram_RDD.numpy(), penalty_G[block].contiguous().numpy(), numba.get_num_threads())
    if steps is None:
        return int(_cpu.solve_exactly(*given, *own, found_GD[block].numpy()))
    _cpu.solve_nearly(*given, *own, steps, found_GD[block].numpy())
    return 0


def _solve_on_device(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor | None,
    target_T: Tensor,
    gram_RDD: Tensor,
    penalty_G: Tensor,
    block: slice,
    found_GD: Tensor,
    steps: int | None,
) -> int:
    """The same from whole matrices, those of a block at once; entries are added to them a part at a time."""
    first, last = rows.start[[block.start, block.stop]].tolist()
    right_RD, at_once = torch.zeros_like(found_GD[block]), max(1, ENTRY_FLOATS // gram_RDD[0].numel())
    gram_RDD.diagonal(dim1=1, dim2=2).add_(penalty_G[block, None])
    for low in range(first, last, at_once):
        part = slice(low, min(low + at_once, last))
        value_TD, owner_T = table_ED[rows.index[part]], rows.owner[part] - block.start
        right_RD.index_add_(0, owner_T, target_T[part, None] * value_TD)
        if weight_T is not None:
            gram_RDD.index_add_(0, owner_T, (weight_T[part, None] * value_TD)[:, :, None] * value_TD[:, None])
    if steps is not None:
        found_GD[block] = conjugate_gradients(partial(_times, gram_RDD), right_RD, found_GD[block], steps)
        return 0
    factor_RDD, failed_R = torch.linalg.cholesky_ex(gram_RDD)
    found_GD[block] = torch.cholesky_solve(right_RD[:, :, None], factor_RDD).squeeze(2)
    return int((failed_R > 0).sum())


def _times(matrix_RDD: Tensor, x_RD: Tensor) -> Tensor:
    """Each row's matrix times its vector, [R, D]."""
    return (matrix_RDD @ x_RD[:, :, None]).squeeze(2)
