"""CPU kernels of ``ops/ridge.py``: conjugate gradients, parallel over rows.

Entries and rows of the shared matrix are taken four at a time, so that what they are summed into is loaded once for four.
``fastmath`` lets sums be vectorised; each row is solved by one thread, so that the bits do not depend on their number.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

BLOCK = 16  # rows that lie side by side, of which a thread takes turns: even where the long ones come first
TINY = 1e-20  # a squared residual below this is solved


@njit(cache=True, fastmath=True, error_model="numpy")
def _add_shared(gram_DD, x_D, out_D):
    """out += gram x, for a symmetric gram."""
    dim = len(x_D)
    whole = dim - dim % 4
    for r in range(0, whole, 4):
        a, b, c, d = x_D[r], x_D[r + 1], x_D[r + 2], x_D[r + 3]
        for k in range(dim):
            out_D[k] += a * gram_DD[r, k] + b * gram_DD[r + 1, k] + c * gram_DD[r + 2, k] + d * gram_DD[r + 3, k]
    for r in range(whole, dim):
        for k in range(dim):
            out_D[k] += x_D[r] * gram_DD[r, k]


@njit(cache=True, fastmath=True, error_model="numpy")
def _add_own(table_ED, index_T, weight_T, target_T, scale, first, last, x_D, out_D):
    """out += sum over the row's entries of (weight (table . x) - scale target) table."""
    dim, zero = len(x_D), table_ED.dtype.type(0)
    whole = last - (last - first) % 4
    for t in range(first, whole, 4):
        a, b, c, d = index_T[t], index_T[t + 1], index_T[t + 2], index_T[t + 3]
        on_a, on_b, on_c, on_d = zero, zero, zero, zero
        for k in range(dim):
            on_a += table_ED[a, k] * x_D[k]
            on_b += table_ED[b, k] * x_D[k]
            on_c += table_ED[c, k] * x_D[k]
            on_d += table_ED[d, k] * x_D[k]
        on_a = weight_T[t] * on_a - scale * target_T[t]
        on_b = weight_T[t + 1] * on_b - scale * target_T[t + 1]
        on_c = weight_T[t + 2] * on_c - scale * target_T[t + 2]
        on_d = weight_T[t + 3] * on_d - scale * target_T[t + 3]
        for k in range(dim):
            out_D[k] += on_a * table_ED[a, k] + on_b * table_ED[b, k] + on_c * table_ED[c, k] + on_d * table_ED[d, k]
    for t in range(whole, last):
        a, on_a = index_T[t], zero
        for k in range(dim):
            on_a += table_ED[a, k] * x_D[k]
        on_a = weight_T[t] * on_a - scale * target_T[t]
        for k in range(dim):
            out_D[k] += on_a * table_ED[a, k]


@njit(cache=True, fastmath=True, error_model="numpy")
def _apply(system, penalty, scale, first, last, x_D, out_D):
    """out = (gram + sum of weight table table' + penalty I) x - scale (sum of target table)."""
    table_ED, index_T, weight_T, target_T, gram_DD = system
    for k in range(len(x_D)):
        out_D[k] = penalty * x_D[k]
    _add_shared(gram_DD, x_D, out_D)
    _add_own(table_ED, index_T, weight_T, target_T, scale, first, last, x_D, out_D)


@njit(cache=True, fastmath=True, error_model="numpy")
def _solve(system, penalty, first, last, steps, x_D, scratch_3D):
    """Conjugate gradients from x on, in place."""
    residual_D, direction_D, applied_D = scratch_3D[0], scratch_3D[1], scratch_3D[2]
    dim, zero, one = len(x_D), x_D.dtype.type(0), x_D.dtype.type(1)
    _apply(system, penalty, one, first, last, x_D, applied_D)
    norm = zero
    for k in range(dim):
        residual_D[k] = -applied_D[k]
        direction_D[k] = residual_D[k]
        norm += residual_D[k] * residual_D[k]
    for _ in range(steps):
        if norm < TINY:
            break
        _apply(system, penalty, zero, first, last, direction_D, applied_D)
        curvature, next_norm = zero, zero
        for k in range(dim):
            curvature += direction_D[k] * applied_D[k]
        step = norm / curvature
        for k in range(dim):
            x_D[k] += step * direction_D[k]
            residual_D[k] -= step * applied_D[k]
            next_norm += residual_D[k] * residual_D[k]
        for k in range(dim):
            direction_D[k] = residual_D[k] + next_norm / norm * direction_D[k]
        norm = next_norm


@njit(cache=True, parallel=True, nogil=True, fastmath=True, error_model="numpy")
def conjugate_gradients(table_ED, start, index_T, weight_T, target_T, gram_DD, penalty_G, threads, steps, x_GD):
    """x[g] moves ``steps`` steps towards row g's solution; threads take small blocks of rows in turn."""
    system = (table_ED, index_T, weight_T, target_T, gram_DD)
    for thread in prange(threads):
        scratch_3D = np.empty((3, x_GD.shape[1]), x_GD.dtype)
        for block in range(thread * BLOCK, len(x_GD), threads * BLOCK):
            for g in range(block, min(block + BLOCK, len(x_GD))):
                _solve(system, penalty_G[g], start[g], start[g + 1], steps, x_GD[g], scratch_3D)
