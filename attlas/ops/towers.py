"""Towers over pairs of rows, all layers of a pair at once; their first layer is ReLU(left + right).

Shapes: B pairs, G and R rows of the left and the right table, C columns, H units of the first layer, K of the last one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from attlas.ops._numba import call, can_read
from attlas.ops._numba import halves as _halves
from attlas.ops._numba import towers as _cpu
from attlas.ops.halves import products_and_relu_of_halves

NARROW = 64  # units: wider layers are better multiplied one by one, as whole matrices


def judge_listed_pairs(
    left_GC: Tensor,
    left_B: Tensor,
    right_RC: Tensor,
    right_B: Tensor,
    weights: tuple[Tensor, ...],
    biases: tuple[Tensor, ...],
    head_K: Tensor,
) -> Tensor:
    """The product of two rows plus what a tower says of them, for each pair, [B].

    Its first layer is ReLU(left + right) over the last H columns, the product is that of the columns before them; further
    layers are ReLU(W x + b), the verdict the product of the last with ``head``.

    Args:
        left_GC, right_RC: the two tables.
        left_B, right_B: int64[B], the row of each that a pair reads.
        weights: W of each further layer, [units, units below].
        biases: b of each.
        head_K: what each unit of the last layer counts.
    """
    widths = [weights[0].shape[1] if weights else len(head_K), *map(len, biases)]
    if can_read(left_GC) and max(widths) <= NARROW:
        return _JudgeListedPairs.apply(left_GC, left_B, right_RC, right_B, head_K, *weights, *biases)
    product_B, hidden = products_and_relu_of_halves(left_GC, left_B, right_RC, right_B, left_GC.shape[1] - widths[0])
    for weight, bias in zip(weights, biases, strict=True):
        hidden = linear(hidden, weight, bias).relu_()
    return product_B + hidden @ head_K


def judge_listed_pairs_reference(
    left_GC: Tensor,
    left_B: Tensor,
    right_RC: Tensor,
    right_B: Tensor,
    weights: tuple[Tensor, ...],
    biases: tuple[Tensor, ...],
    head_K: Tensor,
) -> Tensor:
    """``judge_listed_pairs``, pair by pair."""
    split = left_GC.shape[1] - (weights[0].shape[1] if weights else len(head_K))
    judged = []
    for left_C, right_C in zip(left_GC[left_B], right_RC[right_B], strict=True):
        hidden = (left_C[split:] + right_C[split:]).clamp(min=0)
        for weight, bias in zip(weights, biases, strict=True):
            hidden = (weight @ hidden + bias).clamp(min=0)
        judged.append(left_C[:split] @ right_C[:split] + head_K @ hidden)
    return torch.stack(judged)


class _JudgeListedPairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, left_GC: Tensor, left_B: Tensor, right_RC: Tensor, right_B: Tensor, head_K: Tensor, *layers: Tensor
    ) -> Tensor:
        weights, biases = layers[: len(layers) // 2], layers[len(layers) // 2 :]
        ctx.widths = [weights[0].shape[1] if weights else len(head_K), *map(len, biases)]
        out_B = left_GC.new_empty(len(left_B))
        first_BH = left_GC.new_empty(len(left_B), ctx.widths[0])
        hidden_MB = left_GC.new_empty(sum(ctx.widths[1:]), len(left_B))
        width_L, flat = torch.tensor(ctx.widths), (_flat(weights, left_GC), _flat(biases, left_GC))
        call(_cpu.judge_listed_pairs, left_GC, left_B, right_RC, right_B, width_L, *flat, head_K, out_B, first_BH, hidden_MB)
        ctx.save_for_backward(left_GC, left_B, right_RC, right_B, head_K, first_BH, hidden_MB, *weights)
        return out_B

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left_GC, left_B, right_RC, right_B, head_K, first_BH, hidden_MB, *weights = ctx.saved_tensors
        grad_B, pull_BH, pull_MB = grads[0], torch.empty_like(first_BH), torch.empty_like(hidden_MB)
        turned_N = _flat([weight.T for weight in weights], left_GC)
        call(_cpu.pull_pairs, torch.tensor(ctx.widths), turned_N, head_K, grad_B, first_BH, hidden_MB, pull_BH, pull_MB)
        layers_BH = [first_BH, *(layer.T for layer in hidden_MB.split(ctx.widths[1:]))]
        pulls = pull_MB.split(ctx.widths[1:])
        weight_grads = [pull_KB @ below_BH for pull_KB, below_BH in zip(pulls, layers_BH[:-1], strict=True)]
        rows = []
        sides = ((left_GC, left_B, right_RC, right_B), (right_RC, right_B, left_GC, left_B))
        for is_needed, (own, own_B, other, other_B) in zip(ctx.needs_input_grad[:3:2], sides, strict=True):
            rows.append(_sum_of_pairs(own, own_B, grad_B, other, other_B, pull_BH) if is_needed else None)
        return rows[0], None, rows[1], None, layers_BH[-1].T @ grad_B, *weight_grads, *(pull.sum(1) for pull in pulls)


def _sum_of_pairs(own: Tensor, own_B: Tensor, grad_B: Tensor, other: Tensor, other_B: Tensor, pull_BH: Tensor) -> Tensor:
    start, place = (torch.from_numpy(array) for array in _halves.group(own_B.numpy(), len(own)))
    sum_GC = torch.empty_like(own, memory_format=torch.contiguous_format)
    call(_cpu.sum_of_pairs, start, place, grad_B, other, other_B, pull_BH, sum_GC)
    return sum_GC


def _flat(parts: Any, like: Tensor) -> Tensor:
    """All numbers of the parts in a row."""
    return torch.cat([part.flatten() for part in parts]) if parts else like.new_empty(0)


@torch.no_grad()
def judge_every_pair(
    left_GH: Tensor, right_RH: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...], head_K: Tensor
) -> Tensor:
    """What a tower says of every row of one table with every row of another, [G, R]; without gradients.

    Its first layer is ReLU(left + right), further ones ReLU(W x + b), its verdict the product of the last with ``head``.

    Args:
        left_GH, right_RH: the halves of the first layer.
        weights: W of each further layer, [units, units below].
        biases: b of each.
        head_K: what each unit of the last layer counts.
    """
    if not can_read(left_GH):
        hidden = (left_GH[:, None] + right_RH[None]).relu_()
        for weight, bias in zip(weights, biases, strict=True):
            hidden = linear(hidden, weight, bias).relu_()
        return hidden @ head_K
    width_L = torch.tensor([left_GH.shape[1], *map(len, biases)])
    out_GR = left_GH.new_empty(len(left_GH), len(right_RH))
    flat = _flat(weights, left_GH), _flat(biases, left_GH)
    call(_cpu.judge_every_pair, left_GH, right_RH.T, width_L, *flat, head_K, out_GR)
    return out_GR


@torch.no_grad()
def judge_every_pair_reference(
    left_GH: Tensor, right_RH: Tensor, weights: tuple[Tensor, ...], biases: tuple[Tensor, ...], head_K: Tensor
) -> Tensor:
    """``judge_every_pair``, pair by pair."""
    out_GR = left_GH.new_empty(len(left_GH), len(right_RH))
    for g in range(len(left_GH)):
        for r in range(len(right_RH)):
            hidden = (left_GH[g] + right_RH[r]).clamp(min=0)
            for weight, bias in zip(weights, biases, strict=True):
                hidden = (weight @ hidden + bias).clamp(min=0)
            out_GR[g, r] = head_K @ hidden
    return out_GR
