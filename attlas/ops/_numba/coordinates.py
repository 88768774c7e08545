"""CPU kernels of ``ops/coordinates.py``: one sweep over the coordinates of a row's ridge regression.

A row's entries are copied side by side, coordinate by coordinate, so that a coordinate is two passes over whole lines of the
cache: one that sums what its step is made of, and one that takes the step from what each entry lacks.

What sums in an order of its choice is inlined; see ``ridge.py``.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from attlas.ops._numba.ridge import BLOCK, _add_shared

LINE = 8  # a row's entries are filled up with zeros to so many: loops over what whole registers leave over are slow


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _lay_out(table_ED, index_T, weight_T, target_T, first, last, x_D, entry_DL, lack_L, weight_L):
    """Entries by coordinate, what each lacks, and their weights; returns how many these are with the zeros."""
    count, dim, zero = last - first, len(x_D), x_D.dtype.type(0)
    lines = (count + LINE - 1) // LINE * LINE
    for t in range(count):
        value_D, weight, score = table_ED[index_T[first + t]], weight_T[first + t], zero
        for k in range(dim):
            score += value_D[k] * x_D[k]
        for k in range(dim):
            entry_DL[k, t] = value_D[k]
        weight_L[t], lack_L[t] = weight, target_T[first + t] - weight * score
    for t in range(count, lines):
        weight_L[t] = lack_L[t] = zero
        for k in range(dim):
            entry_DL[k, t] = zero
    return lines


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _sweep(table_ED, index_T, weight_T, target_T, first, last, gram_DD, scale, penalty, x_D, scratch):
    """Every coordinate of x, in order, to where it solves its own line with the others held."""
    entry_DL, lack_L, weight_L, shared_D = scratch
    dim = len(x_D)
    lines = _lay_out(table_ED, index_T, weight_T, target_T, first, last, x_D, entry_DL, lack_L, weight_L)
    for k in range(dim):
        shared_D[k] = 0
    _add_shared(gram_DD, x_D, shared_D)
    for f in range(dim):
        value_L, gram_D = entry_DL[f], gram_DD[f]
        slope = -scale * shared_D[f] - penalty * x_D[f]
        curvature = scale * gram_D[f] + penalty
        for t in range(lines):
            slope += lack_L[t] * value_L[t]
            curvature += weight_L[t] * value_L[t] * value_L[t]
        step = slope / curvature
        x_D[f] += step
        for t in range(lines):
            lack_L[t] -= step * weight_L[t] * value_L[t]
        for k in range(dim):
            shared_D[k] += step * gram_D[k]


@njit(cache=True, nogil=True)
def _scratch(table_ED, longest):
    """What a thread works in; coordinates a power of two apart would push one another out of the cache."""
    dim, apart, kind = table_ED.shape[1], (longest // LINE + 1) * LINE, table_ED.dtype
    if apart % (16 * LINE) == 0:
        apart += LINE
    return np.empty((dim, apart), kind), np.empty(apart, kind), np.empty(apart, kind), np.empty(dim, kind)


@njit(cache=True, parallel=True, nogil=True, fastmath=True, error_model="numpy")
def sweep_rows(table_ED, start, index_T, weight_T, target_T, gram_DD, scale_G, penalty, longest, threads, x_GD):
    """Every row of x one sweep; threads take small blocks of rows in turn."""
    for thread in prange(threads):
        scratch = _scratch(table_ED, longest)
        for block in range(thread * BLOCK, len(x_GD), threads * BLOCK):
            for g in range(block, min(block + BLOCK, len(x_GD))):
                first, last, scale = start[g], start[g + 1], scale_G[g]
                _sweep(table_ED, index_T, weight_T, target_T, first, last, gram_DD, scale, penalty, x_GD[g], scratch)


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _replace(gram_DD, scale, old_D, new_D):
    """gram += scale (new new' - old old')."""
    for r in range(len(old_D)):
        row, on_new, on_old = gram_DD[r], scale * new_D[r], scale * old_D[r]
        for k in range(len(old_D)):
            row[k] += on_new * new_D[k] - on_old * old_D[k]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def sweep_pairs(
    left, right, left_gram_DD, right_gram_DD, scale_E, penalty, left_N, right_N, rounds, longest, left_GD, right_ED
):
    """Pair by pair the left row, then the right one, so many rounds; both Gram matrices follow."""
    start, index_T, weight_T, target_T = left
    right_start, right_index_T, right_weight_T, right_target_T = right
    scratch, old_D = _scratch(left_GD, longest), np.empty_like(left_GD[0])
    one = left_GD.dtype.type(1)
    for n in range(len(left_N)):
        g, e = left_N[n], right_N[n]
        for _ in range(rounds):
            x_D, first, last = left_GD[g], start[g], start[g + 1]
            old_D[:] = x_D
            _sweep(right_ED, index_T, weight_T, target_T, first, last, right_gram_DD, one, penalty, x_D, scratch)
            _replace(left_gram_DD, one, old_D, x_D)
            x_D, first, last, scale = right_ED[e], right_start[e], right_start[e + 1], scale_E[e]
            old_D[:] = x_D
            _sweep(
                left_GD, right_index_T, right_weight_T, right_target_T, first, last, left_gram_DD, scale, penalty, x_D, scratch
            )
            _replace(right_gram_DD, scale, old_D, x_D)
