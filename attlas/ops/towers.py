"""Towers over pairs of rows, all layers of a pair at once: what lies between the first layer and the verdict is never kept.

Shapes: G and R rows of the left and the right table, H columns, K units of the last layer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attlas.ops._numba import call
from attlas.ops._numba import towers as _cpu


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
    if left_GH.device.type != "cpu":
        hidden = (left_GH[:, None] + right_RH[None]).relu_()
        for weight, bias in zip(weights, biases, strict=True):
            hidden = torch.nn.functional.linear(hidden, weight, bias).relu_()
        return hidden @ head_K
    width_L = torch.from_numpy(np.array([left_GH.shape[1], *(len(bias) for bias in biases)]))
    out_GR = left_GH.new_empty(len(left_GH), len(right_RH))
    flat = [torch.cat([part.flatten() for part in parts]) if parts else left_GH.new_empty(0) for parts in (weights, biases)]
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
