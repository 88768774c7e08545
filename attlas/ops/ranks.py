"""Where chosen columns of a score block stand among the others.

Shapes: U rows, I columns, T relevant columns in all rows together. Ragged lists are a pair (start [U + 1], index): the
columns of row ``u`` are ``index[start[u]:start[u + 1]]``.
"""

from __future__ import annotations

import numpy as np

from attlas.ops._numba import ranks as kernels


def count_ahead(
    score_UI: np.ndarray,
    relevant_start: np.ndarray,
    relevant_index: np.ndarray,
    hidden_start: np.ndarray | None = None,
    hidden_index: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """How many candidates score higher than each relevant column, and how many the same.

    Candidates of a row are all its columns that are not hidden; the order of a hidden list and repetitions in it do not
    matter. A relevant column must not be hidden, a score must not be nan.

    Returns:
        int64[T] counts of strictly higher candidates, and int64[T] counts of equal ones, the relevant column included.
    """
    score_UI = np.ascontiguousarray(score_UI)
    if hidden_start is None or hidden_index is None:
        hidden_start, hidden_index = np.zeros(len(score_UI) + 1, np.int64), np.empty(0, np.int64)
    lists = [np.ascontiguousarray(x, np.int64) for x in (relevant_start, relevant_index, hidden_start, hidden_index)]
    ahead_T, tied_T = np.zeros(len(relevant_index), np.int64), np.zeros(len(relevant_index), np.int64)
    kernels.count_ahead(score_UI, *lists, ahead_T, tied_T)
    return ahead_T, tied_T


def count_ahead_reference(
    score_UI: np.ndarray,
    relevant_start: np.ndarray,
    relevant_index: np.ndarray,
    hidden_start: np.ndarray | None = None,
    hidden_index: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The literal twin of count_ahead: every relevant column is held against every candidate."""
    ahead, tied = [], []
    for row, score_I in enumerate(score_UI):
        hidden: set[int] = set()
        if hidden_start is not None and hidden_index is not None:
            hidden = set(hidden_index[hidden_start[row] : hidden_start[row + 1]].tolist())
        candidates = [score for column, score in enumerate(score_I) if column not in hidden]
        for column in relevant_index[relevant_start[row] : relevant_start[row + 1]]:
            ahead.append(sum(score > score_I[column] for score in candidates))
            tied.append(sum(score == score_I[column] for score in candidates))
    return np.array(ahead, np.int64), np.array(tied, np.int64)
