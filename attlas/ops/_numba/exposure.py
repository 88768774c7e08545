"""CPU kernels of ``ops/exposure.py``: parallel over rows, and so the same bits on every run."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from attlas.ops._numba.ridge import BLOCK, _add_normal, _add_own, _add_shared, _descend, _factorise, _substitute

LEAST = 1e-12  # a chance below this counts as this where its logarithm is taken


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def mix_products(product_RCD, own_RD, share_RC, mixed_RD, quadratic_RC):
    """mixed = sum over c of share[c] product[c]; quadratic[c] = own . product[c]."""
    for r in prange(own_RD.shape[0]):
        own_D, mixed_D = own_RD[r], mixed_RD[r]
        for k in range(len(mixed_D)):
            mixed_D[k] = 0.0
        for c in range(share_RC.shape[1]):
            product_D, share = product_RCD[r, c], share_RC[r, c]
            total = own_RD.dtype.type(0)
            for k in range(len(mixed_D)):
                total += own_D[k] * product_D[k]
                mixed_D[k] += share * product_D[k]
            quadratic_RC[r, c] = total


@njit(cache=True, fastmath=True, forceinline=True)
def _four_products(x_D, a, b, c, d):
    on_a, on_b, on_c, on_d = x_D.dtype.type(0), x_D.dtype.type(0), x_D.dtype.type(0), x_D.dtype.type(0)
    for k in range(len(x_D)):
        on_a += x_D[k] * a[k]
        on_b += x_D[k] * b[k]
        on_c += x_D[k] * c[k]
        on_d += x_D[k] * d[k]
    return on_a, on_b, on_c, on_d


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _of_listed(score, chance, cost):
    """What a listed cell costs besides what all cells do, but for the logarithm of its chance; and its two slopes."""
    floor, floor_weight, is_certain, surprise, toll = cost
    one, two = type(score)(1), type(score)(2)
    unseen = floor_weight * floor * floor
    if is_certain:
        free = chance * (score * score + toll) + (one - chance) * unseen
        on_score = -two * (one - score) - two * chance * score
        return (one - score) * (one - score) - free, on_score, unseen - surprise / chance - score * score - toll
    listed = floor_weight * (one - two * floor)
    return chance * (one - two * score) + (one - chance) * listed, -two * chance, one - two * score - listed


@njit(cache=True, parallel=True, nogil=True, fastmath=True, error_model="numpy")
def add_listed(own_GD, own_share_GC, other_ED, other_share_EC, start, index_T, cost, moves, grad_GD, grad_share_GC, total_G):
    """Adds what listed cells cost besides what all cells do, and its gradients; ``cost`` and ``moves`` as in ``ops``."""
    zero, least = own_GD.dtype.type(0), own_GD.dtype.type(LEAST)
    for g in prange(own_GD.shape[0]):
        own_D, share_C = own_GD[g], own_share_GC[g]
        total = 0.0
        # Four cells at a time: loops over few shares cost little more for four than for one. A row's last four may repeat
        # its last cell, which then counts for nothing.
        for t in range(start[g], start[g + 1], 4):
            left = start[g + 1] - t
            h, i = index_T[t], index_T[t + min(1, left - 1)]
            j, m = index_T[t + min(2, left - 1)], index_T[t + min(3, left - 1)]
            a, b, c, d = other_ED[h], other_ED[i], other_ED[j], other_ED[m]
            p, q, r, s = other_share_EC[h], other_share_EC[i], other_share_EC[j], other_share_EC[m]
            x_a, x_b, x_c, x_d = _four_products(own_D, a, b, c, d)
            w_a, w_b, w_c, w_d = _four_products(share_C, p, q, r, s)
            w_a, w_b, w_c, w_d = max(w_a, least), max(w_b, least), max(w_c, least), max(w_d, least)
            cost_a, x_a, y_a = _of_listed(x_a, w_a, cost)
            cost_b, x_b, y_b = _of_listed(x_b, w_b, cost)
            cost_c, x_c, y_c = _of_listed(x_c, w_c, cost)
            cost_d, x_d, y_d = _of_listed(x_d, w_d, cost)
            if left < 4:
                cost_d, x_d, y_d, w_d = zero, zero, zero, zero + 1
            if left < 3:
                cost_c, x_c, y_c, w_c = zero, zero, zero, zero + 1
            if left < 2:
                cost_b, x_b, y_b, w_b = zero, zero, zero, zero + 1
            total += cost_a + cost_b + cost_c + cost_d
            if cost[2]:
                total -= cost[3] * math.log(np.float64(w_a) * w_b * w_c * w_d)
            if moves[0]:
                grad_D = grad_GD[g]
                for k in range(len(grad_D)):
                    grad_D[k] += x_a * a[k] + x_b * b[k] + x_c * c[k] + x_d * d[k]
            if moves[1]:
                grad_C = grad_share_GC[g]
                for k in range(len(grad_C)):
                    grad_C[k] += y_a * p[k] + y_b * q[k] + y_c * r[k] + y_d * s[k]
        total_G[g] = total


@njit(cache=True, parallel=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def solve_exactly(table_ED, start, index_T, weight_T, target_T, weighs, gram_RDD, penalty_R, threads, x_RD):
    """x[r] becomes row r's solution by Cholesky, its own matrix overwritten; returns how many rows have none in floats."""
    failed = np.zeros(threads, np.int64)
    one = x_RD.dtype.type(1)
    for thread in prange(threads):
        nothing_D = np.zeros(x_RD.shape[1], x_RD.dtype)
        for block in range(thread * BLOCK, len(x_RD), threads * BLOCK):
            for r in range(block, min(block + BLOCK, len(x_RD))):
                normal_DD, x_D = gram_RDD[r], x_RD[r]
                for k in range(len(x_D)):
                    normal_DD[k, k] += penalty_R[r]
                    x_D[k] = 0
                if weighs:
                    _add_normal(table_ED, index_T, weight_T, target_T, start[r], start[r + 1], normal_DD, x_D)
                else:
                    _add_own(table_ED, index_T, target_T, target_T, -one, start[r], start[r + 1], nothing_D, x_D)
                if _factorise(normal_DD):
                    _substitute(normal_DD, x_D)
                else:
                    failed[thread] += 1
    return failed.sum()


@njit(cache=True, parallel=True, nogil=True, fastmath=True, error_model="numpy")
def solve_nearly(table_ED, start, index_T, weight_T, target_T, weighs, gram_RDD, penalty_R, threads, steps, x_RD):
    """x[r] moves ``steps`` steps of conjugate gradients towards row r's solution."""
    for thread in prange(threads):
        scratch_3D = np.empty((3, x_RD.shape[1]), x_RD.dtype)
        residual_D, direction_D, applied_D = scratch_3D[0], scratch_3D[1], scratch_3D[2]
        dim, zero, one = x_RD.shape[1], x_RD.dtype.type(0), x_RD.dtype.type(1)
        for block in range(thread * BLOCK, len(x_RD), threads * BLOCK):
            for r in range(block, min(block + BLOCK, len(x_RD))):
                x_D, gram_DD, penalty = x_RD[r], gram_RDD[r], penalty_R[r]
                first, last = start[r], start[r + 1]
                for k in range(dim):
                    applied_D[k] = penalty * x_D[k]
                    direction_D[k] = zero
                _add_shared(gram_DD, x_D, applied_D)
                if weighs:
                    _add_own(table_ED, index_T, weight_T, target_T, one, first, last, x_D, applied_D)
                else:
                    _add_own(table_ED, index_T, target_T, target_T, one, first, last, direction_D, applied_D)
                    last = first
                for k in range(dim):
                    residual_D[k] = -applied_D[k]
                system = (table_ED, index_T, weight_T, target_T, gram_DD)
                _descend(system, penalty, first, last, steps, x_D, scratch_3D)


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def responsibilities(own_GC, other_EC, start, index_T, sum_GC):
    """sum[g] = the sum over the entries of g of own * other / (own . other)."""
    for g in prange(own_GC.shape[0]):
        own_C, sum_C = own_GC[g], sum_GC[g]
        for c in range(len(own_C)):
            sum_C[c] = 0.0
        for t in range(start[g], start[g + 1]):
            other_C = other_EC[index_T[t]]
            chance = own_GC.dtype.type(0)
            for c in range(len(own_C)):
                chance += own_C[c] * other_C[c]
            for c in range(len(own_C)):
                sum_C[c] += own_C[c] * other_C[c] / chance
