"""CPU kernels of ``ops/neighbours.py``: parallel over rows of the result, and so the same bits on every run."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from attlas.ops._numba.topk import _top_of_row


@njit(cache=True, parallel=True, nogil=True)
def nearest_columns(
    row_start, row_index, column_start, column_index, row_weight_U, scale_I, kind, target_power, shrink, index_Ik, best_Ik
):
    """Per column the most similar others; kind 0 is the cosine, 1 is Jaccard's."""
    num_columns = column_start.shape[0] - 1
    square_I = np.zeros(num_columns)
    for i in prange(num_columns):
        for p in range(column_start[i], column_start[i + 1]):
            square_I[i] += row_weight_U[column_index[p]] ** 2
        square_I[i] *= scale_I[i] ** 2
    own_I = square_I**target_power
    other_I = square_I ** (1.0 - target_power)
    for i in prange(num_columns):
        score_I = np.zeros(num_columns)
        for p in range(column_start[i], column_start[i + 1]):
            row = column_index[p]
            weight = row_weight_U[row] ** 2
            for t in range(row_start[row], row_start[row + 1]):
                score_I[row_index[t]] += weight
        for j in range(num_columns):
            if score_I[j] > 0:
                dot = score_I[j] * scale_I[i] * scale_I[j]
                size = own_I[i] * other_I[j] if kind == 0 else square_I[i] + square_I[j] - dot
                score_I[j] = dot / (size + shrink)
        _top_of_row(score_I, np.full(1, i), np.uint64(0), index_Ik[i], best_Ik[i])


@njit(cache=True, parallel=True, nogil=True)
def sum_neighbours(list_start, list_index, neighbour_start, neighbour_index, weight_T, out_GI):
    """out[g, i] = sum of the weights with which the entries of list g name i."""
    for g in prange(list_start.shape[0] - 1):
        for t in range(list_start[g], list_start[g + 1]):
            entry = list_index[t]
            for p in range(neighbour_start[entry], neighbour_start[entry + 1]):
                out_GI[g, neighbour_index[p]] += weight_T[p]


@njit(cache=True, parallel=True, nogil=True)
def cosines_before(column_start, column_index, num_rows, listed_Gk, out_Gk):
    """out[g, p] = the sum of cosines of the p-th column of list g with those before it."""
    size = max(1, len(listed_Gk) // 256)
    for block in prange((len(listed_Gk) + size - 1) // size):
        # The sum of the columns so far, each at length 1: one product with it is the sum of all cosines.
        sum_U = np.zeros(num_rows)
        for g in range(block * size, min((block + 1) * size, len(listed_Gk))):
            for p, column in enumerate(listed_Gk[g]):
                if column >= 0 and column_start[column + 1] > column_start[column]:
                    out_Gk[g, p] = _add(column_index[column_start[column] : column_start[column + 1]], sum_U)
            for column in listed_Gk[g]:
                if column >= 0:
                    sum_U[column_index[column_start[column] : column_start[column + 1]]] = 0.0


@njit(cache=True, nogil=True)
def _add(rows, sum_U):
    """Add a column, at length 1, to the sum, and give its product with what the sum was before."""
    weight, total = 1.0 / np.sqrt(len(rows)), 0.0
    for row in rows:
        total += sum_U[row]
        sum_U[row] += weight
    return total * weight
