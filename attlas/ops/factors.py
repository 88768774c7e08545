"""Non-negative factors of a matrix of which some cells are known.

Shapes: G rows, E columns, T known cells, D of both tables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attlas.ops.gram import inner_products, sparse_product
from attlas.ops.ragged import Ragged

LEAST = 1e-9  # in denominators


@torch.no_grad()
def factorise(left_GD: Tensor, right_ED: Tensor, rows: Ragged, value_T: Tensor, *, steps: int) -> tuple[Tensor, Tensor]:
    """Two tables without negative entries whose products come near the known cells, by multiplicative updates.

    Left is multiplied by (V right) / ((mask * left right') right), then right likewise: the squared error over the known
    cells never rises (Lee & Seung, NIPS 2000, with the unknown cells left out). Not differentiable.

    Args:
        left_GD, right_ED: where to begin, not negative; not changed.
        rows, value_T: the known cells and what stands in them, not negative.
        steps: updates of both tables.
    """
    first_E1, row_T, entry_T = rows.transposed
    columns, column_value_T = Ragged(first_E1, row_T, rows.count), value_T[entry_T]
    left_GD, right_ED = left_GD.detach(), right_ED.detach()
    for _ in range(steps):
        left_GD = _updated(left_GD, right_ED, rows, value_T)
        right_ED = _updated(right_ED, left_GD, columns, column_value_T)
    return left_GD, right_ED


def factorise_reference(
    left_GD: Tensor, right_ED: Tensor, rows: Ragged, value_T: Tensor, *, steps: int
) -> tuple[Tensor, Tensor]:
    """``factorise``, from the whole matrix and the mask of what is known."""
    mask_GE = torch.zeros(rows.count, rows.width, dtype=value_T.dtype, device=value_T.device)
    value_GE = torch.zeros_like(mask_GE)
    for g, e, value in zip(rows.owner.tolist(), rows.index.tolist(), value_T.tolist(), strict=True):
        mask_GE[g, e], value_GE[g, e] = 1.0, value
    left_GD, right_ED, mask_GE, value_GE = (each.detach() for each in (left_GD, right_ED, mask_GE, value_GE))
    for _ in range(steps):
        left_GD = left_GD * (value_GE @ right_ED) / ((mask_GE * (left_GD @ right_ED.T)) @ right_ED + LEAST)
        right_ED = right_ED * (value_GE.T @ left_GD) / ((mask_GE * (left_GD @ right_ED.T)).T @ left_GD + LEAST)
    return left_GD, right_ED


def _updated(own_GD: Tensor, other_ED: Tensor, rows: Ragged, value_T: Tensor) -> Tensor:
    wanted_GD = sparse_product(rows, value_T, other_ED)
    made_GD = sparse_product(rows, inner_products(own_GD, other_ED, rows), other_ED)
    return own_GD * wanted_GD / (made_GD + LEAST)
