"""CPU kernels of ``ops/gram.py``: parallel over rows of the result."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, parallel=True, nogil=True)
def cooccurrence(row_start, row_index, column_start, column_index, out_II):
    """out[i, j] = number of rows that list both i and j, for j >= i; rows are sorted."""
    for i in prange(column_start.shape[0] - 1):
        for p in range(column_start[i], column_start[i + 1]):
            row = column_index[p]
            first, last = row_start[row], row_start[row + 1]
            low = first + np.searchsorted(row_index[first:last], i)
            for t in range(low, last):
                out_II[i, row_index[t]] += 1.0


@njit(cache=True, parallel=True, nogil=True)
def mirror(out_II):
    """Copy the upper triangle onto the lower one, in blocks that fit the cache."""
    size, block = out_II.shape[0], 64
    for b in prange((size + block - 1) // block):
        for c in range(b + 1):
            for i in range(b * block, min(size, (b + 1) * block)):
                for j in range(c * block, min(i, (c + 1) * block)):
                    out_II[i, j] = out_II[j, i]


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def inner_products(left_GD, right_ED, start, index_T, out_T):
    """out[t] = left[owner of t] . right[index of t]."""
    for g in prange(start.shape[0] - 1):
        for t in range(start[g], start[g + 1]):
            total = left_GD.dtype.type(0)
            for k in range(left_GD.shape[1]):
                total += left_GD[g, k] * right_ED[index_T[t], k]
            out_T[t] = total


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def pair_products(left_GD, right_ED, left_B, right_B, out_B):
    """out[b] = left[left_B[b]] . right[right_B[b]]."""
    for b in prange(left_B.shape[0]):
        total = left_GD.dtype.type(0)
        for k in range(left_GD.shape[1]):
            total += left_GD[left_B[b], k] * right_ED[right_B[b], k]
        out_B[b] = total


@njit(cache=True, parallel=True, nogil=True)
def weighted_sums(first_G1, pair_B, weight_B, table_ED, place_B, out_GD):
    """out[g] = sum over the pairs b of g of weight[b] * table[place[b]]."""
    for g in prange(first_G1.shape[0] - 1):
        out_GD[g] = 0.0
        for p in range(first_G1[g], first_G1[g + 1]):
            weight, place = weight_B[pair_B[p]], place_B[pair_B[p]]
            for k in range(table_ED.shape[1]):
                out_GD[g, k] += weight * table_ED[place, k]
