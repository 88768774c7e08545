"""Look-ups in sorted ragged rows.

Shapes: G rows, T entries of all rows together, B questions.
"""

from __future__ import annotations

import numpy as np

from attlas.ops._numba import segments as _cpu


def nth_missing(start_G1: np.ndarray, index_T: np.ndarray, row_B: np.ndarray, rank_B: np.ndarray) -> np.ndarray:
    """The rank-th column (counted from 0) that a row does not list, int64[B]; rows are sorted and list no column twice."""
    out_B = np.empty(len(row_B), dtype=np.int64)
    _cpu.nth_missing(start_G1, index_T, row_B, rank_B, out_B)
    return out_B


def nth_missing_reference(start_G1: np.ndarray, index_T: np.ndarray, row_B: np.ndarray, rank_B: np.ndarray) -> np.ndarray:
    """``nth_missing``, counting upwards."""
    found = []
    for row, rank in zip(row_B.tolist(), rank_B.tolist(), strict=True):
        listed = set(index_T[start_G1[row] : start_G1[row + 1]].tolist())
        column = -1
        for _ in range(rank + 1):
            column += 1
            while column in listed:
                column += 1
        found.append(column)
    return np.array(found, dtype=np.int64)
