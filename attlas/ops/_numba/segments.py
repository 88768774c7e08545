"""CPU kernels of ``ops/segments.py``: parallel over rows, and so the same bits on every run."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def transpose(start_G1, index_T, width):
    """Group the entries by the place they point to, in the order of their rows; a counting sort."""
    first_E1 = np.zeros(width + 1, np.int64)
    for t in range(index_T.shape[0]):
        first_E1[index_T[t] + 1] += 1
    for e in range(width):
        first_E1[e + 1] += first_E1[e]
    fill_E = first_E1[:-1].copy()
    row_T = np.empty(index_T.shape[0], np.int64)
    entry_T = np.empty(index_T.shape[0], np.int64)
    for g in range(start_G1.shape[0] - 1):
        for t in range(start_G1[g], start_G1[g + 1]):
            place = fill_E[index_T[t]]
            fill_E[index_T[t]] += 1
            row_T[place] = g
            entry_T[place] = t
    return first_E1, row_T, entry_T


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_row(index_T, first, last, table_ED, out_D):
    # Eight entries at a time: the sum so far is read and written once for all of them.
    for d in range(out_D.shape[0]):
        out_D[d] = 0.0
    t = first
    while t + 8 <= last:
        a, b, c, e = table_ED[index_T[t]], table_ED[index_T[t + 1]], table_ED[index_T[t + 2]], table_ED[index_T[t + 3]]
        p, q, r, s = table_ED[index_T[t + 4]], table_ED[index_T[t + 5]], table_ED[index_T[t + 6]], table_ED[index_T[t + 7]]
        for d in range(out_D.shape[0]):
            out_D[d] += ((a[d] + b[d]) + (c[d] + e[d])) + ((p[d] + q[d]) + (r[d] + s[d]))
        t += 8
    while t < last:
        a = table_ED[index_T[t]]
        for d in range(out_D.shape[0]):
            out_D[d] += a[d]
        t += 1


@njit(cache=True, parallel=True, nogil=True)
def sum_rows(start_G1, index_T, table_ED, out_GD):
    """out[g] = sum of the table's rows that g lists."""
    for g in prange(start_G1.shape[0] - 1):
        _sum_row(index_T, start_G1[g], start_G1[g + 1], table_ED, out_GD[g])


@njit(cache=True, parallel=True, nogil=True)
def take_out(sum_GD, row_B, table_ED, place_B, out_BD):
    """out[b] = the sum of its row less the place that b leaves out, if any."""
    for b in prange(out_BD.shape[0]):
        sum_D, out_D = sum_GD[row_B[b]], out_BD[b]
        if place_B[b] < 0:
            out_D[:] = sum_D
        else:
            entry_D = table_ED[place_B[b]]
            for d in range(out_D.shape[0]):
                out_D[d] = sum_D[d] - entry_D[d]


@njit(cache=True, parallel=True, nogil=True)
def sum_asked_rows(start_G1, index_T, is_asked_G, table_ED, out_GD):
    """``sum_rows`` of the asked rows; zeros for the others."""
    for g in prange(start_G1.shape[0] - 1):
        last = start_G1[g + 1] if is_asked_G[g] else start_G1[g]
        _sum_row(index_T, start_G1[g], last, table_ED, out_GD[g])


@njit(cache=True, parallel=True, nogil=True)
def only_asked(first_E1, row_T, is_asked_G, last_E, asked_T):
    """Of the rows that list each place, the asked ones, from first[e] to last[e] in ``asked``."""
    for e in prange(first_E1.shape[0] - 1):
        last = first_E1[e]
        for row in row_T[first_E1[e] : first_E1[e + 1]]:
            asked_T[last] = row
            last += np.int64(is_asked_G[row])
        last_E[e] = last


@njit(cache=True, parallel=True, nogil=True)
def row_tops(start_G1, index_T, is_asked_G, logit_E, exp_E, shift_G, total_G, top_G):
    """Per asked row: the largest logit, the entry that has it, and the sum of exp; the others are as if empty."""
    for g in prange(start_G1.shape[0] - 1):
        last = start_G1[g + 1] if is_asked_G[g] else start_G1[g]
        shift, top = -np.inf, -1
        total = exp_E.dtype.type(0.0)
        for t in range(start_G1[g], last):
            e = index_T[t]
            total += exp_E[e]
            if logit_E[e] > shift:
                shift = logit_E[e]
                top = t
        top_G[g] = top
        total_G[g] = total
        shift_G[g] = shift if top >= 0 else 0.0


@njit(cache=True, parallel=True, nogil=True)
def softmax_sums(start_G1, index_T, value_ED, logit_E, shift_G, exp_T, total_G, sum_GD):
    """Per row: exp(logit - shift) of each entry, and the sums of exp and of exp * value."""
    for g in prange(start_G1.shape[0] - 1):
        total_G[g] = 0.0
        for d in range(value_ED.shape[1]):
            sum_GD[g, d] = 0.0
        for t in range(start_G1[g], start_G1[g + 1]):
            e = index_T[t]
            exp_T[t] = math.exp(logit_E[e] - shift_G[g])
            total_G[g] += exp_T[t]
            for d in range(value_ED.shape[1]):
                sum_GD[g, d] += exp_T[t] * value_ED[e, d]


@njit(cache=True, parallel=True, nogil=True)
def softmax_sums_backward(first_E1, row_T, entry_T, exp_T, grad_total_G, grad_sum_GD, from_total_E, grad_value_ED):
    """Back through ``softmax_sums``, parallel over the places of the table; the shift is a constant."""
    for e in prange(first_E1.shape[0] - 1):
        from_total_E[e] = 0.0
        for d in range(grad_value_ED.shape[1]):
            grad_value_ED[e, d] = 0.0
        for p in range(first_E1[e], first_E1[e + 1]):
            g = row_T[p]
            weight = exp_T[entry_T[p]]
            from_total_E[e] += weight * grad_total_G[g]
            for d in range(grad_value_ED.shape[1]):
                grad_value_ED[e, d] += weight * grad_sum_GD[g, d]


@njit(cache=True, parallel=True, nogil=True)
def sum_rows_and_scalars(first_G, last_G, index_T, table_ED, scalar_E, out_GD, scalar_out_G):
    """As ``sum_rows``, with one more column that stands in an array of its own."""
    for g in prange(first_G.shape[0]):
        total = scalar_E.dtype.type(0.0)
        for t in range(first_G[g], last_G[g]):
            total += scalar_E[index_T[t]]
        scalar_out_G[g] = total
        _sum_row(index_T, first_G[g], last_G[g], table_ED, out_GD[g])


@njit(cache=True, parallel=True, nogil=True)
def find_in_rows(start_G1, index_T, row_B, wanted_B, place_B):
    """The place in T where row_B lists wanted_B, or -1; rows are sorted."""
    for b in prange(row_B.shape[0]):
        low, high = start_G1[row_B[b]], start_G1[row_B[b] + 1]
        last = high
        while low < high:
            middle = (low + high) // 2
            if index_T[middle] < wanted_B[b]:
                low = middle + 1
            else:
                high = middle
        place_B[b] = low if low < last and index_T[low] == wanted_B[b] else -1


@njit(cache=True, parallel=True, nogil=True)
def nth_missing(start_G1, index_T, row_B, rank_B, out_B):
    """The rank-th column (from 0) that a sorted row does not list."""
    for b in prange(row_B.shape[0]):
        first = start_G1[row_B[b]]
        low, high = 0, start_G1[row_B[b] + 1] - first
        while low < high:
            middle = (low + high) // 2
            if index_T[first + middle] - middle <= rank_B[b]:
                low = middle + 1
            else:
                high = middle
        out_B[b] = rank_B[b] + low
