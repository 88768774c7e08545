"""CPU kernels of ``ops/halves.py``: parallel over rows, and so the same bits on every run."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def group(row_B, count):
    """The places in ``row_B`` of each row, one row after the other: where each begins [count + 1], and the places [B]."""
    start_G1 = np.zeros(count + 1, np.int64)
    for b in range(row_B.shape[0]):
        start_G1[row_B[b] + 1] += 1
    for g in range(count):
        start_G1[g + 1] += start_G1[g]
    fill_G = start_G1[:-1].copy()
    place_B = np.empty(row_B.shape[0], np.int64)
    for b in range(row_B.shape[0]):
        place_B[fill_G[row_B[b]]] = b
        fill_G[row_B[b]] += 1
    return start_G1, place_B


@njit(cache=True, parallel=True, nogil=True)
def relu_of_halves(left_GC, left_B, right_HC, right_B, out_BC):
    """out[b] = max(left[left_b] + right[right_b], 0)."""
    zero = out_BC.dtype.type(0)
    for b in prange(out_BC.shape[0]):
        left_C, right_C, out_C = left_GC[left_B[b]], right_HC[right_B[b]], out_BC[b]
        for c in range(len(out_C)):
            out_C[c] = max(left_C[c] + right_C[c], zero)


@njit(cache=True, parallel=True, nogil=True)
def sum_where_positive(start_G1, place_B, grad_BC, out_BC, sum_GC):
    """sum[g] = sum of the gradients at the row's places where what came out is positive."""
    zero = grad_BC.dtype.type(0)
    for g in prange(len(sum_GC)):
        sum_C = sum_GC[g]
        for c in range(len(sum_C)):
            sum_C[c] = zero
        for b in place_B[start_G1[g] : start_G1[g + 1]]:
            grad_C, out_C = grad_BC[b], out_BC[b]
            for c in range(len(sum_C)):
                sum_C[c] += grad_C[c] if out_C[c] > zero else zero
