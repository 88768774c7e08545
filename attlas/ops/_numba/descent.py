"""CPU kernels of ``ops/descent.py``: stochastic gradient descent on a grid of cells, parallel over cells without a common row.

``fastmath`` lets sums be vectorised; a cell is worked through by one thread, so that the bits do not depend on their number.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange, uint64

TRIES = 32  # draws of a negative before it is given up: only who has chosen nearly everything comes to that


@njit(cache=True)
def mixed(number):
    """A whole number of 64 bits that looks random: splitmix64."""
    number = (number + uint64(0x9E3779B97F4A7C15)) & uint64(0xFFFFFFFFFFFFFFFF)
    number = ((number ^ (number >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)) & uint64(0xFFFFFFFFFFFFFFFF)
    number = ((number ^ (number >> uint64(27))) * uint64(0x94D049BB133111EB)) & uint64(0xFFFFFFFFFFFFFFFF)
    return number ^ (number >> uint64(31))


@njit(cache=True)
def _lists(start, index_T, row, wanted):
    """Whether a sorted row lists the wanted place."""
    low, high = start[row], start[row + 1]
    while low < high:
        middle = (low + high) // 2
        if index_T[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low < start[row + 1] and index_T[low] == wanted


@njit(cache=True)
def draw(start, index_T, user, pool, number):
    """An item of the pool that the user has not chosen, and the next number; -1 if none was found."""
    for _ in range(TRIES):
        number = mixed(number)
        item = pool[number % uint64(len(pool))]
        if not _lists(start, index_T, user, item):
            return item, number
    return -1, number


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _score(user_D, item_D, bias):
    total = bias
    for k in range(len(user_D)):
        total += user_D[k] * item_D[k]
    return total


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _step(user_D, item_D, pull, rate, l2):
    """Move both rows by a gradient of ``pull`` with respect to their product."""
    for k in range(len(user_D)):
        mine, its = user_D[k], item_D[k]
        user_D[k] = mine - rate * (pull * its + l2 * mine)
        item_D[k] = its - rate * (pull * mine + l2 * its)


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _one(tables, user, item, label, squared, rate, l2):
    """One step on one pair; returns its loss."""
    user_UD, item_ID, user_bias_U, item_bias_I = tables
    score = _score(user_UD[user], item_ID[item], user_bias_U[user] + item_bias_I[item])
    if squared:
        pull = score - label
        loss = pull * pull
    else:
        pull = np.float32(1) / (np.float32(1) + np.exp(-score)) - label
        loss = max(score, np.float32(0)) - score * label + np.log1p(np.exp(-abs(score)))
    _step(user_UD[user], item_ID[item], pull, rate, l2)
    user_bias_U[user] -= rate * (pull + l2 * user_bias_U[user])
    item_bias_I[item] -= rate * (pull + l2 * item_bias_I[item])
    return loss


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _two(tables, user, item, other, rate, l2):
    """One step on one pair of items, the first of which should stand higher; returns its loss."""
    user_UD, item_ID, _, item_bias_I = tables
    user_D, item_D, other_D = user_UD[user], item_ID[item], item_ID[other]
    margin = _score(user_D, item_D, item_bias_I[item]) - _score(user_D, other_D, item_bias_I[other])
    pull = np.float32(-1) / (np.float32(1) + np.exp(margin))
    for k in range(len(user_D)):
        mine, its, theirs = user_D[k], item_D[k], other_D[k]
        user_D[k] = mine - rate * (pull * (its - theirs) + l2 * mine)
        item_D[k] = its - rate * (pull * mine + l2 * its)
        other_D[k] = theirs - rate * (-pull * mine + l2 * theirs)
    item_bias_I[item] -= rate * (pull + l2 * item_bias_I[item])
    item_bias_I[other] -= rate * (-pull + l2 * item_bias_I[other])
    return max(-margin, np.float32(0)) + np.log1p(np.exp(-abs(margin)))


@njit(cache=True, parallel=True, nogil=True)
def rank_epoch(tables, start, index_T, user_N, item_N, start_C, pool_I, pool_start, side, negatives, pairwise, rate, l2, seed):
    """Every pair once, each with fresh negatives; returns the loss and the number of terms of each cell."""
    told = np.zeros((side * side, 2))
    for turn in range(side):
        for a in prange(side):
            b = (a + turn) % side
            cell = a * side + b
            pool = pool_I[pool_start[b] : pool_start[b + 1]]
            for n in range(start_C[cell], start_C[cell + 1]):
                user, item = user_N[n], item_N[n]
                number = mixed(uint64(seed) + uint64(n))
                if not pairwise:
                    told[cell, 0] += _one(tables, user, item, np.float32(1), False, rate, l2)
                    told[cell, 1] += 1
                for _ in range(negatives):
                    other, number = draw(start, index_T, user, pool, number)
                    if other < 0:
                        continue
                    if pairwise:
                        told[cell, 0] += _two(tables, user, item, other, rate, l2)
                    else:
                        told[cell, 0] += _one(tables, user, other, np.float32(0), False, rate, l2)
                    told[cell, 1] += 1
    return told


@njit(cache=True, parallel=True, nogil=True)
def rate_epoch(tables, user_N, item_N, rating_N, start_C, side, rate, l2):
    """Every rating once, squared error; returns the loss and the number of terms of each cell."""
    told = np.zeros((side * side, 2))
    for turn in range(side):
        for a in prange(side):
            cell = a * side + (a + turn) % side
            for n in range(start_C[cell], start_C[cell + 1]):
                told[cell, 0] += _one(tables, user_N[n], item_N[n], rating_N[n], True, rate, l2)
                told[cell, 1] += 1
    return told
