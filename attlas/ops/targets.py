"""Attention whose logits depend on what is asked about: each asker's list, weighted for the asker's own target.

Shapes: C targets, E places that entries point to, N cells (target, place) whose logits are known, G lists, T entries, B askers.

Every public function has a literal twin, ``<name>_reference``, that says the same in loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import cells as _cpu
from attlas.ops.cells import asked_about
from attlas.ops.ragged import Ragged
from attlas.ops.segments import segment_sum

FARTHEST: float = _cpu.FARTHEST


def targeted_sum(
    value_N: Tensor,
    logit_N: Tensor,
    cells: Ragged,
    rows: Ragged,
    target_B: Tensor,
    row_B: Tensor,
    left_out_B: Tensor,
    *,
    smoothing: float = 1.0,
) -> Tensor:
    """The softmax-weighted sum of each asker's list, without the one entry that the asker leaves out.

    Value and logit of an entry depend on (target, place) only, and come once for each such cell, however many lists it is
    in. exp is taken once per cell too; what is left to do per asker and entry is two additions.

    Args:
        value_N: what is summed, one number per cell.
        logit_N: one logit per cell.
        cells: for each target the places whose cells are there; among them all that its askers' lists name.
        rows: the lists, of places in 0..E-1.
        target_B: what each asker asks about.
        row_B: the list that each asker reads.
        left_out_B: the entry (place in T) of that list which the asker leaves out, or -1.
        smoothing: exponent on the softmax's denominator, in (0, 1].

    Returns:
        [B]; zero where nothing is left to sum.

    Source: NAIS, He et al. 2018, equation 6 with its beta.
    """
    pattern = (cells, rows, target_B, row_B, left_out_B)
    if can_read(value_N):
        weighted_B, total_B, shift_B = _TargetedSums.apply(value_N, logit_N, *pattern)
    else:
        weighted_B, total_B, shift_B = _sums_of_terms(value_N, logit_N, *pattern)
    total_B = torch.where(total_B > 0, total_B, 1.0)
    # The shift does not cancel where the denominator is smoothed.
    return weighted_B * ((1.0 - smoothing) * shift_B).exp() / total_B.pow(smoothing)


def targeted_sum_reference(
    value_N: Tensor,
    logit_N: Tensor,
    cells: Ragged,
    rows: Ragged,
    target_B: Tensor,
    row_B: Tensor,
    left_out_B: Tensor,
    *,
    smoothing: float = 1.0,
) -> Tensor:
    """``targeted_sum``, asker by asker."""
    sums = []
    for c, g, left_out in zip(target_B.tolist(), row_B.tolist(), left_out_B.tolist(), strict=True):
        places = [int(rows.index[t]) for t in range(int(rows.start[g]), int(rows.start[g + 1])) if t != left_out]
        known = cells.index[cells.start[c] : cells.start[c + 1]].tolist()
        n = [int(cells.start[c]) + known.index(place) for place in places]
        weight = (logit_N[n] - smoothing * torch.logsumexp(logit_N[n], 0)).exp()
        sums.append((weight * value_N[n]).sum())
    return torch.stack(sums)


@torch.no_grad()
def every_targeted_sum(value_CE: Tensor, logit_CE: Tensor, rows: Ragged, *, smoothing: float = 1.0) -> Tensor:
    """``targeted_sum`` of every list for every target, with nothing left out, [G, C]; not differentiable.

    A list's sums for all targets at once are a sum of rows of one table.
    """
    sum_GC, is_far_GC = Terms.of(value_CE, logit_CE).sums(rows, smoothing=smoothing)
    row_F, target_F = is_far_GC.nonzero(as_tuple=True)
    if len(row_F):  # digits may be lost: these take a shift of their own
        cells, nothing_F = Ragged.full(*logit_CE.shape, device=row_F.device), torch.full_like(row_F, -1)
        pattern = (cells, rows, target_F, row_F, nothing_F)
        sum_GC[row_F, target_F] = targeted_sum(value_CE.flatten(), logit_CE.flatten(), *pattern, smoothing=smoothing)
    return sum_GC


@dataclass(frozen=True, eq=False)
class Terms:
    """What every place adds to the sums of every target, ready to be added up for any list.

    Attributes:
        term: [E, 2 C], for each place exp of its logit less the target's shift, and behind them the same times the value.
        shift: [C], the largest logit of each target.
    """

    term: Tensor
    shift: Tensor

    @classmethod
    def of(cls, value_CE: Tensor, logit_CE: Tensor) -> Terms:
        """The terms of all cells; exp is taken once for each."""
        shift_C = logit_CE.amax(1) if logit_CE.shape[1] else logit_CE.new_zeros(len(logit_CE))
        exp_CE = (logit_CE - shift_C[:, None]).exp()
        return cls(torch.cat([exp_CE, exp_CE * value_CE]).T.contiguous(), shift_C)

    def sums(self, rows: Ragged, *, smoothing: float = 1.0) -> tuple[Tensor, Tensor]:
        """``every_targeted_sum`` of every list of places, [G, C], and where its digits may be lost, [G, C].

        They may where all logits of a list lie far below the target's largest.
        """
        total_GC, weighted_GC = segment_sum(self.term, rows).chunk(2, dim=1)
        scale_C = ((1.0 - smoothing) * self.shift).exp()
        sum_GC = weighted_GC * scale_C / torch.where(total_GC > 0, total_GC, 1.0).pow(smoothing)
        return sum_GC, (total_GC < FARTHEST) & (rows.length > 0)[:, None]


@torch.no_grad()
def every_targeted_sum_reference(value_CE: Tensor, logit_CE: Tensor, rows: Ragged, *, smoothing: float = 1.0) -> Tensor:
    """``every_targeted_sum``, list by list and target by target."""
    sum_GC = value_CE.new_zeros(rows.count, len(value_CE))
    for g in range(rows.count):
        places = rows.index[rows.start[g] : rows.start[g + 1]]
        for c in range(len(value_CE)):
            weight = (logit_CE[c, places] - smoothing * torch.logsumexp(logit_CE[c, places], 0)).exp()
            sum_GC[g, c] = (weight * value_CE[c, places]).sum()
    return sum_GC


def _sums_of_terms(
    value_N: Tensor, logit_N: Tensor, cells: Ragged, rows: Ragged, target_B: Tensor, row_B: Tensor, left_out_B: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Term by term: every entry of every asker's list."""
    asked = rows.take(row_B)
    entry_X = torch.arange(len(asked.index), device=row_B.device) + (rows.start[row_B] - asked.start[:-1])[asked.owner]
    is_left_X = entry_X != left_out_B[asked.owner]
    owner_X = asked.owner[is_left_X]
    cell_X = cells.find(target_B[owner_X], asked.index[is_left_X])
    logit_X, value_X = logit_N.index_select(0, cell_X), value_N.index_select(0, cell_X)
    shift_B = torch.full(row_B.shape, -torch.inf, dtype=logit_X.dtype, device=row_B.device)
    shift_B = shift_B.scatter_reduce(0, owner_X, logit_X.detach(), "amax")
    shift_B = torch.where(shift_B.isfinite(), shift_B, 0.0)
    exp_X = (logit_X - shift_B[owner_X]).exp()
    nothing_B = torch.zeros_like(shift_B)
    return nothing_B.index_add(0, owner_X, exp_X * value_X), nothing_B.index_add(0, owner_X, exp_X), shift_B


class _TargetedSums(torch.autograd.Function):
    """The CPU's way: the cells of one target at a time lie in the cache, and the lists of all who ask about it are walked."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
        value_N, logit_N, cells, rows, target_B, row_B, left_out_B = given
        lists = row_B, left_out_B, rows.start, rows.index.view(torch.uint64)
        ctx.pattern = (*asked_about(target_B, cells.count), *lists, cells.start, cells.index, torch.tensor([rows.width]))
        weighted_B, total_B, shift_B = value_N.new_empty(3, len(row_B)).unbind()
        call(_cpu.targeted_sums, *ctx.pattern, value_N, logit_N, weighted_B, total_B, shift_B)
        ctx.save_for_backward(value_N, logit_N, shift_B)
        ctx.mark_non_differentiable(shift_B)
        return weighted_B, total_B, shift_B

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        value_N, logit_N, shift_B = ctx.saved_tensors
        grad_value_N, grad_logit_N = torch.empty_like(value_N), torch.empty_like(logit_N)
        call(
            _cpu.targeted_sums_backward,
            *ctx.pattern,
            *(value_N, logit_N, shift_B, grads[0], grads[1], grad_value_N, grad_logit_N),
        )
        return grad_value_N, grad_logit_N, None, None, None, None, None
