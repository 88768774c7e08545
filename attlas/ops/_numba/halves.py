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


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def products_and_relu_of_halves(left_GC, left_B, right_HC, right_B, product_B, out_BH):
    """product[b] = the inner product of the first columns, out[b] = max(sum of the others, 0)."""
    zero, split = out_BH.dtype.type(0), left_GC.shape[1] - out_BH.shape[1]
    for b in prange(out_BH.shape[0]):
        left_C, right_C, out_H = left_GC[left_B[b]], right_HC[right_B[b]], out_BH[b]
        product_B[b] = _inner(left_C[:split], right_C[:split])
        left_H, right_H = left_C[split:], right_C[split:]
        for h in range(out_H.shape[0]):
            out_H[h] = max(left_H[h] + right_H[h], zero)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _inner(one_K, other_K):
    # Four sums beside each other, since each waits for its last addition.
    a = b = c = d = one_K.dtype.type(0)
    k = 0
    while k + 4 <= one_K.shape[0]:
        a += one_K[k] * other_K[k]
        b += one_K[k + 1] * other_K[k + 1]
        c += one_K[k + 2] * other_K[k + 2]
        d += one_K[k + 3] * other_K[k + 3]
        k += 4
    while k < one_K.shape[0]:
        a += one_K[k] * other_K[k]
        k += 1
    return (a + b) + (c + d)


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sum_both(start_G1, place_B, grad_B, other_HC, other_B, grad_BH, out_BH, sum_GC):
    """The gradient of each row: of its products first, then of its halves where what came out is positive."""
    zero, split = sum_GC.dtype.type(0), sum_GC.shape[1] - out_BH.shape[1]
    for g in prange(sum_GC.shape[0]):
        sum_K, sum_H = sum_GC[g][:split], sum_GC[g][split:]
        sum_K[:] = zero
        sum_H[:] = zero
        for b in place_B[start_G1[g] : start_G1[g + 1]]:
            other_C, grad, grad_H, out_H = other_HC[other_B[b]], grad_B[b], grad_BH[b], out_BH[b]
            for k in range(sum_K.shape[0]):
                sum_K[k] += grad * other_C[k]
            for h in range(sum_H.shape[0]):
                sum_H[h] += grad_H[h] if out_H[h] > zero else zero


@njit(cache=True, nogil=True)
def distinct(asker_B, is_apart_B, first_G, first_D, row_B):
    """Fill in who is first of each kind, and the kind of each; how many kinds there are. ``first_G`` comes filled with -1."""
    for b in range(len(asker_B)):
        if not is_apart_B[b] and first_G[asker_B[b]] < 0:
            first_G[asker_B[b]] = b
    kinds = 0
    for g in range(len(first_G)):
        if first_G[g] >= 0:
            first_D[kinds] = first_G[g]
            first_G[g] = kinds
            kinds += 1
    for b in range(len(asker_B)):
        if is_apart_B[b]:
            first_D[kinds] = b
            row_B[b] = kinds
            kinds += 1
        else:
            row_B[b] = first_G[asker_B[b]]
    return kinds
