"""Conjugate gradients of many rows at once, by tensor calls: what devices without kernels do, private to ``ops``.

Shapes: R rows, D columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attlas.ops._numba.ridge import TINY


def conjugate_gradients(apply: Callable[[Tensor], Tensor], right_RD: Tensor, x_RD: Tensor, steps: int) -> Tensor:
    """So many steps from ``x_RD`` on, [R, D], all rows in lockstep; rows that are solved stand still.

    Args:
        apply: each row's matrix times a vector of its own, from [R, D] to [R, D].
        right_RD: the right sides.
    """
    residual_RD = right_RD - apply(x_RD)
    direction_RD, norm_R1 = residual_RD, residual_RD.square().sum(-1, keepdim=True)
    for _ in range(steps):
        is_open_R1 = norm_R1 >= TINY
        applied_RD = apply(direction_RD)
        step_R1 = torch.where(is_open_R1, norm_R1 / (direction_RD * applied_RD).sum(-1, keepdim=True), 0.0)
        x_RD, residual_RD = x_RD + step_R1 * direction_RD, residual_RD - step_R1 * applied_RD
        next_R1 = residual_RD.square().sum(-1, keepdim=True)
        direction_RD = residual_RD + torch.where(is_open_R1, next_R1 / norm_R1, 0.0) * direction_RD
        norm_R1 = next_R1
    return x_RD
