"""Symmetric matrices kept as their upper triangles, so that weighted Gram matrices of many rows are one product.

Row g of the result of ``weight_GE @ outer_products(table_ED)`` is the upper triangle of sum_e weight_ge v_e v_e', for any
weights: 2 G E P operations at the speed of a dense product, half of those that whole matrices would take. Nothing here is
differentiable.

Shapes: G rows, E rows of a table, D columns of it, P = D (D + 1) / 2.
"""

from __future__ import annotations

import numba
import torch
from torch import Tensor

from attlas.errors import ConfigError
from attlas.ops._numba import call, can_read
from attlas.ops._numba import packed as _cpu


@torch.no_grad()
def outer_products(table_ED: Tensor) -> Tensor:
    """The upper triangle of v_e v_e' of each row, row by row, [E, P]."""
    dim = table_ED.shape[1]
    if not can_read(table_ED):
        return _multiplied_on_device(table_ED)
    out_EP = table_ED.new_empty(len(table_ED), dim * (dim + 1) // 2)
    call(_cpu.outer_products, table_ED, out_EP)
    return out_EP


@torch.no_grad()
def outer_products_reference(table_ED: Tensor) -> Tensor:
    """``outer_products``, entry by entry."""
    dim = table_ED.shape[1]
    rows = [[value[r] * value[k] for r in range(dim) for k in range(r, dim)] for value in table_ED]
    return torch.stack([torch.stack(row) for row in rows])


@torch.no_grad()
def ridge_packed(gram_GP: Tensor, right_GD: Tensor, penalty_G: Tensor) -> Tensor:
    """The solution of (gram_g + penalty_g I) x_g = right_g of each row, [G, D], by Cholesky.

    Args:
        gram_GP: the upper triangle of each row's matrix.
        right_GD: the right sides.
        penalty_G: positive unless the rest is of full rank.

    Raises:
        ConfigError: a row's matrix is not positive definite in floats.
    """
    if can_read(gram_GP):
        solved_GD = torch.empty_like(right_GD, memory_format=torch.contiguous_format)
        arrays = [tensor.detach().contiguous().numpy() for tensor in (gram_GP, right_GD, penalty_G)]
        failed = _cpu.cholesky(*arrays, numba.get_num_threads(), solved_GD.numpy())
    else:
        solved_GD, failed = _solved_on_device(gram_GP, right_GD, penalty_G)
    if failed:
        raise ConfigError(
            f"{failed:,} of {len(gram_GP):,} ridge regressions cannot be solved in floats: the penalty, l2, is too small"
        )
    return solved_GD


@torch.no_grad()
def ridge_packed_reference(gram_GP: Tensor, right_GD: Tensor, penalty_G: Tensor) -> Tensor:
    """``ridge_packed``, row by row with its whole matrix."""
    normal_GDD = _unpacked(gram_GP, right_GD.shape[1])
    eye_DD = torch.eye(right_GD.shape[1]).to(gram_GP)
    rows = zip(normal_GDD, right_GD, penalty_G, strict=True)
    return torch.stack([torch.linalg.solve(normal_DD + penalty * eye_DD, right_D) for normal_DD, right_D, penalty in rows])


def _multiplied_on_device(table_ED: Tensor) -> Tensor:
    """All entries at once."""
    r_P, k_P = torch.triu_indices(table_ED.shape[1], table_ED.shape[1], device=table_ED.device)
    return table_ED[:, r_P] * table_ED[:, k_P]


def _solved_on_device(gram_GP: Tensor, right_GD: Tensor, penalty_G: Tensor) -> tuple[Tensor, int]:
    """The solutions, all rows at once, and how many have none."""
    normal_GDD = _unpacked(gram_GP, right_GD.shape[1])
    normal_GDD.diagonal(dim1=1, dim2=2).add_(penalty_G[:, None])
    factor_GDD, failed_G = torch.linalg.cholesky_ex(normal_GDD)
    return torch.cholesky_solve(right_GD[..., None], factor_GDD).squeeze(-1), int((failed_G > 0).sum())


def _unpacked(gram_GP: Tensor, dim: int) -> Tensor:
    """The whole matrices, [G, D, D]."""
    r_P, k_P = torch.triu_indices(dim, dim, device=gram_GP.device)
    normal_GDD = gram_GP.new_empty(len(gram_GP), dim, dim)
    normal_GDD[:, r_P, k_P] = gram_GP
    normal_GDD[:, k_P, r_P] = gram_GP
    return normal_GDD
