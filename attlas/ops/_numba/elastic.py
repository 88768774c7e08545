"""CPU kernels of ``ops/elastic.py``: parallel over targets, which share nothing, and so the same bits on every run."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

FEWEST_ENTER = 64  # so many predictors may enter the working set at once, or as many as it has
SHARE_LEFT = np.float32(0.03)  # a working set that will grow is not solved further than to this share of the worst violation


@njit(cache=True, parallel=True, nogil=True)
def elastic_net(gram_II, order_I, l1, l2, non_negative, tolerance, max_sweeps, weight_II, objective_I, violation_I):
    """Solve for every target, a row of ``weight``; a target that nobody chose keeps its zeros."""
    for p in prange(len(order_I)):
        j = order_I[p]
        residual_I = gram_II[j].copy()
        violation_I[j] = _solve(gram_II, j, l1, l2, non_negative, tolerance, max_sweeps, residual_I, weight_II[j])
        objective_I[j] = _objective(gram_II[j], gram_II[j, j], residual_I, weight_II[j], l1, l2)


@njit(cache=True, nogil=True)
def _solve(gram_II, j, l1, l2, non_negative, tolerance, max_sweeps, residual_I, weight_I):
    """Solve on ever larger working sets until no weight outside violates its condition either; the worst that is left."""
    allowed = tolerance * gram_II[j, j]
    sweeps = 0
    while True:
        worst, index_A = _working_set(gram_II, j, residual_I, weight_I, l1, l2, non_negative, allowed)
        if worst <= allowed or sweeps >= max_sweeps:
            return worst
        old_A = weight_I[index_A]
        near = max(allowed / 2, worst * SHARE_LEFT)
        sweeps += _descend(gram_II, residual_I, weight_I, index_A, l1, l2, non_negative, near, max_sweeps - sweeps)
        for a in range(len(index_A)):
            step = weight_I[index_A[a]] - old_A[a]
            if step != 0:
                row_I = gram_II[index_A[a]]
                for k in range(len(row_I)):
                    residual_I[k] -= step * row_I[k]


@njit(cache=True, nogil=True)
def _working_set(gram_II, j, residual_I, weight_I, l1, l2, non_negative, allowed):
    """The worst violation; all weights that are not zero, and those that gain most by leaving zero: at most as many again."""
    gain_I = np.zeros_like(residual_I)
    worst = gain_I.dtype.type(0.0)
    num_active = num_waiting = 0
    for k in range(len(residual_I)):
        if k == j:
            continue
        violation = _violation(residual_I[k], weight_I[k], l1, l2, non_negative)
        worst = max(worst, violation)
        if weight_I[k] != 0:
            num_active += 1
        elif violation > allowed / 2:
            gain_I[k] = violation * violation / (gram_II[k, k] + l2)
            num_waiting += 1
    room = max(FEWEST_ENTER, num_active)
    bar = gain_I.dtype.type(0.0)
    if num_waiting > room:
        bar = np.partition(gain_I, len(gain_I) - room)[len(gain_I) - room]
    index_A = np.empty(num_active + num_waiting, np.int64)
    size = 0
    for k in range(len(residual_I)):
        if weight_I[k] != 0 or (gain_I[k] > 0 and gain_I[k] >= bar):
            index_A[size] = k
            size += 1
    return worst, index_A[:size]


@njit(cache=True, nogil=True)
def _descend(gram_II, residual_I, weight_I, index_A, l1, l2, non_negative, allowed, max_sweeps):
    """Cyclic coordinate descent on the working set, until all its weights are within what is allowed; the sweeps it took."""
    gram_AA = np.empty((len(index_A), len(index_A)), gram_II.dtype)
    for a in range(len(index_A)):
        row_I = gram_II[index_A[a]]
        for b in range(len(index_A)):
            gram_AA[a, b] = row_I[index_A[b]]
    residual_A, weight_A = residual_I[index_A], weight_I[index_A]
    sweeps = 0
    worst = allowed + 1
    while worst > allowed and sweeps < max_sweeps:
        for a in range(len(index_A)):
            old = weight_A[a]
            weight_A[a] = _shrunk(residual_A[a] + gram_AA[a, a] * old, l1, non_negative) / (gram_AA[a, a] + l2)
            step = weight_A[a] - old
            if step != 0:
                row_A = gram_AA[a]
                for b in range(len(row_A)):
                    residual_A[b] -= step * row_A[b]
        sweeps += 1
        worst = gram_II.dtype.type(0.0)
        for a in range(len(index_A)):
            worst = max(worst, _violation(residual_A[a], weight_A[a], l1, l2, non_negative))
    weight_I[index_A] = weight_A
    return sweeps


@njit(cache=True, nogil=True)
def _violation(residual, weight, l1, l2, non_negative):
    """How far one weight is from its condition: from zero to the nearest subgradient."""
    slope = residual - l2 * weight
    if weight == 0:
        return abs(_shrunk(slope, l1, non_negative))
    return abs(slope - l1) if weight > 0 else abs(slope + l1)


@njit(cache=True, nogil=True)
def _shrunk(value, l1, non_negative):
    """Soft thresholding."""
    if value > l1:
        return value - l1
    return value + l1 if value < -l1 and not non_negative else value - value


@njit(cache=True, nogil=True)
def _objective(target_I, square, residual_I, weight_I, l1, l2):
    """With r = g - G w the squared error is y'y - w'(g + r)."""
    total = 0.5 * np.float64(square)
    for k in range(len(weight_I)):
        weight = np.float64(weight_I[k])
        total += 0.5 * weight * (l2 * weight - target_I[k] - residual_I[k]) + l1 * abs(weight)
    return total
