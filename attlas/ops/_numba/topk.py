"""The loops behind attlas.ops.topk, parallel over rows; rows share nothing, so every run gives the same numbers."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, parallel=True, nogil=True)
def top_k(
    score_UI: np.ndarray,
    hidden_start: np.ndarray,
    hidden_index: np.ndarray,
    draw_U: np.ndarray,
    index_Uk: np.ndarray,
    best_Uk: np.ndarray,
) -> None:
    """Fill each row of ``index_Uk`` and ``best_Uk`` with the best of its scores that are not hidden."""
    for row in prange(score_UI.shape[0]):
        hidden = hidden_index[hidden_start[row] : hidden_start[row + 1]]
        _top_of_row(score_UI[row], hidden, draw_U[row], index_Uk[row], best_Uk[row])


@njit(cache=True, nogil=True)
def _top_of_row(score_I: np.ndarray, hidden: np.ndarray, draw: np.uint64, index: np.ndarray, best: np.ndarray) -> None:
    is_hidden = np.zeros(len(score_I), np.bool_)
    for column in hidden:
        is_hidden[column] = True
    size = 0
    for column in range(len(score_I)):
        score = score_I[column]
        # Nearly every column ends here: columns come in rising order, so that without a draw an equal score loses.
        is_full, loses = size == len(best), draw == np.uint64(0)
        if is_full and not score > best[0] and (loses or not _is_worse(best[0], index[0], score, column, draw)):
            continue
        if is_hidden[column]:
            continue
        if size < len(best):
            _sift_up(index, best, size, column, score, draw)
            size += 1
        else:
            _sift_down(index, best, size, column, score, draw)
    for end in range(size - 1, 0, -1):
        column, score = index[end], best[end]
        index[end], best[end] = index[0], best[0]
        _sift_down(index, best, end, column, score, draw)


@njit(cache=True, nogil=True)
def _is_worse(score: float, column: int, other_score: float, other_column: int, draw: np.uint64) -> bool:
    return score < other_score or (score == other_score and _turn(column, draw) > _turn(other_column, draw))


@njit(cache=True, nogil=True)
def _turn(column: int, draw: np.uint64) -> np.uint64:
    """When a column comes among equals: in its own order, or in one drawn from a number that is not 0.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), which is one to one, so that no two columns meet.
    """
    mixed = np.uint64(column)
    if draw != np.uint64(0):
        mixed ^= draw
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


@njit(cache=True, nogil=True)
def _sift_up(index: np.ndarray, best: np.ndarray, place: int, column: int, score: float, draw: np.uint64) -> None:
    """Put a column into the free last place of a heap whose root is the worst, and let it rise."""
    while place > 0:
        parent = (place - 1) // 2
        if not _is_worse(score, column, best[parent], index[parent], draw):
            break
        index[place], best[place] = index[parent], best[parent]
        place = parent
    index[place], best[place] = column, score


@njit(cache=True, nogil=True)
def _sift_down(index: np.ndarray, best: np.ndarray, size: int, column: int, score: float, draw: np.uint64) -> None:
    """Put a column into the place of the root of a heap of this size, and let it sink."""
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _is_worse(best[child + 1], index[child + 1], best[child], index[child], draw):
            child += 1
        if not _is_worse(best[child], index[child], score, column, draw):
            break
        index[place], best[place] = index[child], best[child]
        place = child
    index[place], best[place] = column, score
