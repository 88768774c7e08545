"""Sums over the fields of rows and over all pairs of them, without a tensor that holds every pair's product.

A row names one entry of a table for each of its fields, and pairs of fields stand in the order (0, 1), (0, 2), ..
(F - 2, F - 1).

Shapes: B rows, F fields, P pairs of them, E entries of the table, D or K columns of it, N distinct pairs of entries, A hidden.

Every public function has a literal twin, ``<name>_reference``, that says the same in loops.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numba
import torch
from torch import Tensor

from attlas.ops._numba import call, can_read
from attlas.ops._numba import fields as _cpu

CHUNK_FLOATS = 2**20  # of the products of pairs that stand at once: 4 MB, what two cores' caches hold
LEAST_COLUMNS = 16  # that a thread scatters into: one line of a cache in single precision
SHARES = 64  # of a chunk, each of which sums the gradients of bias and head by itself


class Pairs(NamedTuple):
    """The pairs of entries that occur in a batch, each once, and where each row finds its own.

    Attributes:
        one, other: int64[N], the two entries.
        place: int64[B, P], which of them each pair of a row is.
    """

    one: Tensor
    other: Tensor
    place: Tensor


def field_sum(table_EK: Tensor, index_BF: Tensor) -> Tensor:
    """The sum of the entries that each row names, [B, K].

    Args:
        table_EK: one row per entry.
        index_BF: int64, at least one field.
    """
    if not can_read(table_EK):
        return table_EK.index_select(0, index_BF.flatten()).unflatten(0, index_BF.shape).sum(1)
    return _FieldSum.apply(table_EK, index_BF)


def field_sum_reference(table_EK: Tensor, index_BF: Tensor) -> Tensor:
    """``field_sum``, row by row."""
    return torch.stack([table_EK[index_F].sum(0) for index_F in index_BF])


def pair_sum(table_ED: Tensor, index_BF: Tensor) -> Tensor:
    """The sum over all pairs of fields of the product of their entries, column by column, [B, D].

    Each entry meets the sum of those before it: linear in the fields, and nothing cancels as it does in half the difference
    of squares (Rendle 2010, lemma 3.1), which it equals.
    """
    if not can_read(table_ED):
        row_BFD = table_ED.index_select(0, index_BF.flatten()).unflatten(0, index_BF.shape)
        return (row_BFD[:, 1:] * row_BFD.cumsum(1)[:, :-1]).sum(1)
    return _PairSum.apply(table_ED, index_BF)


def pair_sum_reference(table_ED: Tensor, index_BF: Tensor) -> Tensor:
    """``pair_sum``, pair by pair."""
    ones_BP = torch.ones(len(index_BF), _pairs_of(index_BF), dtype=table_ED.dtype, device=table_ED.device)
    return weighted_pair_sum_reference(table_ED, index_BF, ones_BP)


def weighted_pair_sum(table_ED: Tensor, index_BF: Tensor, weight_BP: Tensor) -> Tensor:
    """The sum over all pairs of fields of a weight times the product of their entries, column by column, [B, D]."""
    if not can_read(table_ED):
        one_P, other_P = pair_places(index_BF)
        row_BFD = table_ED.index_select(0, index_BF.flatten()).unflatten(0, index_BF.shape)
        above_BFF = weight_BP.new_zeros(len(index_BF), index_BF.shape[1], index_BF.shape[1])
        above_BFF[:, one_P, other_P] = weight_BP
        return (row_BFD * (above_BFF @ row_BFD)).sum(1)
    return _WeightedPairSum.apply(table_ED, index_BF, weight_BP)


def weighted_pair_sum_reference(table_ED: Tensor, index_BF: Tensor, weight_BP: Tensor) -> Tensor:
    """``weighted_pair_sum``, row by row and pair by pair."""
    rows = []
    for index_F, weight_P in zip(index_BF.tolist(), weight_BP, strict=True):
        total_D = torch.zeros_like(table_ED[0])
        for place, (one, other) in enumerate(itertools.combinations(index_F, 2)):
            total_D = total_D + weight_P[place] * table_ED[one] * table_ED[other]
        rows.append(total_D)
    return torch.stack(rows)


def distinct_pairs(index_BF: Tensor) -> Pairs:
    """Of all pairs of entries in a batch each once, by pair of fields and then by the row in which it comes first."""
    left_P, right_P = pair_places(index_BF)
    rows, pairs = len(index_BF), len(left_P)
    place_BP = index_BF.new_empty(rows, pairs)
    if not can_read(index_BF):
        return _distinct_on_device(index_BF, left_P, right_P)
    first_PB, count_P = index_BF.new_empty(pairs, rows), index_BF.new_zeros(pairs)
    call(_cpu.find_equal, index_BF, left_P, right_P, place_BP, first_PB, count_P)
    start_P1 = torch.cat([count_P.new_zeros(1), count_P.cumsum(0)])
    one_N, other_N = (index_BF.new_empty(int(start_P1[-1])) for _ in range(2))
    call(_cpu.list_distinct, index_BF, left_P, right_P, first_PB, start_P1, place_BP, one_N, other_N)
    return Pairs(one_N, other_N, place_BP)


def distinct_pairs_reference(index_BF: Tensor) -> Pairs:
    """``distinct_pairs``, pair by pair."""
    found: dict[tuple[int, int, int], int] = {}
    rows = [list(itertools.combinations(index_F, 2)) for index_F in index_BF.tolist()]
    for place in range(_pairs_of(index_BF)):
        for row in rows:
            found.setdefault((place, *row[place]), len(found))
    place_BP = [[found[place, *pair] for place, pair in enumerate(row)] for row in rows]
    ends = torch.tensor([[one, other] for _, one, other in found], dtype=torch.int64).view(-1, 2).to(index_BF.device)
    placed = torch.tensor(place_BP, dtype=torch.int64, device=index_BF.device).view(len(rows), -1)
    return Pairs(ends[:, 0], ends[:, 1], placed)


def judge_pairs(
    table_ED: Tensor, one_N: Tensor, other_N: Tensor, weight_DA: Tensor, bias_A: Tensor, head_A: Tensor, output_D: Tensor
) -> tuple[Tensor, Tensor]:
    """Of each pair's product q its logit, head . relu(q W + b), and its score, output . q; [N] each.

    A chunk of products stands at a time; the way back makes them anew.

    Args:
        table_ED: one row per entry.
        one_N, other_N: int64, the two entries of each pair.
    """
    return _JudgePairs.apply(table_ED, one_N, other_N, weight_DA, bias_A, head_A, output_D)


def judge_pairs_reference(
    table_ED: Tensor, one_N: Tensor, other_N: Tensor, weight_DA: Tensor, bias_A: Tensor, head_A: Tensor, output_D: Tensor
) -> tuple[Tensor, Tensor]:
    """``judge_pairs``, pair by pair."""
    products = [table_ED[one] * table_ED[other] for one, other in zip(one_N.tolist(), other_N.tolist(), strict=True)]
    logits = [head_A @ (product_D @ weight_DA + bias_A).clamp(min=0) for product_D in products]
    return torch.stack(logits), torch.stack([output_D @ product_D for product_D in products])


def pair_places(index_BF: Tensor) -> tuple[Tensor, Tensor]:
    """The two fields of each pair, int64[P] each, in their order."""
    left_P, right_P = torch.triu_indices(index_BF.shape[1], index_BF.shape[1], offset=1, device=index_BF.device)
    return left_P, right_P


def pair_places_reference(index_BF: Tensor) -> tuple[Tensor, Tensor]:
    """``pair_places``, spelled out."""
    pairs = torch.tensor(list(itertools.combinations(range(index_BF.shape[1]), 2)), dtype=torch.int64).view(-1, 2)
    return pairs[:, 0].to(index_BF.device), pairs[:, 1].to(index_BF.device)


def _pairs_of(index_BF: Tensor) -> int:
    return index_BF.shape[1] * (index_BF.shape[1] - 1) // 2


def _distinct_on_device(index_BF: Tensor, left_P: Tensor, right_P: Tensor) -> Pairs:
    """By sorting keys; then in the order in which the other way finds them."""
    ends_PB2 = torch.stack([index_BF[:, left_P].T, index_BF[:, right_P].T], dim=-1)
    of_P = torch.arange(len(left_P), device=index_BF.device)
    key_T3 = torch.cat([of_P[:, None].expand(-1, len(index_BF))[..., None], ends_PB2], dim=-1).flatten(0, 1)
    known_N3, sorted_T = torch.unique(key_T3, dim=0, return_inverse=True)
    at_T = torch.arange(len(key_T3), device=index_BF.device)
    first_N = torch.full_like(known_N3[:, 0], len(key_T3)).scatter_reduce(0, sorted_T, at_T, "amin")
    order_N = first_N.argsort()
    place_T = order_N.argsort()[sorted_T]
    return Pairs(known_N3[order_N, 1], known_N3[order_N, 2], place_T.view(len(left_P), len(index_BF)).T.contiguous())


class _FieldSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_EK: Tensor, index_BF: Tensor) -> Tensor:
        ctx.save_for_backward(index_BF)
        ctx.shape = table_EK.shape
        out_BK = table_EK.new_empty(len(index_BF), table_EK.shape[1])
        call(_cpu.field_sum, table_EK, index_BF, out_BK)
        return out_BK

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad_EK = grads[0].new_zeros(ctx.shape)
        _spread(_cpu.spread, ctx.saved_tensors[0], grads[0], grad_EK)
        return grad_EK, None


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_ED: Tensor, index_BF: Tensor) -> Tensor:
        sum_BD, out_BD = (table_ED.new_empty(len(index_BF), table_ED.shape[1]) for _ in range(2))
        call(_cpu.pair_sum, table_ED, index_BF, sum_BD, out_BD)
        ctx.save_for_backward(table_ED, index_BF, sum_BD)
        return out_BD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad_ED = torch.zeros_like(ctx.saved_tensors[0], memory_format=torch.contiguous_format)
        _spread(_cpu.pair_sum_backward, *ctx.saved_tensors, grads[0], grad_ED)
        return grad_ED, None


class _WeightedPairSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table_ED: Tensor, index_BF: Tensor, weight_BP: Tensor) -> Tensor:
        ctx.save_for_backward(table_ED, index_BF, weight_BP)
        out_BD = table_ED.new_empty(len(index_BF), table_ED.shape[1])
        call(_cpu.weighted_pair_sum, table_ED, index_BF, weight_BP, out_BD)
        return out_BD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor]:
        table_ED, index_BF, weight_BP = ctx.saved_tensors
        grad_ED = torch.zeros_like(table_ED, memory_format=torch.contiguous_format)
        grad_BP = torch.empty_like(weight_BP, memory_format=torch.contiguous_format)
        call(_cpu.weighted_pair_sum_backward_weights, table_ED, index_BF, grads[0], grad_BP)
        _spread(_cpu.weighted_pair_sum_backward_rows, table_ED, index_BF, weight_BP, grads[0], grad_ED)
        return grad_ED, None, grad_BP


class _JudgePairs(torch.autograd.Function):
    """W and the output side by side are one matrix, so that each way is one product of matrices and one pass of a kernel."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*given)
        table_ED, one_N, other_N, weight_DA, bias_A, head_A, output_D = given
        joined_DT = torch.cat([weight_DA, output_D[:, None]], dim=1)
        logit_N, score_N = (table_ED.new_empty(len(one_N)) for _ in range(2))
        for part in _chunks(len(one_N), sum(joined_DT.shape)):
            joined_NT = _products(table_ED, one_N[part], other_N[part]) @ joined_DT
            if can_read(table_ED):
                call(_cpu.judge, joined_NT, bias_A, head_A, logit_N[part], score_N[part])
            else:
                logit_N[part] = (joined_NT[:, :-1] + bias_A).relu_() @ head_A
                score_N[part] = joined_NT[:, -1]
        return logit_N, score_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        table_ED, one_N, other_N, weight_DA, bias_A, head_A, output_D = ctx.saved_tensors
        joined_DT = torch.cat([weight_DA, output_D[:, None]], dim=1)
        grad_ED, grad_DT = (torch.zeros_like(part, memory_format=torch.contiguous_format) for part in (table_ED, joined_DT))
        grad_bias_CA, grad_head_CA = (bias_A.new_zeros(SHARES, len(bias_A)) for _ in range(2))
        for part in _chunks(len(one_N), sum(joined_DT.shape)):
            product_ND = _products(table_ED, one_N[part], other_N[part])
            joined_NT = product_ND @ joined_DT
            if can_read(table_ED):
                given = joined_NT, bias_A, head_A, grads[0][part], grads[1][part]
                call(_cpu.judge_backward, *given, grad_bias_CA, grad_head_CA)
            else:
                hidden_NA = (joined_NT[:, :-1] + bias_A).relu_()
                grad_head_CA[0] += grads[0][part] @ hidden_NA
                joined_NT[:, :-1] = (hidden_NA > 0) * (grads[0][part][:, None] * head_A)
                joined_NT[:, -1] = grads[1][part]
                grad_bias_CA[0] += joined_NT[:, :-1].sum(0)
            grad_DT.addmm_(product_ND.T, joined_NT)
            _spread_products(table_ED, one_N[part], other_N[part], joined_NT @ joined_DT.T, grad_ED)
        network = grad_DT[:, :-1], grad_bias_CA.sum(0), grad_head_CA.sum(0), grad_DT[:, -1]
        return grad_ED, None, None, *network


def _spread(kernel: Any, *given: Tensor) -> None:
    """A kernel that scatters, each thread into columns of its own: however many there are, sums have the same order."""
    width, threads = given[-1].shape[1], numba.get_num_threads()
    kernel(*(tensor.detach().contiguous().numpy() for tensor in given), max(LEAST_COLUMNS, -(-width // threads)))


def _chunks(count: int, floats: int) -> list[slice]:
    step = max(1, CHUNK_FLOATS // floats)
    return [slice(first, first + step) for first in range(0, count, step)]


def _products(table_ED: Tensor, one_N: Tensor, other_N: Tensor) -> Tensor:
    if not can_read(table_ED):
        return table_ED.index_select(0, one_N) * table_ED.index_select(0, other_N)
    out_ND = table_ED.new_empty(len(one_N), table_ED.shape[1])
    call(_cpu.multiply_rows, table_ED, one_N, other_N, out_ND)
    return out_ND


def _spread_products(table_ED: Tensor, one_N: Tensor, other_N: Tensor, grad_ND: Tensor, out_ED: Tensor) -> None:
    if can_read(table_ED):
        _spread(_cpu.multiply_rows_backward, table_ED, one_N, other_N, grad_ND, out_ED)
        return
    out_ED.index_add_(0, one_N, grad_ND * table_ED.index_select(0, other_N))
    out_ED.index_add_(0, other_N, grad_ND * table_ED.index_select(0, one_N))
