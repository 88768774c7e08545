"""Sums and softmaxes over ragged lists: nothing is padded, and a list is pooled once however many ask for it.

Shapes: G rows, T entries of all rows together, E places in the table that entries point to, D columns, B askers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import segments as _cpu
from attlas.ops.ragged import Ragged

FARTHEST_SHARED_SHIFT = 40.0  # exp(-40) is 4e-18: what it leaves out is below a float's resolution, and far from underflow


def segment_sum(table_ED: Tensor, rows: Ragged) -> Tensor:
    """The sum of the table's rows that each list names, [G, D]; zeros for an empty list."""
    return _SegmentSum.apply(table_ED, rows)


def segment_sum_reference(table_ED: Tensor, rows: Ragged) -> Tensor:
    """``segment_sum``, list by list."""
    return torch.stack([table_ED[rows.index[rows.start[g] : rows.start[g + 1]]].sum(0) for g in range(rows.count)])


def segment_sum_without(table_ED: Tensor, rows: Ragged, row_B: Tensor, left_out_B: Tensor) -> Tensor:
    """The sum of each asker's list without the one entry that the asker leaves out, [B, D]; zeros where nothing is left.

    A list is summed once, not once per asker: an asker's own entry is taken out by subtraction.

    Args:
        table_ED: what is summed, one row per place.
        rows: the lists.
        row_B: the list that each asker reads.
        left_out_B: the entry (place in T) of that list which the asker leaves out, or -1.
    """
    return _SegmentSumWithout.apply(table_ED, rows, row_B, left_out_B)


def segment_sum_without_reference(table_ED: Tensor, rows: Ragged, row_B: Tensor, left_out_B: Tensor) -> Tensor:
    """``segment_sum_without``, asker by asker, each list summed anew."""
    sums = []
    for g, left_out in zip(row_B.tolist(), left_out_B.tolist(), strict=True):
        entries = [t for t in range(int(rows.start[g]), int(rows.start[g + 1])) if t != left_out]
        sums.append(table_ED[rows.index[entries]].sum(0))
    return torch.stack(sums)


def segment_softmax(logit_E: Tensor, rows: Ragged, *, smoothing: float = 1.0) -> Tensor:
    """Softmax within each list; an empty list has no weights.

    Args:
        logit_E: one logit per place of the table.
        rows: the lists.
        smoothing: exponent on the denominator, in (0, 1]; below 1, long lists count for more.

    Returns:
        One weight per entry, [T]. With ``smoothing=1`` a list's weights sum to 1.

    Source: NAIS, He et al. 2018, its beta.
    """
    logit_T = logit_E[rows.index]
    shift_G = torch.full((rows.count,), -torch.inf, dtype=logit_T.dtype, device=logit_T.device)
    shift_G = shift_G.scatter_reduce(0, rows.owner, logit_T.detach(), "amax")
    exp_T = (logit_T - shift_G[rows.owner]).exp()
    total_G = torch.zeros_like(shift_G).index_add(0, rows.owner, exp_T)
    scale_G = ((1.0 - smoothing) * shift_G).exp() / total_G.pow(smoothing)
    return exp_T * scale_G[rows.owner]


def segment_softmax_reference(logit_E: Tensor, rows: Ragged, *, smoothing: float = 1.0) -> Tensor:
    """``segment_softmax``, list by list: exp(logit) over the smoothed sum of exp."""
    weights = []
    for g in range(rows.count):
        logit = logit_E[rows.index[rows.start[g] : rows.start[g + 1]]]
        weights.append((logit - smoothing * torch.logsumexp(logit, 0)).exp() if len(logit) else logit)
    return torch.cat(weights)


def attentive_sum(
    value_ED: Tensor, logit_E: Tensor, rows: Ragged, row_B: Tensor, left_out_B: Tensor, *, smoothing: float = 1.0
) -> Tensor:
    """The softmax-weighted sum of each asker's list, without the one entry that the asker leaves out.

    A list is pooled once, not once per asker: an asker's own entry is taken out of the sums by subtraction. Where that
    entry has the list's largest logit, subtraction would cancel; those lists are pooled a second time without it.

    Args:
        value_ED: what is summed, one row per place of the table.
        logit_E: one logit per place.
        rows: the lists.
        row_B: the list that each asker reads.
        left_out_B: the entry (place in T) of that list which the asker leaves out, or -1.
        smoothing: exponent on the softmax's denominator, in (0, 1].

    Returns:
        [B, D]; zeros where nothing is left to sum.
    """
    is_asked_G = torch.zeros(rows.count, dtype=torch.bool, device=row_B.device)
    is_asked_G[row_B] = True
    sums = _softmax_sums(value_ED, logit_E, rows, is_asked_G)
    # index_select, since the gradient of x[i] adds in the order in which threads come.
    pooled_BD = _scaled(sums, smoothing).index_select(0, row_B)
    asker_P = (left_out_B >= 0).nonzero().squeeze(-1)
    if not len(asker_P):
        return pooled_BD
    row_P, entry_P = row_B[asker_P], left_out_B[asker_P]
    is_top_P = sums.top[row_P] == entry_P
    asker_O, row_O, entry_O = asker_P[~is_top_P], row_P[~is_top_P], entry_P[~is_top_P]
    pooled_BD = pooled_BD.index_copy(0, asker_O, _scaled(_without(sums, value_ED, logit_E, rows, row_O, entry_O), smoothing))
    asker_K, row_K, entry_K = asker_P[is_top_P], row_P[is_top_P], entry_P[is_top_P]
    if not len(asker_K):
        return pooled_BD
    rest = rows.take(row_K, without_R=entry_K)
    again = _softmax_sums(value_ED, logit_E, rest, torch.ones(rest.count, dtype=torch.bool, device=row_B.device))
    return pooled_BD.index_copy(0, asker_K, _scaled(again, smoothing))


def attentive_sum_reference(
    value_ED: Tensor, logit_E: Tensor, rows: Ragged, row_B: Tensor, left_out_B: Tensor, *, smoothing: float = 1.0
) -> Tensor:
    """``attentive_sum``, asker by asker, each list summed anew."""
    pooled = []
    for g, left_out in zip(row_B.tolist(), left_out_B.tolist(), strict=True):
        entries = [t for t in range(int(rows.start[g]), int(rows.start[g + 1])) if t != left_out]
        place = rows.index[entries]
        if not entries:
            pooled.append(torch.zeros_like(value_ED[0]))
            continue
        weight = (logit_E[place] - smoothing * torch.logsumexp(logit_E[place], 0)).exp()
        pooled.append((weight[:, None] * value_ED[place]).sum(0))
    return torch.stack(pooled)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Per list: sum of exp(logit - shift) * value [G, D], sum of exp [G], the shift [G] and the entry it comes from [G].

    What stands in those of a list that nobody asks for means nothing.
    """

    weighted: Tensor
    total: Tensor
    shift: Tensor
    top: Tensor


def _softmax_sums(value_ED: Tensor, logit_E: Tensor, rows: Ragged, is_asked_G: Tensor) -> _Sums:
    if can_read(value_ED):
        return _Sums(*_SoftmaxSums.apply(value_ED, logit_E, rows, is_asked_G))
    logit_T = logit_E[rows.index]
    shift_G = torch.full((rows.count,), -torch.inf, dtype=logit_T.dtype, device=logit_T.device)
    shift_G = shift_G.scatter_reduce(0, rows.owner, logit_T.detach(), "amax")
    is_top_T = logit_T.detach() == shift_G[rows.owner]
    place_T = torch.where(is_top_T, torch.arange(len(logit_T), device=logit_T.device), len(logit_T))
    top_G = torch.full_like(rows.length, len(logit_T)).scatter_reduce(0, rows.owner, place_T, "amin")
    shift_G = torch.where(rows.length > 0, shift_G, 0.0)
    exp_T = (logit_T - shift_G[rows.owner]).exp()
    total_G = torch.zeros_like(shift_G).index_add(0, rows.owner, exp_T)
    weighted_GD = torch.zeros(rows.count, value_ED.shape[1], dtype=value_ED.dtype, device=value_ED.device)
    weighted_GD = weighted_GD.index_add(0, rows.owner, exp_T[:, None] * value_ED[rows.index])
    return _Sums(weighted_GD, total_G, shift_G, top_G)


def _without(sums: _Sums, value_ED: Tensor, logit_E: Tensor, rows: Ragged, row_O: Tensor, entry_O: Tensor) -> _Sums:
    """The sums of the asked lists less one entry each, which is not the one with the largest logit."""
    place_O, shift_O = rows.index[entry_O], sums.shift[row_O]
    exp_O = (logit_E.index_select(0, place_O) - shift_O).exp()
    weighted_OD = sums.weighted.index_select(0, row_O) - exp_O[:, None] * value_ED.index_select(0, place_O)
    return _Sums(weighted_OD, sums.total.index_select(0, row_O) - exp_O, shift_O, sums.top[row_O])


def _scaled(sums: _Sums, smoothing: float) -> Tensor:
    """The weighted mean; the shift no longer cancels when the denominator is smoothed. Zeros for an empty list."""
    is_empty_G = sums.total <= 0
    denominator_G = torch.where(is_empty_G, 1.0, sums.total)
    scale_G = 1.0 / denominator_G if smoothing == 1.0 else ((1.0 - smoothing) * sums.shift).exp() / denominator_G.pow(smoothing)
    return sums.weighted * scale_G[:, None]


class _SegmentSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_ED: Tensor, rows: Ragged) -> Tensor:
        ctx.rows = rows
        return _sum_rows(rows.start, rows.index, table_ED)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        first_E1, row_T, _ = ctx.rows.transposed
        return _sum_rows(first_E1, row_T, grads[0]), None


class _SegmentSumWithout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_ED: Tensor, rows: Ragged, row_B: Tensor, left_out_B: Tensor) -> Tensor:
        asker_P = (left_out_B >= 0).nonzero().squeeze(-1)
        place_P = rows.index[left_out_B[asker_P]]
        ctx.rows, ctx.row_B, ctx.asker_P, ctx.place_P = rows, row_B, asker_P, place_P
        if not can_read(table_ED):
            sum_GD = _sum_rows(rows.start, rows.index, table_ED)
            return sum_GD.index_select(0, row_B).index_add_(0, asker_P, table_ED.index_select(0, place_P), alpha=-1)
        sum_GD = table_ED.new_empty(rows.count, table_ED.shape[1])
        is_asked_G = torch.zeros(rows.count, dtype=torch.bool).index_fill_(0, row_B, True)
        call(_cpu.sum_asked_rows, rows.start, rows.index, is_asked_G, table_ED, sum_GD)
        place_B = torch.full_like(row_B, -1).index_copy_(0, asker_P, place_P)
        out_BD = table_ED.new_empty(len(row_B), table_ED.shape[1])
        call(_cpu.take_out, sum_GD, row_B, table_ED, place_B, out_BD)
        return out_BD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        rows, grad_BD, asker_B = ctx.rows, grads[0], torch.arange(len(grads[0]), device=grads[0].device)
        first_E1, row_T, _ = rows.transposed
        grad_ED = _sum_rows(first_E1, row_T, _gather_up(grad_BD, asker_B, ctx.row_B, rows.count))
        return grad_ED.sub_(_gather_up(grad_BD, ctx.asker_P, ctx.place_P, rows.width)), None, None, None


def _gather_up(value_BD: Tensor, asker_P: Tensor, place_P: Tensor, count: int) -> Tensor:
    """The sum of the askers' rows that go to each place, [count, D], always in the order in which the askers stand."""
    first, entry_P, _ = Ragged(torch.arange(len(place_P) + 1, device=place_P.device), place_P, count).transposed
    return _sum_rows(first, asker_P[entry_P], value_BD)


def _sum_rows(start_G1: Tensor, index_T: Tensor, table_ED: Tensor) -> Tensor:
    out_GD = torch.zeros(len(start_G1) - 1, table_ED.shape[1], dtype=table_ED.dtype, device=table_ED.device)
    if can_read(table_ED):
        call(_cpu.sum_rows, start_G1, index_T, table_ED, out_GD)
        return out_GD
    owner_T = torch.repeat_interleave(torch.arange(len(out_GD), device=out_GD.device), start_G1.diff())
    return out_GD.index_add_(0, owner_T, table_ED[index_T])


class _SoftmaxSums(torch.autograd.Function):
    """The CPU's way: one pass over the entries forward, one over the transposed entries back.

    exp(logit - shift_g) = exp(logit - largest) * exp(largest - shift_g), and the first factor does not depend on the list:
    with it folded into the values, both passes are bare sums of rows. Where some list's own largest logit is so far
    below the table's that the first factor would vanish, every entry gets its own exp.
    """

    @staticmethod
    def forward(
        ctx: Any, value_ED: Tensor, logit_E: Tensor, rows: Ragged, is_asked_G: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value_ED, logit_E = value_ED.detach().contiguous(), logit_E.detach()
        largest = logit_E.max() if len(logit_E) else logit_E.new_zeros(())
        exp_E = (logit_E - largest).exp()
        shift_G, total_G = logit_E.new_empty(rows.count), logit_E.new_empty(rows.count)
        top_G = torch.empty(rows.count, dtype=torch.int64)
        call(_cpu.row_tops, rows.start, rows.index, is_asked_G, logit_E, exp_E, shift_G, total_G, top_G)
        shift_G = torch.where(top_G >= 0, shift_G, largest)
        ctx.rows, ctx.is_asked = rows, is_asked_G
        ctx.is_shared = bool(largest - shift_G.min() < FARTHEST_SHARED_SHIFT) if rows.count else True
        if ctx.is_shared:
            scale_G = (largest - shift_G).exp()
            sum_GD = value_ED.new_empty(rows.count, value_ED.shape[1])
            call(_cpu.sum_asked_rows, rows.start, rows.index, is_asked_G, exp_E[:, None] * value_ED, sum_GD)
            sum_GD.mul_(scale_G[:, None])
            total_G, exp_T = total_G.mul_(scale_G), scale_G
        else:
            exp_T, sum_GD = logit_E.new_empty(len(rows.index)), value_ED.new_empty(rows.count, value_ED.shape[1])
            call(_cpu.softmax_sums, rows.start, rows.index, value_ED, logit_E, shift_G, exp_T, total_G, sum_GD)
        ctx.save_for_backward(value_ED, exp_E, exp_T)
        ctx.mark_non_differentiable(shift_G, top_G)
        return sum_GD, total_G, shift_G, top_G

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        value_ED, exp_E, exp_T = ctx.saved_tensors
        grad_sum_GD, grad_total_G = grads[0], grads[1]
        first_E1, row_T, entry_T = ctx.rows.transposed
        grad_value_ED, from_total_E = torch.empty_like(value_ED), torch.empty_like(exp_E)
        if ctx.is_shared:
            scaled_GD, scaled_G = grad_sum_GD * exp_T[:, None], grad_total_G * exp_T
            last_E = first_E1[1:]
            if not bool(ctx.is_asked.all()):
                last_E, asked_T = torch.empty_like(last_E), torch.empty_like(row_T)
                call(_cpu.only_asked, first_E1, row_T, ctx.is_asked, last_E, asked_T)
                row_T = asked_T
            call(_cpu.sum_rows_and_scalars, first_E1[:-1], last_E, row_T, scaled_GD, scaled_G, grad_value_ED, from_total_E)
            grad_value_ED, from_total_E = grad_value_ED.mul_(exp_E[:, None]), from_total_E.mul_(exp_E)
        else:
            call(
                _cpu.softmax_sums_backward,
                first_E1,
                row_T,
                entry_T,
                exp_T,
                grad_total_G,
                grad_sum_GD,
                from_total_E,
                grad_value_ED,
            )
        return grad_value_ED, (value_ED * grad_value_ED).sum(-1) + from_total_E, None, None
