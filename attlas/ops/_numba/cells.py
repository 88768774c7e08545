"""CPU kernels of ``ops/cells.py`` and ``ops/targets.py``: parallel over targets, and so the same bits on every run.

x, the table of one target, has a row per place: exp(logit - shift) and the same times the value. Places are unsigned where they
are looked up by the million: numba then leaves out the question whether they count from the end.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

# A list whose sum is smaller lies so far below the target's largest logit that digits may be lost.
FARTHEST = math.exp(-40.0)


@njit(cache=True, nogil=True)
def _mark(askers, row_B, start_G1, index_T, is_wanted_E):
    count = 0
    for b in askers:
        for t in range(start_G1[row_B[b]], start_G1[row_B[b] + 1]):
            if not is_wanted_E[index_T[t]]:
                is_wanted_E[index_T[t]] = True
                count += 1
    return count


@njit(cache=True, parallel=True, nogil=True)
def count_cells(first_C1, order_B, row_B, start_G1, index_T, width_1, length_C):
    """How many places the lists of those who ask about each target name."""
    for c in prange(first_C1.shape[0] - 1):
        is_wanted_E = np.zeros(width_1[0], np.bool_)
        length_C[c] = _mark(order_B[first_C1[c] : first_C1[c + 1]], row_B, start_G1, index_T, is_wanted_E)


@njit(cache=True, parallel=True, nogil=True)
def list_cells(first_C1, order_B, row_B, start_G1, index_T, width_1, cell_start_C1, cell_index_N):
    """Those places, in order."""
    for c in prange(first_C1.shape[0] - 1):
        is_wanted_E = np.zeros(width_1[0], np.bool_)
        _mark(order_B[first_C1[c] : first_C1[c + 1]], row_B, start_G1, index_T, is_wanted_E)
        n = cell_start_C1[c]
        for e in range(width_1[0]):
            if is_wanted_E[e]:
                cell_index_N[n] = e
                n += 1


@njit(cache=True, nogil=True)
def _sum_entries(listed_X, x_E2):
    # Four sums of every kind run abreast, so that none waits for the addition before it.
    zero = x_E2.dtype.type(0)
    a, b, c, d = zero, zero, zero, zero
    p, q, r, s = zero, zero, zero, zero
    fours = listed_X.shape[0] // 4
    for t in range(fours):
        g, h, i, j = listed_X[4 * t], listed_X[4 * t + 1], listed_X[4 * t + 2], listed_X[4 * t + 3]
        a += x_E2[g, 0]
        p += x_E2[g, 1]
        b += x_E2[h, 0]
        q += x_E2[h, 1]
        c += x_E2[i, 0]
        r += x_E2[i, 1]
        d += x_E2[j, 0]
        s += x_E2[j, 1]
    for t in range(4 * fours, listed_X.shape[0]):
        a += x_E2[listed_X[t], 0]
        p += x_E2[listed_X[t], 1]
    return (a + b) + (c + d), (p + q) + (r + s)


@njit(cache=True, nogil=True)
def _own_sums(index_T, first, skipped, last, place_n, cell_index, logit_N, value_N):
    """The same with the list's own largest logit for a shift."""
    shift = -np.inf
    for t in range(first, last):
        if t != skipped:
            shift = max(shift, logit_N[place_n + np.searchsorted(cell_index, np.int64(index_T[t]))])
    total, weighted = logit_N.dtype.type(0), logit_N.dtype.type(0)
    for t in range(first, last):
        if t != skipped:
            n = place_n + np.searchsorted(cell_index, np.int64(index_T[t]))
            x = math.exp(logit_N[n] - shift)
            total += x
            weighted += x * value_N[n]
    return total, weighted, shift


@njit(cache=True, parallel=True, nogil=True)
def targeted_sums(
    first_C1, order_B, row_B, left_out_B, start_G1, index_T, cell_start_C1, cell_index_N, width_1,
    value_N, logit_N, weighted_B, total_B, shift_B,
):  # fmt: skip
    """Per asker, over the entries that are not left out: the sums of exp(logit - shift) * value and of exp, and the shift."""
    for c in prange(first_C1.shape[0] - 1):
        low, high = cell_start_C1[c], cell_start_C1[c + 1]
        shift = logit_N[low:high].max() if high > low else logit_N.dtype.type(0)
        x_E2 = np.empty((width_1[0], 2), logit_N.dtype)
        for n in range(low, high):
            x = math.exp(logit_N[n] - shift)
            x_E2[cell_index_N[n], 0] = x
            x_E2[cell_index_N[n], 1] = x * value_N[n]
        for b in order_B[first_C1[c] : first_C1[c + 1]]:
            first, last = start_G1[row_B[b]], start_G1[row_B[b] + 1]
            skipped = left_out_B[b]
            middle = skipped if skipped >= 0 else last
            total, weighted = _sum_entries(index_T[first:middle], x_E2)
            if middle < last:
                more_total, more_weighted = _sum_entries(index_T[middle + 1 : last], x_E2)
                total += more_total
                weighted += more_weighted
            shift_B[b] = shift
            if total < FARTHEST and last - first > (1 if skipped >= 0 else 0):
                total, weighted, own = _own_sums(index_T, first, skipped, last, low, cell_index_N[low:high], logit_N, value_N)
                shift_B[b] = own
            total_B[b] = total
            weighted_B[b] = weighted


@njit(cache=True, nogil=True)
def _spread(listed_X, weighted, total, grad_E2):
    for e in listed_X:
        grad_E2[e, 0] += weighted
        grad_E2[e, 1] += total


@njit(cache=True, parallel=True, nogil=True)
def targeted_sums_backward(
    first_C1, order_B, row_B, left_out_B, start_G1, index_T, cell_start_C1, cell_index_N, width_1,
    value_N, logit_N, shift_B, grad_weighted_B, grad_total_B, grad_value_N, grad_logit_N,
):  # fmt: skip
    """Back through ``targeted_sums``; the shift is a constant."""
    for c in prange(first_C1.shape[0] - 1):
        low, high = cell_start_C1[c], cell_start_C1[c + 1]
        shift = logit_N[low:high].max() if high > low else logit_N.dtype.type(0)
        grad_E2 = np.zeros((width_1[0], 2), logit_N.dtype)
        askers = order_B[first_C1[c] : first_C1[c + 1]]
        for b in askers:
            if shift_B[b] == shift:
                first, last = start_G1[row_B[b]], start_G1[row_B[b] + 1]
                middle = left_out_B[b] if left_out_B[b] >= 0 else last
                _spread(index_T[first:middle], grad_weighted_B[b], grad_total_B[b], grad_E2)
                _spread(index_T[middle + 1 : last], grad_weighted_B[b], grad_total_B[b], grad_E2)
        for n in range(low, high):
            x = math.exp(logit_N[n] - shift)
            weighted, total = grad_E2[cell_index_N[n], 0], grad_E2[cell_index_N[n], 1]
            grad_value_N[n] = x * weighted
            grad_logit_N[n] = x * (weighted * value_N[n] + total)
        for b in askers:
            if shift_B[b] != shift:
                for t in range(start_G1[row_B[b]], start_G1[row_B[b] + 1]):
                    if t != left_out_B[b]:
                        n = low + np.searchsorted(cell_index_N[low:high], np.int64(index_T[t]))
                        x = math.exp(logit_N[n] - shift_B[b])
                        grad_value_N[n] += x * grad_weighted_B[b]
                        grad_logit_N[n] += x * (grad_weighted_B[b] * value_N[n] + grad_total_B[b])


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def product_logits(hidden_RKA, bias_A, head_A, logit_KR):
    """head . ReLU(hidden + bias)."""
    for r in prange(hidden_RKA.shape[0]):
        for k in range(hidden_RKA.shape[1]):
            total = head_A.dtype.type(0)
            for a in range(hidden_RKA.shape[2]):
                total += head_A[a] * max(hidden_RKA[r, k, a] + bias_A[a], head_A.dtype.type(0))
            logit_KR[k, r] = total


@njit(cache=True, parallel=True, nogil=True)
def product_passed(hidden_RKA, bias_A, grad_KR, part_SA):
    """The gradient of each cell where its hidden unit is above zero, in the place of the units; and the sums of parts of it."""
    rows, parts = hidden_RKA.shape[0], part_SA.shape[0]
    zero = bias_A.dtype.type(0)
    for s in prange(parts):
        part_SA[s] = zero
        for r in range(s * rows // parts, (s + 1) * rows // parts):
            for k in range(hidden_RKA.shape[1]):
                grad = grad_KR[k, r]
                for a in range(hidden_RKA.shape[2]):
                    passed = grad if hidden_RKA[r, k, a] + bias_A[a] > zero else zero
                    hidden_RKA[r, k, a] = passed
                    part_SA[s, a] += passed


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def sum_logits(left_KA, right_RA, head_A, logit_KR):
    """head . ReLU(left + right)."""
    for r in prange(right_RA.shape[0]):
        for k in range(left_KA.shape[0]):
            total = head_A.dtype.type(0)
            for a in range(head_A.shape[0]):
                total += head_A[a] * max(left_KA[k, a] + right_RA[r, a], head_A.dtype.type(0))
            logit_KR[k, r] = total


@njit(cache=True, parallel=True, nogil=True)
def sum_passed(left_KA, right_RA, grad_KR, part_SKA, passed_RA):
    """The gradient of each cell where its hidden unit is above zero, summed over left rows and over parts of right ones."""
    rows, parts = right_RA.shape[0], part_SKA.shape[0]
    zero = left_KA.dtype.type(0)
    for s in prange(parts):
        part_SKA[s] = zero
        for r in range(s * rows // parts, (s + 1) * rows // parts):
            passed_RA[r] = zero
            for k in range(left_KA.shape[0]):
                grad = grad_KR[k, r]
                for a in range(left_KA.shape[1]):
                    passed = grad if left_KA[k, a] + right_RA[r, a] > zero else zero
                    passed_RA[r, a] += passed
                    part_SKA[s, k, a] += passed
