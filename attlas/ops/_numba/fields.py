"""CPU kernels of ``ops/fields.py``: parallel over rows, over pairs of fields, or over blocks of columns where rows collide.

A thread that scatters has some columns of the table to itself and takes the rows in their order, so that threads need no
locks and every run gives the same bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

CHUNK = 32  # rows that share the memory of a sum
MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, parallel=True, nogil=True)
def field_sum(table_EK, index_BF, out_BK):
    """out[b] = sum of the rows that b names."""
    for b in prange(index_BF.shape[0]):
        out_K = out_BK[b]
        first_K = table_EK[index_BF[b, 0]]
        for k in range(out_K.shape[0]):
            out_K[k] = first_K[k]
        for f in range(1, index_BF.shape[1]):
            row_K = table_EK[index_BF[b, f]]
            for k in range(out_K.shape[0]):
                out_K[k] += row_K[k]


@njit(cache=True, parallel=True, nogil=True)
def spread(index_BF, grad_BK, out_EK, columns):
    """out[e] += grad[b] for every b that names e."""
    width = out_EK.shape[1]
    for block in prange((width + columns - 1) // columns):
        low, high = block * columns, min(width, block * columns + columns)
        for b in range(index_BF.shape[0]):
            grad_K = grad_BK[b, low:high]
            for f in range(index_BF.shape[1]):
                out_K = out_EK[index_BF[b, f], low:high]
                for k in range(out_K.shape[0]):
                    out_K[k] += grad_K[k]


@njit(cache=True, parallel=True, nogil=True)
def pair_sum(table_ED, index_BF, sum_BD, out_BD):
    """sum[b] = sum of b's rows; out[b] = sum over its pairs of their products, each row times the sum of those before it."""
    for b in prange(index_BF.shape[0]):
        sum_D, out_D = sum_BD[b], out_BD[b]
        first_D = table_ED[index_BF[b, 0]]
        for d in range(out_D.shape[0]):
            sum_D[d] = first_D[d]
            out_D[d] = 0.0
        for f in range(1, index_BF.shape[1]):
            row_D = table_ED[index_BF[b, f]]
            for d in range(out_D.shape[0]):
                out_D[d] += row_D[d] * sum_D[d]
                sum_D[d] += row_D[d]


@njit(cache=True, parallel=True, nogil=True)
def pair_sum_backward(table_ED, index_BF, sum_BD, grad_BD, out_ED, columns):
    """out[e] += grad[b] * (sum of b's other rows) for every b that names e."""
    width = out_ED.shape[1]
    for block in prange((width + columns - 1) // columns):
        low, high = block * columns, min(width, block * columns + columns)
        for b in range(index_BF.shape[0]):
            grad_D, sum_D = grad_BD[b, low:high], sum_BD[b, low:high]
            for f in range(index_BF.shape[1]):
                row_D, out_D = table_ED[index_BF[b, f], low:high], out_ED[index_BF[b, f], low:high]
                for d in range(out_D.shape[0]):
                    out_D[d] += grad_D[d] * (sum_D[d] - row_D[d])


@njit(cache=True, parallel=True, nogil=True)
def find_equal(index_BF, left_P, right_P, place_BP, first_PB, count_P):
    """Number the distinct pairs of each pair of fields from 0: each b's number, and for each number its first b."""
    rows = index_BF.shape[0]
    size = 2
    while size < 2 * rows:
        size *= 2
    mask = np.uint64(size - 1)
    for p in prange(left_P.shape[0]):
        slot_M = np.full(size, -1, np.int64)
        f, g, count = left_P[p], right_P[p], 0
        for b in range(rows):
            one, other = index_BF[b, f], index_BF[b, g]
            mixed = (np.uint64(one) * MIX + np.uint64(other)) * MIX
            at = (mixed >> np.uint64(32)) & mask
            while True:
                number = slot_M[at]
                if number < 0:
                    slot_M[at] = count
                    first_PB[p, count] = b
                    place_BP[b, p] = count
                    count += 1
                    break
                first = first_PB[p, number]
                if index_BF[first, f] == one and index_BF[first, g] == other:
                    place_BP[b, p] = number
                    break
                at = (at + np.uint64(1)) & mask
        count_P[p] = count


@njit(cache=True, parallel=True, nogil=True)
def list_distinct(index_BF, left_P, right_P, first_PB, start_P1, place_BP, one_N, other_N):
    """The rows of each distinct pair, one pair of fields after the other, and every b's places among all of them."""
    for p in prange(left_P.shape[0]):
        start = start_P1[p]
        for n in range(start_P1[p + 1] - start):
            b = first_PB[p, n]
            one_N[start + n] = index_BF[b, left_P[p]]
            other_N[start + n] = index_BF[b, right_P[p]]
        for b in range(index_BF.shape[0]):
            place_BP[b, p] += start


@njit(cache=True, parallel=True, nogil=True)
def multiply_rows(table_ED, one_N, other_N, out_ND):
    """out[n] = table[one] * table[other]."""
    for n in prange(one_N.shape[0]):
        one_D, other_D, out_D = table_ED[one_N[n]], table_ED[other_N[n]], out_ND[n]
        for d in range(out_D.shape[0]):
            out_D[d] = one_D[d] * other_D[d]


@njit(cache=True, parallel=True, nogil=True)
def multiply_rows_backward(table_ED, one_N, other_N, grad_ND, out_ED, columns):
    """Each row's share of a gradient of products, added to what is there."""
    width = out_ED.shape[1]
    for block in prange((width + columns - 1) // columns):
        low, high = block * columns, min(width, block * columns + columns)
        for n in range(one_N.shape[0]):
            one, other, grad_D = one_N[n], other_N[n], grad_ND[n, low:high]
            one_D, other_D = table_ED[one, low:high], table_ED[other, low:high]
            out_one_D, out_other_D = out_ED[one, low:high], out_ED[other, low:high]
            for d in range(grad_D.shape[0]):
                out_one_D[d] += grad_D[d] * other_D[d]
            for d in range(grad_D.shape[0]):
                out_other_D[d] += grad_D[d] * one_D[d]


@njit(cache=True, parallel=True, nogil=True)
def weighted_pair_sum(table_ED, index_BF, weight_BP, out_BD):
    """out[b] = sum over b's pairs of weight * product."""
    rows, fields, width = index_BF.shape[0], index_BF.shape[1], out_BD.shape[1]
    for chunk in prange((rows + CHUNK - 1) // CHUNK):
        sum_D = np.empty(width, out_BD.dtype)
        for b in range(chunk * CHUNK, min(rows, chunk * CHUNK + CHUNK)):
            out_D = out_BD[b]
            out_D[:] = 0.0
            for f in range(fields - 1):
                sum_D[:] = 0.0
                p = f * fields - f * (f + 1) // 2
                for g in range(f + 1, fields):
                    weight, row_D = weight_BP[b, p + g - f - 1], table_ED[index_BF[b, g]]
                    for d in range(width):
                        sum_D[d] += weight * row_D[d]
                row_D = table_ED[index_BF[b, f]]
                for d in range(width):
                    out_D[d] += row_D[d] * sum_D[d]


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def weighted_pair_sum_backward_weights(table_ED, index_BF, grad_BD, out_BP):
    """out[b, p] = grad[b] . product of the pair."""
    rows, fields, width = index_BF.shape[0], index_BF.shape[1], grad_BD.shape[1]
    for chunk in prange((rows + CHUNK - 1) // CHUNK):
        scaled_D = np.empty(width, grad_BD.dtype)
        for b in range(chunk * CHUNK, min(rows, chunk * CHUNK + CHUNK)):
            grad_D, p = grad_BD[b], 0
            for f in range(fields - 1):
                row_D = table_ED[index_BF[b, f]]
                for d in range(width):
                    scaled_D[d] = row_D[d] * grad_D[d]
                for g in range(f + 1, fields):
                    other_D = table_ED[index_BF[b, g]]
                    total = grad_BD.dtype.type(0)
                    for d in range(width):
                        total += scaled_D[d] * other_D[d]
                    out_BP[b, p] = total
                    p += 1


@njit(cache=True, parallel=True, nogil=True)
def weighted_pair_sum_backward_rows(table_ED, index_BF, weight_BP, grad_BD, out_ED, columns):
    """out[e] += grad[b] * weighted sum of b's other rows for every b that names e."""
    fields, width = index_BF.shape[1], out_ED.shape[1]
    for block in prange((width + columns - 1) // columns):
        low, high = block * columns, min(width, block * columns + columns)
        sum_D = np.empty(high - low, grad_BD.dtype)
        for b in range(index_BF.shape[0]):
            grad_D = grad_BD[b, low:high]
            for f in range(fields):
                sum_D[:] = 0.0
                for g in range(fields):
                    if g != f:
                        i, j = min(f, g), max(f, g)
                        weight = weight_BP[b, i * fields - i * (i + 1) // 2 + j - i - 1]
                        row_D = table_ED[index_BF[b, g], low:high]
                        for d in range(sum_D.shape[0]):
                            sum_D[d] += weight * row_D[d]
                out_D = out_ED[index_BF[b, f], low:high]
                for d in range(sum_D.shape[0]):
                    out_D[d] += grad_D[d] * sum_D[d]


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def judge(joined_NT, bias_A, head_A, logit_N, score_N):
    """logit[n] = head . relu(first columns + bias), score[n] = the last column."""
    hidden = bias_A.shape[0]
    for n in prange(joined_NT.shape[0]):
        joined_T, total = joined_NT[n], joined_NT.dtype.type(0)
        for a in range(hidden):
            total += head_A[a] * max(joined_T[a] + bias_A[a], joined_NT.dtype.type(0))
        logit_N[n] = total
        score_N[n] = joined_T[hidden]


@njit(cache=True, parallel=True, nogil=True)
def judge_backward(joined_NT, bias_A, head_A, grad_logit_N, grad_score_N, grad_bias_CA, grad_head_CA):
    """The gradient of what was joined, in its place; each chunk's share of those of bias and head."""
    hidden, zero = bias_A.shape[0], joined_NT.dtype.type(0)
    chunks = grad_bias_CA.shape[0]
    rows = (joined_NT.shape[0] + chunks - 1) // chunks
    for chunk in prange(chunks):
        bias_sum_A, head_sum_A = grad_bias_CA[chunk], grad_head_CA[chunk]
        for n in range(chunk * rows, min(joined_NT.shape[0], chunk * rows + rows)):
            joined_T, grad = joined_NT[n], grad_logit_N[n]
            for a in range(hidden):
                before = joined_T[a] + bias_A[a]
                into = grad * head_A[a] if before > zero else zero
                head_sum_A[a] += grad * max(before, zero)
                bias_sum_A[a] += into
                joined_T[a] = into
            joined_T[hidden] = grad_score_N[n]
