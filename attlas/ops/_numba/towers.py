"""CPU kernels of ``ops/towers.py``: many pairs abreast in every instruction, parallel over rows and blocks of pairs.

Layers further up lie unit by unit, a row for each, so that a tile of pairs is a piece of every row; the first lies pair by
pair, as its halves do. Shapes beside those of ``ops/towers.py``: T pairs in a tile, M units of all further layers, N weights.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

TILE = 64  # pairs at a time: a layer of 64 units of them is 16 KB, which the first cache holds
BLOCK = 8 * TILE  # pairs that one thread does at a time


@njit(cache=True, nogil=True, fastmath={"contract"})
def _four(row, begin):
    return row[begin], row[begin + 1], row[begin + 2], row[begin + 3]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _product(one, p, q, r, s):
    return (one[0] * p + one[1] * q) + (one[2] * r + one[3] * s)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_products(below_HT, weight_KH, above_KT):
    """above += W below, by four units of either, so that what is loaded once serves four times."""
    K, H = weight_KH.shape
    k = 0
    while k + 4 <= K:
        a_T, b_T, c_T, d_T = above_KT[k], above_KT[k + 1], above_KT[k + 2], above_KT[k + 3]
        h = 0
        while h + 4 <= H:
            a, b, c, d = (
                _four(weight_KH[k], h),
                _four(weight_KH[k + 1], h),
                _four(weight_KH[k + 2], h),
                _four(weight_KH[k + 3], h),
            )
            p_T, q_T, r_T, s_T = below_HT[h], below_HT[h + 1], below_HT[h + 2], below_HT[h + 3]
            for t in range(TILE):
                p, q, r, s = p_T[t], q_T[t], r_T[t], s_T[t]
                a_T[t] += _product(a, p, q, r, s)
                b_T[t] += _product(b, p, q, r, s)
                c_T[t] += _product(c, p, q, r, s)
                d_T[t] += _product(d, p, q, r, s)
            h += 4
        _add_rest(below_HT, weight_KH[k : k + 4], above_KT[k : k + 4], h)
        k += 4
    _add_rest(below_HT, weight_KH[k:], above_KT[k:], 0)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_rest(below_HT, weight_KH, above_KT, begin):
    """What does not come in fours, from one unit of the layer below on."""
    for k in range(weight_KH.shape[0]):
        above_T = above_KT[k]
        for h in range(begin, weight_KH.shape[1]):
            weight, below_T = weight_KH[k, h], below_HT[h]
            for t in range(TILE):
                above_T[t] += weight * below_T[t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _layer(below_WT, weight_KH, bias_K, above_WT):
    """ReLU(W x + b) of a tile."""
    zero = above_WT.dtype.type(0)
    for k in range(len(bias_K)):
        above_WT[k] = bias_K[k]
    _add_products(below_WT, weight_KH, above_WT)
    for k in range(len(bias_K)):
        above_T = above_WT[k]
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
                _layer(below_WT, weight_KH, bias_M[biases : biases + K], above_WT)
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


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _first_layer(left_C, right_C, first_H):
    """The product of the first columns of a pair; into ``first`` the ReLU of the sum of the others."""
    product = zero = first_H.dtype.type(0)
    split = len(left_C) - len(first_H)
    for k in range(split):
        product += left_C[k] * right_C[k]
    left_H, right_H = left_C[split:], right_C[split:]
    for h in range(len(first_H)):
        first_H[h] = max(left_H[h] + right_H[h], zero)
    return product


@njit(cache=True, nogil=True)
def _unit_by_unit(first_BH, below_WT):
    """What lies pair by pair, a row for each unit: below[h, b] = first[b, h], eight pairs at a time."""
    pairs, width = first_BH.shape
    b = 0
    while b + 8 <= pairs:
        p, q, r, s = first_BH[b], first_BH[b + 1], first_BH[b + 2], first_BH[b + 3]
        u, v, w, x = first_BH[b + 4], first_BH[b + 5], first_BH[b + 6], first_BH[b + 7]
        for h in range(width):
            to_T = below_WT[h]
            to_T[b], to_T[b + 1], to_T[b + 2], to_T[b + 3] = p[h], q[h], r[h], s[h]
            to_T[b + 4], to_T[b + 5], to_T[b + 6], to_T[b + 7] = u[h], v[h], w[h], x[h]
        b += 8
    while b < pairs:
        for h in range(width):
            below_WT[h, b] = first_BH[b, h]
        b += 1


@njit(cache=True, nogil=True)
def _pair_by_pair(pull_WT, first_BH, pull_BH):
    """What lies unit by unit, a row for each pair; zeros where the first layer is."""
    zero = pull_BH.dtype.type(0)
    for b in range(pull_BH.shape[0]):
        pull_H = pull_BH[b]
        for h in range(pull_H.shape[0]):
            pull_H[h] = pull_WT[h, b]
    for b in range(pull_BH.shape[0]):  # in a loop of its own, where all units are compared at once
        first_H, pull_H = first_BH[b], pull_BH[b]
        for h in range(pull_H.shape[0]):
            pull_H[h] = pull_H[h] if first_H[h] > zero else zero


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def judge_listed_pairs(left_GC, left_B, right_RC, right_B, width_L, weight_N, bias_M, head_K, out_B, first_BH, hidden_MB):
    """Each pair's product and verdict; what the units of all layers gave is kept."""
    pairs, widest = len(out_B), width_L.max()
    for n in prange((pairs + BLOCK - 1) // BLOCK):
        below_WT, above_WT = np.zeros((widest, TILE), out_B.dtype), np.zeros((widest, TILE), out_B.dtype)
        for begin in range(n * BLOCK, min((n + 1) * BLOCK, pairs), TILE):
            end = min(begin + TILE, pairs)
            for b in range(begin, end):
                out_B[b] = _first_layer(left_GC[left_B[b]], right_RC[right_B[b]], first_BH[b])
            _unit_by_unit(first_BH[begin:end], below_WT)
            weights, biases = 0, 0
            for layer in range(1, len(width_L)):
                H, K = width_L[layer - 1], width_L[layer]
                weight_KH = weight_N[weights : weights + K * H].reshape(K, H)
                _layer(below_WT, weight_KH, bias_M[biases : biases + K], above_WT)
                for k in range(K):
                    hidden_MB[biases + k, begin:end] = above_WT[k, : end - begin]
                below_WT, above_WT = above_WT, below_WT
                weights += K * H
                biases += K
            out_T = out_B[begin:end]
            for k in range(len(head_K)):
                below_T = below_WT[k]
                for t in range(len(out_T)):
                    out_T[t] += head_K[k] * below_T[t]


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def pull_pairs(width_L, turned_N, head_K, grad_B, first_BH, hidden_MB, pull_BH, pull_MB):
    """From the gradient of each pair's verdict those of all units before their ReLU.

    Args:
        turned_N: the weights of each further layer, [units below, units].
    """
    zero, pairs, widest = grad_B.dtype.type(0), len(grad_B), width_L.max()
    for n in prange((pairs + BLOCK - 1) // BLOCK):
        below_WT, above_WT = np.zeros((widest, TILE), grad_B.dtype), np.zeros((widest, TILE), grad_B.dtype)
        for begin in range(n * BLOCK, min((n + 1) * BLOCK, pairs), TILE):
            grad_T = grad_B[begin : min(begin + TILE, pairs)]
            for k in range(len(head_K)):
                above_T = above_WT[k]
                for t in range(len(grad_T)):
                    above_T[t] = head_K[k] * grad_T[t]
            weights, units = len(turned_N), len(hidden_MB)
            for layer in range(len(width_L) - 1, 0, -1):
                H, K = width_L[layer - 1], width_L[layer]
                weights -= H * K
                units -= K
                for k in range(K):
                    above_T, hidden_T = above_WT[k], hidden_MB[units + k, begin : begin + len(grad_T)]
                    pull_T = pull_MB[units + k, begin : begin + len(grad_T)]
                    for t in range(len(pull_T)):
                        above_T[t] = above_T[t] if hidden_T[t] > zero else zero
                        pull_T[t] = above_T[t]
                below_WT[:H] = zero
                _add_products(above_WT, turned_N[weights : weights + H * K].reshape(H, K), below_WT)
                below_WT, above_WT = above_WT, below_WT
            end = begin + len(grad_T)
            _pair_by_pair(above_WT, first_BH[begin:end], pull_BH[begin:end])


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sum_of_pairs(start_G1, place_B, grad_B, other_RC, other_B, pull_BH, sum_GC):
    """The gradient of each row: of its products first, then of its halves."""
    zero, split = sum_GC.dtype.type(0), sum_GC.shape[1] - pull_BH.shape[1]
    for g in prange(sum_GC.shape[0]):
        sum_K, sum_H = sum_GC[g][:split], sum_GC[g][split:]
        sum_K[:] = zero
        sum_H[:] = zero
        for b in place_B[start_G1[g] : start_G1[g + 1]]:
            other_C, grad, pull_H = other_RC[other_B[b]], grad_B[b], pull_BH[b]
            for k in range(sum_K.shape[0]):
                sum_K[k] += grad * other_C[k]
            for h in range(sum_H.shape[0]):
                sum_H[h] += pull_H[h]
