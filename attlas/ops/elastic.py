"""Elastic nets from a Gram matrix: every column explained by all the others.

Shapes: I columns.
"""

from __future__ import annotations

import numpy as np

from attlas.ops._numba import elastic as kernels

LANES = 64


def elastic_net(
    gram_II: np.ndarray,
    *,
    l1: float,
    l2: float,
    non_negative: bool = True,
    tolerance: float = 1e-5,
    max_sweeps: int = 10_000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per column j of X the weights w, w_j = 0, that minimise 1/2 ||x_j - X w||^2 + l2/2 ||w||^2 + l1 ||w||_1.

    Coordinate descent on G = X'X, without a pass over the rows of X, on working sets: the weights that are not zero and
    those that gain most by leaving it. A column is solved where every weight, inside its working set or not, is within
    ``tolerance`` of its optimality condition.

    Args:
        gram_II: X'X, symmetric, in floats.
        l1: lambda.
        l2: beta.
        non_negative: whether w >= 0 is demanded.
        tolerance: how far from zero the nearest subgradient of any weight may be, as a share of ||x_j||^2.
        max_sweeps: where to stop otherwise: passes over working sets, per column.

    Returns:
        The weights [I, I], a row per explained column; the objective of each, float64[I]; and the largest violation that was
        left, as a share of ||x_j||^2, [I].
    """
    gram_II = np.ascontiguousarray(gram_II)
    number = gram_II.dtype.type
    weight_II, violation_I = np.zeros_like(gram_II), np.zeros(len(gram_II), gram_II.dtype)
    objective_I = np.zeros(len(gram_II))
    # Popular columns take longest and often stand side by side, and each thread is given one stretch: they are dealt out.
    order_I = np.argsort(np.arange(len(gram_II)) % LANES, kind="stable")
    penalties = number(l1), number(l2), non_negative, number(tolerance), max_sweeps
    kernels.elastic_net(gram_II, order_I, *penalties, weight_II, objective_I, violation_I)
    return weight_II, objective_I, violation_I / np.maximum(gram_II.diagonal(), np.finfo(gram_II.dtype).tiny)


def elastic_net_reference(
    gram_II: np.ndarray,
    *,
    l1: float,
    l2: float,
    non_negative: bool = True,
    tolerance: float = 1e-5,
    max_sweeps: int = 10_000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``elastic_net``, by as many full sweeps over all weights as are allowed, one column after the other."""
    weight_II, objective_I, violation_I = np.zeros_like(gram_II), np.zeros(len(gram_II)), np.zeros(len(gram_II))
    for j, weight_I in enumerate(weight_II):
        others = [k for k in range(len(gram_II)) if k != j]
        for _ in range(max_sweeps):
            for k in others:
                pull = gram_II[k, j] - gram_II[k] @ weight_I + gram_II[k, k] * weight_I[k]
                pull = max(pull - l1, 0.0) - (0.0 if non_negative else max(-pull - l1, 0.0))
                weight_I[k] = pull / (gram_II[k, k] + l2) if pull else 0.0
        error = gram_II[j, j] - 2 * weight_I @ gram_II[j] + weight_I @ gram_II @ weight_I
        objective_I[j] = (error + l2 * weight_I @ weight_I) / 2 + l1 * np.abs(weight_I).sum()
    return weight_II, objective_I, violation_I
