"""The columns of a sparse matrix that are most alike, and sums over such neighbours.

Shapes: U rows, I columns, G lists, T neighbours of all columns together. The matrix is binary with weights that factor:
x_ui = a_u b_i where row u lists column i, else zero; it is given by its rows and by its columns, each a ragged list (start,
index): row ``u`` lists ``row_index[row_start[u]:row_start[u + 1]]``.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from attlas.ops._numba import neighbours as kernels

Similarity = Literal["cosine", "jaccard"]


def nearest_columns(
    row_start: np.ndarray,
    row_index: np.ndarray,
    column_start: np.ndarray,
    column_index: np.ndarray,
    k: int,
    *,
    row_weight_U: np.ndarray | None = None,
    scale_I: np.ndarray | None = None,
    similarity: Similarity = "cosine",
    target_power: float = 0.5,
    shrink: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The k other columns most similar to each column, best first; of equal ones the lower comes first.

    With n_i = |x_i|^2 the cosine of i to j is x_i'x_j / (n_i^p n_j^(1 - p) + shrink), which is the plain one at p = 1/2, and
    Jaccard's similarity is x_i'x_j / (n_i + n_j - x_i'x_j + shrink). Costs the sum of squared row lengths; no I x I matrix
    is built.

    Args:
        row_start, row_index, column_start, column_index: the pattern.
        k: how many to keep.
        row_weight_U: a, not negative; None is ones.
        scale_I: b, positive; None is ones.
        similarity: which of the two.
        target_power: p, for the cosine.
        shrink: what is added to the denominator, so that few common rows do not make a pair alike.

    Returns:
        int64[I, k] columns and their similarities, float64[I, k]; where fewer have any, the rest is -1 and 0.
    """
    num_columns = len(column_start) - 1
    row_weight_U = np.ones(len(row_start) - 1) if row_weight_U is None else row_weight_U.astype(np.float64)
    scale_I = np.ones(num_columns) if scale_I is None else scale_I.astype(np.float64)
    index_Ik, best_Ik = np.full((num_columns, k), -1, np.int64), np.zeros((num_columns, k))
    if k:
        given = row_start, row_index, column_start, column_index, row_weight_U, scale_I
        kernels.nearest_columns(*given, int(similarity == "jaccard"), float(target_power), float(shrink), index_Ik, best_Ik)
    index_Ik[best_Ik <= 0] = -1
    return index_Ik, best_Ik


def nearest_columns_reference(
    row_start: np.ndarray,
    row_index: np.ndarray,
    column_start: np.ndarray,
    column_index: np.ndarray,
    k: int,
    *,
    row_weight_U: np.ndarray | None = None,
    scale_I: np.ndarray | None = None,
    similarity: Similarity = "cosine",
    target_power: float = 0.5,
    shrink: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """``nearest_columns``, by the dense matrix and one formula per pair."""
    num_rows, num_columns = len(row_start) - 1, len(column_start) - 1
    x_UI = np.zeros((num_rows, num_columns))
    for u in range(num_rows):
        x_UI[u, row_index[row_start[u] : row_start[u + 1]]] = 1.0 if row_weight_U is None else row_weight_U[u]
    x_UI *= 1.0 if scale_I is None else scale_I
    square_I = (x_UI**2).sum(0)
    index_Ik, best_Ik = np.full((num_columns, k), -1, np.int64), np.zeros((num_columns, k))
    for i in range(num_columns):
        found = []
        for j in range(num_columns):
            dot = x_UI[:, i] @ x_UI[:, j]
            if j != i and dot > 0:
                cosine = square_I[i] ** target_power * square_I[j] ** (1.0 - target_power)
                size = cosine if similarity == "cosine" else square_I[i] + square_I[j] - dot
                found.append((-dot / (size + shrink), j))
        for place, (negative, j) in enumerate(sorted(found)[:k]):
            index_Ik[i, place], best_Ik[i, place] = j, -negative
    return index_Ik, best_Ik


def sum_neighbours(
    list_start: np.ndarray,
    list_index: np.ndarray,
    neighbour_start: np.ndarray,
    neighbour_index: np.ndarray,
    weight_T: np.ndarray,
) -> np.ndarray:
    """Per list and column the sum of the weights with which the list's entries name that column, [G, I].

    Args:
        list_start, list_index: G lists of columns.
        neighbour_start, neighbour_index: the columns that each of I columns names.
        weight_T: with which weight.
    """
    out_GI = np.zeros((len(list_start) - 1, len(neighbour_start) - 1), weight_T.dtype)
    kernels.sum_neighbours(list_start, list_index, neighbour_start, neighbour_index, weight_T, out_GI)
    return out_GI


def sum_neighbours_reference(
    list_start: np.ndarray,
    list_index: np.ndarray,
    neighbour_start: np.ndarray,
    neighbour_index: np.ndarray,
    weight_T: np.ndarray,
) -> np.ndarray:
    """``sum_neighbours``, by two dense matrices."""
    num_lists, num_columns = len(list_start) - 1, len(neighbour_start) - 1
    listed_GI = np.zeros((num_lists, num_columns))
    weight_II = np.zeros((num_columns, num_columns))
    for g in range(num_lists):
        listed_GI[g, list_index[list_start[g] : list_start[g + 1]]] = 1.0
    for i in range(num_columns):
        named = slice(neighbour_start[i], neighbour_start[i + 1])
        weight_II[i, neighbour_index[named]] = weight_T[named]
    return listed_GI @ weight_II


def cosines_before(column_start: np.ndarray, column_index: np.ndarray, num_rows: int, listed_Gk: np.ndarray) -> np.ndarray:
    """How like each listed column of a binary matrix is to those listed before it: the sum of their cosines, float64[G, k].

    An empty column is like none. Costs the entries of all listed columns; no I x I matrix is built.

    Args:
        column_start, column_index: the pattern by its columns.
        num_rows: U.
        listed_Gk: lists of columns; -1 is no column, and its sum is 0.
    """
    out_Gk = np.zeros(listed_Gk.shape)
    given = (np.ascontiguousarray(each, np.int64) for each in (column_start, column_index))
    kernels.cosines_before(*given, num_rows, np.ascontiguousarray(listed_Gk, np.int64), out_Gk)
    return out_Gk


def cosines_before_reference(
    column_start: np.ndarray, column_index: np.ndarray, num_rows: int, listed_Gk: np.ndarray
) -> np.ndarray:
    """The literal twin of cosines_before: intersects the sets of every pair."""
    rows = [set(column_index[first:last].tolist()) for first, last in itertools.pairwise(column_start)]
    out_Gk = np.zeros(np.shape(listed_Gk))
    for g, listed in enumerate(listed_Gk):
        for p, column in enumerate(listed):
            others = [rows[other] for other in listed[:p] if other >= 0] if column >= 0 else []
            out_Gk[g, p] = sum(
                len(rows[column] & other) / np.sqrt(len(rows[column]) * len(other))
                for other in others
                if rows[column] and other
            )
    return out_Gk
