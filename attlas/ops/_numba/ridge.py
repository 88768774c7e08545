"""CPU kernels of ``ops/ridge.py``: conjugate gradients and Cholesky, parallel over rows.

Entries and rows of the shared matrix are taken four at a time, so that what they are summed into is loaded once for four.
``fastmath`` lets sums be vectorised; each row is solved by one thread, so that the bits do not depend on their number.

What sums in an order of its choice is inlined, or may not choose: of a function that is called there are two copies, and the
process that compiles them runs another one than those that load them.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

BLOCK = 16  # rows that lie side by side, of which a thread takes turns: even where the long ones come first
TINY = 1e-20  # a squared residual below this is solved


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _add_shared(gram_DD, x_D, out_D):
    """out += gram x, for a symmetric gram."""
    dim = len(x_D)
    whole = dim - dim % 4
    for r in range(0, whole, 4):
        a, b, c, d = gram_DD[r], gram_DD[r + 1], gram_DD[r + 2], gram_DD[r + 3]
        on_a, on_b, on_c, on_d = x_D[r], x_D[r + 1], x_D[r + 2], x_D[r + 3]
        for k in range(dim):
            out_D[k] += on_a * a[k] + on_b * b[k] + on_c * c[k] + on_d * d[k]
    for r in range(whole, dim):
        a, on_a = gram_DD[r], x_D[r]
        for k in range(dim):
            out_D[k] += on_a * a[k]


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _add_own(table_ED, index_T, weight_T, target_T, scale, first, last, x_D, out_D):
    """out += sum over the row's entries of (weight (table . x) - scale target) table."""
    dim, zero = len(x_D), table_ED.dtype.type(0)
    whole = last - (last - first) % 4
    for t in range(first, whole, 4):
        a, b = table_ED[index_T[t]], table_ED[index_T[t + 1]]
        c, d = table_ED[index_T[t + 2]], table_ED[index_T[t + 3]]
        on_a, on_b, on_c, on_d = zero, zero, zero, zero
        for k in range(dim):
            on_a += a[k] * x_D[k]
            on_b += b[k] * x_D[k]
            on_c += c[k] * x_D[k]
            on_d += d[k] * x_D[k]
        on_a = weight_T[t] * on_a - scale * target_T[t]
        on_b = weight_T[t + 1] * on_b - scale * target_T[t + 1]
        on_c = weight_T[t + 2] * on_c - scale * target_T[t + 2]
        on_d = weight_T[t + 3] * on_d - scale * target_T[t + 3]
        for k in range(dim):
            out_D[k] += on_a * a[k] + on_b * b[k] + on_c * c[k] + on_d * d[k]
    for t in range(whole, last):
        a, on_a = table_ED[index_T[t]], zero
        for k in range(dim):
            on_a += a[k] * x_D[k]
        on_a = weight_T[t] * on_a - scale * target_T[t]
        for k in range(dim):
            out_D[k] += on_a * a[k]


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _apply(system, penalty, scale, first, last, x_D, out_D):
    """out = (gram + sum of weight table table' + penalty I) x - scale (sum of target table)."""
    table_ED, index_T, weight_T, target_T, gram_DD = system
    for k in range(len(x_D)):
        out_D[k] = penalty * x_D[k]
    _add_shared(gram_DD, x_D, out_D)
    _add_own(table_ED, index_T, weight_T, target_T, scale, first, last, x_D, out_D)


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _descend(system, penalty, first, last, steps, x_D, scratch_3D):
    """Conjugate gradients from x on, in place; their residual is the first of the scratch rows."""
    residual_D, direction_D, applied_D = scratch_3D[0], scratch_3D[1], scratch_3D[2]
    dim, zero, norm = len(x_D), x_D.dtype.type(0), x_D.dtype.type(0)
    for k in range(dim):
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


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _solve(system, penalty, first, last, steps, x_D, scratch_3D):
    """The same from the residual of x."""
    residual_D, applied_D = scratch_3D[0], scratch_3D[2]
    _apply(system, penalty, x_D.dtype.type(1), first, last, x_D, applied_D)
    for k in range(len(x_D)):
        residual_D[k] = -applied_D[k]
    _descend(system, penalty, first, last, steps, x_D, scratch_3D)


@njit(cache=True, parallel=True, nogil=True, fastmath=True, error_model="numpy")
def conjugate_gradients(table_ED, start, index_T, weight_T, target_T, gram_DD, penalty_G, threads, steps, x_GD):
    """x[g] moves ``steps`` steps towards row g's solution; threads take small blocks of rows in turn."""
    system = (table_ED, index_T, weight_T, target_T, gram_DD)
    for thread in prange(threads):
        scratch_3D = np.empty((3, x_GD.shape[1]), x_GD.dtype)
        for block in range(thread * BLOCK, len(x_GD), threads * BLOCK):
            for g in range(block, min(block + BLOCK, len(x_GD))):
                _solve(system, penalty_G[g], start[g], start[g + 1], steps, x_GD[g], scratch_3D)


@njit(cache=True, fastmath={"contract"}, error_model="numpy", forceinline=True)
def _add_normal(table_ED, index_T, weight_T, target_T, first, last, normal_DD, right_D):
    """normal += sum of weight table table', its upper triangle alone; right += sum of target table."""
    dim = len(right_D)
    whole = last - (last - first) % 4
    for t in range(first, whole, 4):
        of_a, of_b = table_ED[index_T[t]], table_ED[index_T[t + 1]]
        of_c, of_d = table_ED[index_T[t + 2]], table_ED[index_T[t + 3]]
        for r in range(dim):
            row, a, b, c, d = normal_DD[r, r:], of_a[r:], of_b[r:], of_c[r:], of_d[r:]
            on_a, on_b = weight_T[t] * of_a[r], weight_T[t + 1] * of_b[r]
            on_c, on_d = weight_T[t + 2] * of_c[r], weight_T[t + 3] * of_d[r]
            for k in range(len(row)):
                row[k] += on_a * a[k] + on_b * b[k] + on_c * c[k] + on_d * d[k]
    for t in range(whole, last):
        of_a = table_ED[index_T[t]]
        for r in range(dim):
            row, a, on_a = normal_DD[r, r:], of_a[r:], weight_T[t] * of_a[r]
            for k in range(len(row)):
                row[k] += on_a * a[k]
    for t in range(first, last):
        of_a, target = table_ED[index_T[t]], target_T[t]
        for k in range(dim):
            right_D[k] += target * of_a[k]


@njit(cache=True, fastmath={"contract"}, error_model="numpy", forceinline=True)
def _factorise(normal_DD):
    """The Cholesky factor in place of the upper triangle, four rows at a time; False where it is not positive definite.

    Parts of rows are taken as arrays of their own, whose indices cannot be negative: else no loop here would be vectorised.
    """
    dim = len(normal_DD)
    for first in range(0, dim, 4):
        last = min(first + 4, dim)
        for r in range(first, last):
            row = normal_DD[r, r:]
            for above in range(first, r):
                a, on_a = normal_DD[above, r:], normal_DD[above, r]
                for k in range(len(row)):
                    row[k] -= on_a * a[k]
            if not row[0] > 0:
                return False
            scale = 1 / np.sqrt(row[0])
            for k in range(len(row)):
                row[k] *= scale
        for r in range(last, dim):  # there are rows below whole fours only
            row, a, b = normal_DD[r, r:], normal_DD[first, r:], normal_DD[first + 1, r:]
            c, d = normal_DD[first + 2, r:], normal_DD[first + 3, r:]
            on_a, on_b, on_c, on_d = a[0], b[0], c[0], d[0]
            for k in range(len(row)):
                row[k] -= on_a * a[k] + on_b * b[k] + on_c * c[k] + on_d * d[k]
    return True


@njit(cache=True, fastmath={"contract"}, error_model="numpy", forceinline=True)
def _substitute(factor_DD, right_D):
    """The solution in place of the right side."""
    dim = len(right_D)
    for r in range(dim):
        row, left = factor_DD[r, r:], right_D[r:]
        left[0] /= row[0]
        done = left[0]
        for k in range(1, len(row)):
            left[k] -= done * row[k]
    for r in range(dim - 1, -1, -1):
        row, found = factor_DD[r, r:], right_D[r:]
        total = found[0]
        for k in range(1, len(row)):
            total -= row[k] * found[k]
        found[0] = total / row[0]


@njit(cache=True, parallel=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def cholesky(table_ED, start, index_T, weight_T, target_T, gram_DD, penalty_G, threads, x_GD):
    """x[g] becomes row g's solution; returns how many rows have none in floats."""
    failed = np.zeros(threads, np.int64)
    for thread in prange(threads):
        normal_DD = np.empty_like(gram_DD)
        for block in range(thread * BLOCK, len(x_GD), threads * BLOCK):
            for g in range(block, min(block + BLOCK, len(x_GD))):
                normal_DD[:] = gram_DD
                for k in range(len(gram_DD)):
                    normal_DD[k, k] += penalty_G[g]
                x_GD[g] = 0
                _add_normal(table_ED, index_T, weight_T, target_T, start[g], start[g + 1], normal_DD, x_GD[g])
                if _factorise(normal_DD):
                    _substitute(normal_DD, x_GD[g])
                else:
                    failed[thread] += 1
    return failed.sum()
