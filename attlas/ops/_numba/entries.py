"""CPU kernels of ``ops/entries.py``: parallel over rows, and so the same bits on every run."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange


@njit(cache=True, parallel=True, nogil=True)
def sums_below_the_top(start_G1, index_T, value_ED, logit_T, top_G, shift_G, exp_T, total_G, sum_GD):
    """Per row: which entry has the largest logit, the largest of the others, and their exp with its sums."""
    for g in prange(start_G1.shape[0] - 1):
        first, last = start_G1[g], start_G1[g + 1]
        largest, second, top = -np.inf, -np.inf, -1
        for t in range(first, last):
            if logit_T[t] > largest:
                second, largest, top = largest, logit_T[t], t
            elif logit_T[t] > second:
                second = logit_T[t]
        top_G[g] = top
        shift_G[g] = 0.0
        if top >= 0:
            shift_G[g] = second if last - first > 1 else largest
        total_G[g] = 0.0
        sum_D = sum_GD[g]
        sum_D[:] = 0.0
        for t in range(first, last):
            if t == top:
                exp_T[t] = 0.0
                continue
            weight = exp_T.dtype.type(math.exp(logit_T[t] - shift_G[g]))
            exp_T[t] = weight
            total_G[g] += weight
            value_D = value_ED[index_T[t]]
            for d in range(sum_D.shape[0]):
                sum_D[d] += weight * value_D[d]


@njit(cache=True, parallel=True, nogil=True)
def logit_gradients(start_G1, index_T, value_ED, exp_T, grad_total_G, grad_sum_GD, grad_logit_T):
    """Back through the sums to each entry's logit; the shift is a constant."""
    for g in prange(start_G1.shape[0] - 1):
        grad_D = grad_sum_GD[g]
        for t in range(start_G1[g], start_G1[g + 1]):
            value_D = value_ED[index_T[t]]
            slope = grad_total_G[g]
            for d in range(grad_D.shape[0]):
                slope += grad_D[d] * value_D[d]
            grad_logit_T[t] = exp_T[t] * slope
