"""CPU kernels of ``ops/towers.py``: many pairs abreast in every instruction, parallel over rows and blocks of columns."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

TILE = 64  # pairs at a time: a layer of 64 units of them is 16 KB, which the first cache holds
BLOCK = 8 * TILE  # columns of the result that one thread does at a time


@njit(cache=True, nogil=True, fastmath={"contract"}, inline="always")
def _relu_layer(below_HT, weight_KH, bias_K, above_KT):
    """ReLU(W x + b) of a tile; four units of the layer below in one pass over the sums."""
    zero = above_KT.dtype.type(0)
    for k in range(len(weight_KH)):
        weight_H, above_T = weight_KH[k], above_KT[k]
        for t in range(TILE):
            above_T[t] = bias_K[k]
        h = 0
        while h + 4 <= len(weight_H):
            a, b, c, d = weight_H[h], weight_H[h + 1], weight_H[h + 2], weight_H[h + 3]
            p_T, q_T, r_T, s_T = below_HT[h], below_HT[h + 1], below_HT[h + 2], below_HT[h + 3]
            for t in range(TILE):
                above_T[t] += (a * p_T[t] + b * q_T[t]) + (c * r_T[t] + d * s_T[t])
            h += 4
        while h < len(weight_H):
            a, p_T = weight_H[h], below_HT[h]
            for t in range(TILE):
                above_T[t] += a * p_T[t]
            h += 1
        for t in range(TILE):
            above_T[t] = max(above_T[t], zero)


@njit(cache=True, parallel=True, nogil=True, fastmath={"contract"})
def judge_every_pair(left_GH, right_HR, width_L, weight_N, bias_M, head_K, out_GR):
    """The tower's verdict on every row of the left table with every column of the right one."""
    zero, rows, columns = out_GR.dtype.type(0), len(left_GH), right_HR.shape[1]
    blocks = (columns + BLOCK - 1) // BLOCK
    widest = width_L.max()
    for n in prange(rows * blocks):
        left_H, out_R = left_GH[n // blocks], out_GR[n // blocks]
        begin = (n % blocks) * BLOCK
        below_WT, above_WT = np.zeros((widest, TILE), out_GR.dtype), np.zeros((widest, TILE), out_GR.dtype)
        for first in range(begin, min(begin + BLOCK, columns), TILE):
            for h in range(len(left_H)):
                right_T, below_T = right_HR[h, first : first + TILE], below_WT[h]
                for t in range(len(right_T)):
                    below_T[t] = max(left_H[h] + right_T[t], zero)
            weights, biases = 0, 0
            for layer in range(1, len(width_L)):
                H, K = width_L[layer - 1], width_L[layer]
                weight_KH = weight_N[weights : weights + K * H].reshape(K, H)
                _relu_layer(below_WT[:H], weight_KH, bias_M[biases : biases + K], above_WT[:K])
                below_WT, above_WT = above_WT, below_WT
                weights += K * H
                biases += K
            out_T = out_R[first : first + TILE]
            for t in range(len(out_T)):
                out_T[t] = zero
            for k in range(len(head_K)):
                below_T = below_WT[k]
                for t in range(len(out_T)):
                    out_T[t] += head_K[k] * below_T[t]
