"""Squared error over every cell of a matrix whose weights are the product of two thin tables.

The score of a cell is the product of a left and a right row, x = a_g . b_e; the chance that it was seen is that of two rows
of shares, w = p_g . q_e, with p on the simplex and q in (0, 1). With the cached matrices

    right_c = sum over e of q_ec b_e b_e'       left_c = sum over g of p_gc a_g a_g'

the sum of w x^2 over all cells is that of p_gc a_g' right_c a_g: the cost is linear in rows and in listed cells.

Shapes: G left rows, E right rows, T listed cells, D columns, C shares, R rows in a block.

Every public function has a literal twin, ``<name>_reference``, over all G x E cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import exposure as _cpu
from attlas.ops.ragged import Ragged

BLOCK_FLOATS = 1 << 21  # what a block builds: 8 MB


@dataclass(frozen=True)
class CellCost:
    """What a cell costs by its score x and the chance w that it was seen.

    A cell that is not listed costs w (x^2 + toll) + floor_weight (1 - w) floor^2. A listed one costs
    w ((1 - x)^2 + toll) + floor_weight (1 - w) (1 - floor)^2, or, where it is certain that it was seen,
    (1 - x)^2 - surprise log w.

    Attributes:
        floor: what an unseen cell is expected to hold.
        floor_weight: how an error of an unseen cell counts beside one of a seen cell.
        is_certain: whether listed cells were seen for sure.
        surprise: what a listed cell of chance 1 / e costs.
        toll: what a chance of 1 costs.
    """

    floor: float = 0.0
    floor_weight: float = 1.0
    is_certain: bool = False
    surprise: float = 0.0
    toll: float = 0.0


def exposed_error(
    left_GD: Tensor, left_share_GC: Tensor, right_ED: Tensor, right_share_EC: Tensor, rows: Ragged, cost: CellCost
) -> Tensor:
    """What all G x E cells cost together; ``rows`` lists the cells that hold a 1, all others hold a 0.

    Source: FAWMF, Chen et al. 2020; gradients with respect to all four tables come with it at the same order of cost.
    """
    return _ExposedError.apply(left_GD, left_share_GC, right_ED, right_share_EC, rows, cost)


def exposed_error_reference(
    left_GD: Tensor, left_share_GC: Tensor, right_ED: Tensor, right_share_EC: Tensor, rows: Ragged, cost: CellCost
) -> Tensor:
    """``exposed_error``, from all cells."""
    score_GE, chance_GE = left_GD @ right_ED.T, left_share_GC @ right_share_EC.T
    listed_GE = torch.zeros_like(score_GE, dtype=torch.bool)
    listed_GE[rows.owner, rows.index] = True
    held_GE = listed_GE.to(score_GE)
    seen_GE, unseen_GE = (score_GE - held_GE).square() + cost.toll, cost.floor_weight * (cost.floor - held_GE).square()
    cost_GE = chance_GE * seen_GE + (1 - chance_GE) * unseen_GE
    if cost.is_certain:
        cost_GE = torch.where(listed_GE, (score_GE - 1).square() - cost.surprise * chance_GE.log(), cost_GE)
    return cost_GE.sum()


@torch.no_grad()
def mixed_grams(table_ED: Tensor, share_EC: Tensor) -> Tensor:
    """The sum over rows of share[c] v v' for each c, [D, C, D] with the c in the middle; not differentiable."""
    gram_DX = table_ED.new_zeros(table_ED.shape[1], share_EC.shape[1] * table_ED.shape[1])
    for block in _blocks(len(table_ED), gram_DX.shape[1]):
        value_RD = table_ED[block]
        gram_DX.addmm_(value_RD.T, (share_EC[block, :, None] * value_RD[:, None, :]).flatten(1))
    return gram_DX.unflatten(1, (share_EC.shape[1], -1))


@torch.no_grad()
def mixed_grams_reference(table_ED: Tensor, share_EC: Tensor) -> Tensor:
    """``mixed_grams``, in one sum."""
    return torch.einsum("ec,ek,el->kcl", share_EC, table_ED, table_ED)


@torch.no_grad()
def responsibilities(own_GC: Tensor, other_EC: Tensor, rows: Ragged) -> Tensor:
    """How much of each row's entries each share accounts for, [G, C]: the sum over them of own * other / (own . other).

    It is the expectation step of a mixture; all products must be positive. Not differentiable.
    """
    if can_read(own_GC):
        sum_GC = own_GC.new_empty(own_GC.shape)
        call(_cpu.responsibilities, own_GC, other_EC, rows.start, rows.index, sum_GC)
        return sum_GC
    drawn_TC = own_GC[rows.owner] * other_EC[rows.index]
    return torch.zeros_like(own_GC).index_add_(0, rows.owner, drawn_TC / drawn_TC.sum(1, keepdim=True))


@torch.no_grad()
def responsibilities_reference(own_GC: Tensor, other_EC: Tensor, rows: Ragged) -> Tensor:
    """``responsibilities``, row by row and entry by entry."""
    sum_GC = torch.zeros_like(own_GC)
    for g, e in zip(rows.owner.tolist(), rows.index.tolist(), strict=True):
        sum_GC[g] += own_GC[g] * other_EC[e] / (own_GC[g] @ other_EC[e])
    return sum_GC


class _ExposedError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        left_GD, left_share_GC, right_ED, right_share_EC, rows, cost = given
        moved = ctx.needs_input_grad
        first, row, _ = rows.transposed
        columns = Ragged(first, row, rows.count)
        left = _half(left_GD, left_share_GC, right_ED, right_share_EC, rows, cost, moved[:2])
        right: tuple[Tensor | None, Tensor | None] = (None, None)
        if any(moved[2:]):
            right = _half(right_ED, right_share_EC, left_GD, left_share_GC, columns, cost, moved[2:4])[1:]
        ctx.gradients = (*left[1:], *right)
        return left[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*(None if part is None else grads[0] * part for part in ctx.gradients), None, None)


def _half(
    own_GD: Tensor,
    own_share_GC: Tensor,
    other_ED: Tensor,
    other_share_EC: Tensor,
    rows: Ragged,
    cost: CellCost,
    moves: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The whole cost, and the gradients of one side where they are asked for."""
    unseen = cost.floor_weight * cost.floor**2
    grad_GD, grad_share_GC = _quadratic_forms(own_GD, own_share_GC, mixed_grams(other_ED, other_share_EC))
    mass_C = other_share_EC.sum(0)
    grad_share_GC += (cost.toll - unseen) * mass_C
    total = (own_share_GC * grad_share_GC).sum(dtype=torch.float64) + unseen * len(own_GD) * len(other_ED)
    total_G = own_GD.new_empty(len(own_GD), dtype=torch.float64)
    _add_listed(own_GD, own_share_GC, other_ED, other_share_EC, rows, cost, moves, (grad_GD, grad_share_GC, total_G))
    return (total + total_G.sum()).to(own_GD.dtype), grad_GD if moves[0] else None, grad_share_GC if moves[1] else None


def _quadratic_forms(own_GD: Tensor, share_GC: Tensor, gram_DCD: Tensor) -> tuple[Tensor, Tensor]:
    """Twice the mixture of all gram_c x, [G, D], and x' gram_c x for each c, [G, C]."""
    mixed_GD, quadratic_GC = own_GD.new_empty(own_GD.shape), share_GC.new_empty(share_GC.shape)
    for block in _blocks(len(own_GD), gram_DCD[0].numel()):
        own_RD, share_RC = own_GD[block], share_GC[block]
        product_RCD = (own_RD @ gram_DCD.flatten(1)).unflatten(1, gram_DCD.shape[1:])
        if can_read(own_GD):
            call(_cpu.mix_products, product_RCD, own_RD, share_RC, mixed_GD[block], quadratic_GC[block])
        else:
            mixed_GD[block] = (share_RC[:, None] @ product_RCD).squeeze(1)
            quadratic_GC[block] = (product_RCD @ own_RD[:, :, None]).squeeze(2)
    return mixed_GD.mul_(2), quadratic_GC


def _add_listed(
    own_GD: Tensor,
    share_GC: Tensor,
    other_ED: Tensor,
    other_share_EC: Tensor,
    rows: Ragged,
    cost: CellCost,
    moves: tuple[bool, bool],
    out: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Adds to both gradients, and sets what the listed cells of each row cost besides what all cells do."""
    if can_read(own_GD):
        kind = own_GD.numpy().dtype.type
        numbers = (kind(cost.floor), kind(cost.floor_weight), cost.is_certain, kind(cost.surprise), kind(cost.toll))
        tables = (own_GD, share_GC, other_ED, other_share_EC, rows.start, rows.index)
        arrays = [tensor.detach().contiguous().numpy() for tensor in tables]
        _cpu.add_listed(*arrays, numbers, moves, *(tensor.numpy() for tensor in out))
        return
    grad_GD, grad_share_GC, total_G = out
    other_TD, other_TC = other_ED[rows.index], other_share_EC[rows.index]
    score_T, chance_T = (own_GD[rows.owner] * other_TD).sum(-1), (share_GC[rows.owner] * other_TC).sum(-1)
    unseen, unseen_listed = cost.floor_weight * cost.floor**2, cost.floor_weight * (1 - 2 * cost.floor)
    if cost.is_certain:
        safe_T = chance_T.clamp_min(_cpu.LEAST)
        free_T = chance_T * (score_T.square() + cost.toll) + (1 - chance_T) * unseen
        total_T = (1 - score_T).square() - cost.surprise * safe_T.log() - free_T
        on_score_T = -2 * (1 - score_T) - 2 * chance_T * score_T
        on_chance_T = unseen - cost.surprise / safe_T - score_T.square() - cost.toll
    else:
        total_T = chance_T * (1 - 2 * score_T) + (1 - chance_T) * unseen_listed
        on_score_T, on_chance_T = -2 * chance_T, 1 - 2 * score_T - unseen_listed
    grad_GD.index_add_(0, rows.owner, on_score_T[:, None] * other_TD)
    grad_share_GC.index_add_(0, rows.owner, on_chance_T[:, None] * other_TC)
    total_G.zero_().index_add_(0, rows.owner, total_T.double())


def _blocks(count: int, floats: int) -> list[slice]:
    """Rows, so many at a time that what a block of them builds fits ``BLOCK_FLOATS``."""
    step = max(1, BLOCK_FLOATS // floats)
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
