"""The loops behind attlas.ops.ranks, parallel over rows; rows share nothing, so every run gives the same numbers."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, parallel=True, nogil=True)
def count_ahead(
    score_UI: np.ndarray,
    relevant_start: np.ndarray,
    relevant_index: np.ndarray,
    hidden_start: np.ndarray,
    hidden_index: np.ndarray,
    ahead_T: np.ndarray,
    tied_T: np.ndarray,
) -> None:
    for row in prange(score_UI.shape[0]):
        first, last = relevant_start[row], relevant_start[row + 1]
        if first < last:
            _count_in_row(
                score_UI[row],
                relevant_index[first:last],
                hidden_index[hidden_start[row] : hidden_start[row + 1]],
                ahead_T[first:last],
                tied_T[first:last],
            )


@njit(cache=True, nogil=True)
def _count_in_row(score_I: np.ndarray, relevant: np.ndarray, hidden: np.ndarray, ahead: np.ndarray, tied: np.ndarray) -> None:
    hidden_score = _distinct_scores(score_I, hidden)
    for place in range(len(relevant)):
        own = score_I[relevant[place]]
        higher, equal = _compare(score_I, own)
        hidden_higher, hidden_equal = _compare(hidden_score, own)
        ahead[place] = higher - hidden_higher
        tied[place] = equal - hidden_equal


@njit(cache=True, nogil=True)
def _compare(score_I, own):
    # 32-bit counts: the compiler then packs eight comparisons into one instruction.
    higher, equal = np.int32(0), np.int32(0)
    for column in range(len(score_I)):
        higher += np.int32(score_I[column] > own)
        equal += np.int32(score_I[column] == own)
    return higher, equal


@njit(cache=True, nogil=True)
def _distinct_scores(score_I: np.ndarray, column: np.ndarray) -> np.ndarray:
    is_taken = np.zeros(len(score_I) if len(column) else 0, np.bool_)
    score = np.empty(len(column), score_I.dtype)
    count = 0
    for place in range(len(column)):
        if not is_taken[column[place]]:
            is_taken[column[place]] = True
            score[count] = score_I[column[place]]
            count += 1
    return score[:count]
