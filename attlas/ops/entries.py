"""Attention whose logits belong to entries: two lists that name the same place may weigh it differently.

Shapes: G rows, T entries of all rows together, E places in the table that entries point to, D columns, B askers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from attlas.ops._numba import call, can_read
from attlas.ops._numba import entries as _cpu
from attlas.ops._numba import segments as _cpu_places
from attlas.ops.ragged import Ragged


def attentive_sum_of_entries(
    value_ED: Tensor, logit_T: Tensor, rows: Ragged, row_B: Tensor, left_out_B: Tensor, *, smoothing: float = 1.0
) -> Tensor:
    """The softmax-weighted sum of each asker's list, without the one entry that the asker leaves out.

    A list is pooled once, without its largest logit; that entry is added for all who do not leave it out. Any other entry is
    taken out of the sums by subtraction, which is safe, for it is at most half of them.

    Args:
        value_ED: what is summed, one row per place of the table.
        logit_T: one logit per entry.
        rows: the lists.
        row_B: the list that each asker reads.
        left_out_B: the entry (place in T) of that list which the asker leaves out, or -1.
        smoothing: exponent on the softmax's denominator, in (0, 1].

    Returns:
        [B, D]; zeros where nothing is left to sum.
    """
    rest, top_G = _sums_below_the_top(value_ED, logit_T, rows)
    whole = _with_the_top(rest, top_G, value_ED, logit_T, rows)
    is_top_B = (left_out_B >= 0) & (left_out_B == top_G[row_B])
    # As a lookup, since the gradient of x[i] adds in the order in which threads come.
    either_2GD = torch.cat([_pooled(whole, smoothing), _pooled(rest, smoothing)])
    pooled_BD = functional.embedding(row_B + rows.count * is_top_B, either_2GD)
    asker_O = ((left_out_B >= 0) & ~is_top_B).nonzero().squeeze(-1)
    if not len(asker_O):
        return pooled_BD
    less = _without(whole, value_ED, logit_T, rows, row_B[asker_O], left_out_B[asker_O])
    return pooled_BD.index_copy(0, asker_O, _pooled(less, smoothing))


def attentive_sum_of_entries_reference(
    value_ED: Tensor, logit_T: Tensor, rows: Ragged, row_B: Tensor, left_out_B: Tensor, *, smoothing: float = 1.0
) -> Tensor:
    """``attentive_sum_of_entries``, asker by asker, each list summed anew."""
    pooled = [torch.zeros(0, value_ED.shape[1], dtype=value_ED.dtype, device=value_ED.device)]
    for g, left_out in zip(row_B.tolist(), left_out_B.tolist(), strict=True):
        entries = [t for t in range(int(rows.start[g]), int(rows.start[g + 1])) if t != left_out]
        logit = logit_T[entries]
        weight = (logit - smoothing * torch.logsumexp(logit, 0)).exp() if entries else logit
        pooled.append((weight[:, None] * value_ED[rows.index[entries]]).sum(0, keepdim=True))
    return torch.cat(pooled)


class _Sums(NamedTuple):
    """Per list: sum of exp(logit - shift) * value [G, D], sum of exp [G], and the shift [G]."""

    weighted: Tensor
    total: Tensor
    shift: Tensor


def _with_the_top(rest: _Sums, top_G: Tensor, value_ED: Tensor, logit_T: Tensor, rows: Ragged) -> _Sums:
    """The sums of the whole lists: those of all but the largest logit, moved to its shift, and what has it."""
    if not len(logit_T):
        return rest
    entry_G, is_some_G = top_G.clamp_min(0), top_G >= 0
    logit_G = logit_T.index_select(0, entry_G)
    shift_G = torch.where(is_some_G, logit_G.detach(), 0.0)
    # Chosen before exp: an empty list reads the logit of another one, whose exp may be infinite.
    factor_G, exp_G = (rest.shift - shift_G).exp(), torch.where(is_some_G, logit_G - shift_G, -torch.inf).exp()
    value_GD = functional.embedding(rows.index[entry_G], value_ED)
    weighted_GD = torch.addcmul(exp_G[:, None] * value_GD, factor_G[:, None], rest.weighted)
    return _Sums(weighted_GD, factor_G * rest.total + exp_G, shift_G)


def _without(sums: _Sums, value_ED: Tensor, logit_T: Tensor, rows: Ragged, row_O: Tensor, entry_O: Tensor) -> _Sums:
    """The sums of the asked lists less one entry each, which is not the one with the largest logit."""
    shift_O = sums.shift[row_O]
    exp_O = (logit_T.index_select(0, entry_O) - shift_O).exp()
    value_OD = functional.embedding(rows.index[entry_O], value_ED)
    weighted_OD = torch.addcmul(functional.embedding(row_O, sums.weighted), exp_O[:, None], value_OD, value=-1)
    return _Sums(weighted_OD, sums.total.index_select(0, row_O) - exp_O, shift_O)


def _pooled(sums: _Sums, smoothing: float) -> Tensor:
    """The weighted mean; the shift no longer cancels when the denominator is smoothed. Zeros for an empty list."""
    denominator_G = torch.where(sums.total > 0, sums.total, 1.0)
    scale_G = (
        1.0 / denominator_G if smoothing == 1.0 else ((1.0 - smoothing) * sums.shift - smoothing * denominator_G.log()).exp()
    )
    return sums.weighted * scale_G[:, None]


def _sums_below_the_top(value_ED: Tensor, logit_T: Tensor, rows: Ragged) -> tuple[_Sums, Tensor]:
    """The sums of each list without its largest logit, and the entry that has it; -1 where there is none."""
    if can_read(value_ED):
        weighted_GD, total_G, shift_G, top_G = _SumsBelowTheTop.apply(value_ED, logit_T, rows)
        return _Sums(weighted_GD, total_G, shift_G), top_G
    known_T, none_G = logit_T.detach(), torch.full((rows.count,), -torch.inf, dtype=logit_T.dtype, device=logit_T.device)
    largest_G = none_G.scatter_reduce(0, rows.owner, known_T, "amax")
    entry_T = torch.arange(len(known_T), device=known_T.device)
    first_T = torch.where(known_T == largest_G[rows.owner], entry_T, len(known_T))
    top_G = torch.full_like(rows.length, len(known_T)).scatter_reduce(0, rows.owner, first_T, "amin")
    is_below_T = entry_T != top_G[rows.owner]
    shift_G = none_G.scatter_reduce(0, rows.owner, torch.where(is_below_T, known_T, -torch.inf), "amax")
    shift_G = torch.where(rows.length > 1, shift_G, torch.where(rows.length > 0, largest_G, 0.0))
    exp_T = torch.where(is_below_T, logit_T - shift_G[rows.owner], -torch.inf).exp()
    total_G = torch.zeros_like(shift_G).index_add(0, rows.owner, exp_T)
    weighted_GD = torch.zeros(rows.count, value_ED.shape[1], dtype=value_ED.dtype, device=value_ED.device)
    weighted_GD = weighted_GD.index_add(0, rows.owner, exp_T[:, None] * value_ED[rows.index])
    return _Sums(weighted_GD, total_G, shift_G), torch.where(rows.length > 0, top_G, -1)


class _SumsBelowTheTop(torch.autograd.Function):
    """The CPU's way: one pass over the entries forward; back, one over them and one over the transposed entries."""

    @staticmethod
    def forward(ctx: Any, value_ED: Tensor, logit_T: Tensor, rows: Ragged) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value_ED, logit_T = value_ED.detach().contiguous(), logit_T.detach().contiguous()
        top_G = torch.empty(rows.count, dtype=torch.int64)
        shift_G, total_G = logit_T.new_empty(rows.count), logit_T.new_empty(rows.count)
        exp_T, sum_GD = torch.empty_like(logit_T), value_ED.new_empty(rows.count, value_ED.shape[1])
        given = rows.start, rows.index, value_ED, logit_T
        call(_cpu.sums_below_the_top, *given, top_G, shift_G, exp_T, total_G, sum_GD)
        ctx.rows = rows
        ctx.save_for_backward(value_ED, exp_T)
        ctx.mark_non_differentiable(shift_G, top_G)
        return sum_GD, total_G, shift_G, top_G

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        value_ED, exp_T = ctx.saved_tensors
        grad_sum_GD, grad_total_G = grads[0].contiguous(), grads[1].contiguous()
        grad_value_ED, unused_E = torch.empty_like(value_ED), value_ED.new_empty(len(value_ED))
        slopes = exp_T, grad_total_G, grad_sum_GD
        call(_cpu_places.softmax_sums_backward, *ctx.rows.transposed, *slopes, unused_E, grad_value_ED)
        grad_logit_T = torch.empty_like(exp_T)
        call(_cpu.logit_gradients, ctx.rows.start, ctx.rows.index, value_ED, *slopes, grad_logit_T)
        return grad_value_ED, grad_logit_T, None
