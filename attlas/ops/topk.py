"""The k best columns of each row that are not hidden.

Shapes: U rows, I columns. Hidden columns are a ragged list (start [U + 1], index): those of row ``u`` are
``index[start[u]:start[u + 1]]``.
"""

from __future__ import annotations

import numpy as np

from attlas.ops._numba import topk as kernels


def top_k(
    score_UI: np.ndarray,
    k: int,
    hidden_start: np.ndarray | None = None,
    hidden_index: np.ndarray | None = None,
    draw_U: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best columns of each row, best first; of equal scores the lower column comes first.

    The order of a hidden list and repetitions in it do not matter. A score must not be nan.

    Args:
        draw_U: uint64[U], a random number per row, from which the order of its equal scores is drawn instead: a shuffle that
            favours no column and is the same in every run. A row with 0 keeps the order of columns.

    Returns:
        int64[U, k] columns and their scores [U, k] in the type they came in; where a row has fewer than k columns that
        are not hidden, the rest is -1 and -inf.
    """
    score_UI = np.ascontiguousarray(score_UI)
    if hidden_start is None or hidden_index is None:
        hidden_start, hidden_index = np.zeros(len(score_UI) + 1, np.int64), np.empty(0, np.int64)
    index_Uk = np.full((len(score_UI), k), -1, np.int64)
    best_Uk = np.full((len(score_UI), k), -np.inf, score_UI.dtype)
    if k > 0:
        lists = np.ascontiguousarray(hidden_start, np.int64), np.ascontiguousarray(hidden_index, np.int64)
        draw_U = np.zeros(len(score_UI), np.uint64) if draw_U is None else np.ascontiguousarray(draw_U, np.uint64)
        kernels.top_k(score_UI, *lists, draw_U, index_Uk, best_Uk)
    return index_Uk, best_Uk


def top_k_reference(
    score_UI: np.ndarray,
    k: int,
    hidden_start: np.ndarray | None = None,
    hidden_index: np.ndarray | None = None,
    draw_U: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The literal twin of top_k: sorts every row whole."""
    index_Uk = np.full((len(score_UI), k), -1, np.int64)
    best_Uk = np.full((len(score_UI), k), -np.inf, score_UI.dtype)
    for row, score_I in enumerate(score_UI):
        hidden: set[int] = set()
        if hidden_start is not None and hidden_index is not None:
            hidden = set(hidden_index[hidden_start[row] : hidden_start[row + 1]].tolist())
        shown = [column for column in range(len(score_I)) if column not in hidden]
        draw = 0 if draw_U is None else int(draw_U[row])
        best = sorted(shown, key=lambda column: (-score_I[column], _turn(column, draw)))
        for place, column in enumerate(best[:k]):
            index_Uk[row, place], best_Uk[row, place] = column, score_I[column]
    return index_Uk, best_Uk


def _turn(column: int, draw: int) -> int:
    if not draw:
        return column
    mixed = column ^ draw
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    return mixed ^ (mixed >> 31)
