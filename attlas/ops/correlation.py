"""Circular correlation: the product of a vector with every cyclic window of another, by windows and by Fourier transform.

Shapes: B pairs, G and H rows of the left and the right table, D columns on the left, E on the right and so E windows.
"""

from __future__ import annotations

import torch
from torch import Tensor


def correlate_by_fft(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """sum over d of left[d] * right[(d + t) mod E] at every t, for the two rows that each pair names, [B, E].

    Both tables are transformed once, row by row; a pair then costs a product and one inverse transform, E log E.

    Args:
        left_GD, right_HE: the two tables; D is at most E.
        left_B, right_B: int64[B], the row of each that a pair correlates.
    """
    size = right_HE.shape[1]
    left_GF, right_HF = torch.fft.rfft(left_GD, n=size).conj().resolve_conj(), torch.fft.rfft(right_HE, n=size)
    # The size is said, since an odd one cannot be told from the transform.
    return torch.fft.irfft(left_GF.index_select(0, left_B) * right_HF.index_select(0, right_B), n=size)


def correlate_by_fft_reference(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """``correlate_by_fft``, term by term."""
    return correlate_by_windows_reference(left_GD, left_B, right_HE, right_B)


def correlate_by_windows(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """As ``correlate_by_fft``, by the product with a circulant matrix, which costs D E a pair.

    The matrix is not built: a right row with its beginning once more behind its end holds all of its columns as pieces.
    """
    size = right_HE.shape[1]
    left_BD = left_GD.index_select(0, left_B)
    line_BL = torch.cat([right_HE, right_HE[:, : left_GD.shape[1] - 1]], dim=-1).index_select(0, right_B)
    sum_BE = torch.zeros_like(line_BL[:, :size])
    for d in range(left_GD.shape[1]):
        sum_BE = torch.addcmul(sum_BE, left_BD[:, d : d + 1], line_BL[:, d : d + size])
    return sum_BE


def correlate_by_windows_reference(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """``correlate_by_windows``, term by term."""
    size = right_HE.shape[1]
    rows = [
        torch.stack([sum(left_D[d] * right_E[(d + t) % size] for d in range(len(left_D))) for t in range(size)])
        for left_D, right_E in zip(left_GD[left_B], right_HE[right_B], strict=True)
    ]
    return torch.stack(rows)
