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
        out_D = out_GD[g]
        for d in range(out_D.shape[0]):
            out_D[d] = 0.0
        p, last = first_G1[g], first_G1[g + 1]
        # Four pairs at a time: the sum so far is read and written once for all of them.
        while p + 4 <= last:
            h, i, j, k = pair_B[p], pair_B[p + 1], pair_B[p + 2], pair_B[p + 3]
            a, b, c, e = table_ED[place_B[h]], table_ED[place_B[i]], table_ED[place_B[j]], table_ED[place_B[k]]
            q, r, s, t = weight_B[h], weight_B[i], weight_B[j], weight_B[k]
            for d in range(out_D.shape[0]):
                out_D[d] += (q * a[d] + r * b[d]) + (s * c[d] + t * e[d])
            p += 4
        while p < last:
            a, q = table_ED[place_B[pair_B[p]]], weight_B[pair_B[p]]
            for d in range(out_D.shape[0]):
                out_D[d] += q * a[d]
            p += 1


@njit(cache=True, parallel=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sum_cells(start_G1, index_T, value_T, table_ED, out_GD):
    """out[g] += sum over the cells of g of value * the table's row at their place."""
    for g in prange(start_G1.shape[0] - 1):
        out_D = out_GD[g]
        t, last = start_G1[g], start_G1[g + 1]
        # Four cells at a time: the sum so far is read and written once for all of them.
        while t + 4 <= last:
            a, b, c, e = table_ED[index_T[t]], table_ED[index_T[t + 1]], table_ED[index_T[t + 2]], table_ED[index_T[t + 3]]
            p, q, r, s = value_T[t], value_T[t + 1], value_T[t + 2], value_T[t + 3]
            for d in range(out_D.shape[0]):
                out_D[d] += (p * a[d] + q * b[d]) + (r * c[d] + s * e[d])
            t += 4
        while t < last:
            a, p = table_ED[index_T[t]], value_T[t]
            for d in range(out_D.shape[0]):
                out_D[d] += p * a[d]
            t += 1


@njit(cache=True, parallel=True, nogil=True)
def residuals(start_G1, index_T, value_T, row_G, column_E, out_T):
    """out[t] = value[t] - row[owner of t] - column[index of t]."""
    for g in prange(start_G1.shape[0] - 1):
        for t in range(start_G1[g], start_G1[g + 1]):
            out_T[t] = value_T[t] - row_G[g] - column_E[index_T[t]]
