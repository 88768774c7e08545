"""Ridge regressions, one per row of a ragged pattern, moved by single coordinates instead of solved.

Row g has, for its entries t that point to rows v_t of one table, the equation of ``ridge.py`` with a share of its own in what
all rows have in common:

    (scale_g gram + sum_t weight_t v_t v_t' + penalty I) x_g = sum_t target_t v_t

A sweep moves every coordinate of x_g, in order, to where it solves its own line with the others held: entries times D and D
squared, and no matrix to factorise. Sweeps end at the solution. Nothing here is differentiable.

Shapes: G rows, T entries, E rows of the table, D columns of it, N pairs of a left and a right row.
"""

from __future__ import annotations

import numba
import torch
from torch import Tensor

from attlas.ops._numba import can_read
from attlas.ops._numba import coordinates as _cpu
from attlas.ops.ragged import Ragged

PAIRS = 4096  # after so many the Gram matrices are made anew, for what is added to them bit by bit drifts

Side = tuple[Ragged, Tensor, Tensor]  # which rows of the other table each row points to; weight and target of each entry


@torch.no_grad()
def sweep_coordinates(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    scale_G: Tensor,
    penalty: float,
    begin_GD: Tensor,
) -> Tensor:
    """One sweep over the coordinates of every row from ``begin_GD`` on, [G, D].

    Args:
        table_ED: what entries point to.
        rows: which rows of the table each equation has.
        weight_T: of each entry in the normal matrix; may be negative where the whole matrix is positive definite.
        target_T: of each entry on the right side.
        gram_DD: the part that all rows share, symmetric.
        scale_G: how much of it each row has.
        penalty: positive.

    Source: Pilaszy, Zibriczky & Tikk, RecSys 2010; with a shared part He et al., SIGIR 2016.
    """
    if not can_read(table_ED):
        return _swept_in_lockstep(table_ED, rows, weight_T, target_T, gram_DD, scale_G, penalty, begin_GD)
    found_GD = begin_GD.detach().clone(memory_format=torch.contiguous_format)
    given = (table_ED, rows.start, rows.index, weight_T, target_T, gram_DD, scale_G)
    arrays = [tensor.detach().contiguous().numpy() for tensor in given]
    limits = (arrays[0].dtype.type(penalty), _longest(rows), numba.get_num_threads())
    _cpu.sweep_rows(*arrays, *limits, found_GD.numpy())
    return found_GD


@torch.no_grad()
def sweep_coordinates_reference(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    scale_G: Tensor,
    penalty: float,
    begin_GD: Tensor,
) -> Tensor:
    """``sweep_coordinates``, row by row with its whole matrix."""
    found_GD = begin_GD.clone()
    for g in range(rows.count):
        normal_DD, right_D = _equation((rows, weight_T, target_T), g, table_ED, scale_G[g] * gram_DD, penalty)
        _sweep(normal_DD, right_D, found_GD[g])
    return found_GD


@torch.no_grad()
def follow_pairs(
    left_GD: Tensor,
    right_ED: Tensor,
    left: Side,
    right: Side,
    scale_E: Tensor,
    penalty: float,
    left_N: Tensor,
    right_N: Tensor,
    *,
    rounds: int = 1,
) -> tuple[Tensor, Tensor]:
    """Pair by pair, in order, a sweep of its left row and then one of its right row; the two tables, [G, D] and [E, D].

    What left rows share is sum_e scale_e v_e v_e' over the right table, and all have the whole of it; what right rows share is
    the same over the left table with scales of 1, of which row e has scale_e. Each pair finds both as the last one left them.

    Args:
        left, right: the two sides' patterns with weights and targets.
        penalty: of every row, positive.
        left_N, right_N: the pairs.
        rounds: how often a pair's two rows are swept.

    Source: He et al., SIGIR 2016, its updates for a stream.
    """
    device = left_GD.device
    left_GD, right_ED, scale_E = (tensor.detach().cpu().clone() for tensor in (left_GD, right_ED, scale_E))
    sides = [_arrays(side) for side in (left, right)]
    longest = max(_longest(rows) for rows, _, _ in (left, right))
    for first in range(0, len(left_N), PAIRS):
        left_gram_DD, right_gram_DD = left_GD.T @ left_GD, (right_ED.T * scale_E) @ right_ED
        grams = left_gram_DD.numpy(), right_gram_DD.contiguous().numpy()
        pairs = [index_N[first : first + PAIRS].cpu().numpy() for index_N in (left_N, right_N)]
        scale = scale_E.numpy(), left_GD.numpy().dtype.type(penalty)
        _cpu.sweep_pairs(*sides, *grams, *scale, *pairs, rounds, longest, left_GD.numpy(), right_ED.numpy())
    return left_GD.to(device), right_ED.to(device)


@torch.no_grad()
def follow_pairs_reference(
    left_GD: Tensor,
    right_ED: Tensor,
    left: Side,
    right: Side,
    scale_E: Tensor,
    penalty: float,
    left_N: Tensor,
    right_N: Tensor,
    *,
    rounds: int = 1,
) -> tuple[Tensor, Tensor]:
    """``follow_pairs``, with every Gram matrix made where it is needed."""
    left_GD, right_ED = left_GD.clone(), right_ED.clone()
    for g, e in zip(left_N.tolist(), right_N.tolist(), strict=True):
        for _ in range(rounds):
            shared_DD = (scale_E[:, None] * right_ED).T @ right_ED
            _sweep(*_equation(left, g, right_ED, shared_DD, penalty), left_GD[g])
            shared_DD = scale_E[e] * left_GD.T @ left_GD
            _sweep(*_equation(right, e, left_GD, shared_DD, penalty), right_ED[e])
    return left_GD, right_ED


def _equation(side: Side, g: int, table_ED: Tensor, shared_DD: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """The normal matrix and the right side of one row."""
    rows, weight_T, target_T = side
    own = slice(int(rows.start[g]), int(rows.start[g + 1]))
    value_LD = table_ED[rows.index[own]]
    normal_DD = shared_DD + value_LD.T @ (weight_T[own, None] * value_LD) + penalty * torch.eye(len(shared_DD)).to(shared_DD)
    return normal_DD, value_LD.T @ target_T[own]


def _sweep(normal_DD: Tensor, right_D: Tensor, x_D: Tensor) -> None:
    """Every coordinate in place to where it solves its own line."""
    for f in range(len(x_D)):
        x_D[f] += (right_D[f] - normal_DD[f] @ x_D) / normal_DD[f, f]


def _longest(rows: Ragged) -> int:
    return int(rows.length.max()) if rows.count else 0


def _arrays(side: Side) -> tuple:
    rows, weight_T, target_T = side
    return tuple(tensor.detach().cpu().contiguous().numpy() for tensor in (rows.start, rows.index, weight_T, target_T))


def _swept_in_lockstep(
    table_ED: Tensor,
    rows: Ragged,
    weight_T: Tensor,
    target_T: Tensor,
    gram_DD: Tensor,
    scale_G: Tensor,
    penalty: float,
    begin_GD: Tensor,
) -> Tensor:
    """All rows at once, coordinate by coordinate."""
    x_GD, value_TD = begin_GD.clone(), table_ED[rows.index]
    lack_T = target_T - weight_T * (value_TD * x_GD[rows.owner]).sum(-1)
    shared_GD = x_GD @ gram_DD
    for f in range(x_GD.shape[1]):
        own_T = value_TD[:, f]
        slope_G = (-scale_G * shared_GD[:, f] - penalty * x_GD[:, f]).index_add_(0, rows.owner, lack_T * own_T)
        curvature_G = (scale_G * gram_DD[f, f] + penalty).index_add_(0, rows.owner, weight_T * own_T.square())
        step_G = slope_G / curvature_G
        x_GD[:, f] += step_G
        lack_T -= step_G[rows.owner] * weight_T * own_T
        shared_GD += step_G[:, None] * gram_DD[f]
    return x_GD
