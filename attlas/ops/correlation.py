"""Circular correlation: the product of a vector with every cyclic window of another, by windows and by Fourier transform.

Shapes: B pairs, G and H rows of the left and the right table, D columns on the left, E on the right and so E windows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from attlas.ops._numba import call
from attlas.ops._numba import correlation as _cpu
from attlas.ops.ragged import Ragged


def correlate(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """sum over d of left[d] * right[(d + t) mod E] at every t, for the two rows that each pair names, [B, E].

    Each row of the right table is written once with its beginning behind its end, so that a window is a piece of it: a
    product with a circulant matrix that is never built. Costs D E a pair.

    Args:
        left_GD, right_HE: the two tables; D is at most E.
        left_B, right_B: int64[B], the row of each that a pair correlates.
    """
    if left_GD.device.type == "cpu":
        return _Correlate.apply(left_GD, left_B, right_HE, right_B)
    size = left_GD.shape[1]
    window_BED = _line(right_HE, size - 1).index_select(0, right_B).unfold(-1, size, 1)
    return (window_BED @ left_GD.index_select(0, left_B)[:, :, None]).squeeze(-1)


def correlate_reference(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """``correlate``, term by term."""
    size = right_HE.shape[1]
    rows = [
        torch.stack([sum(left_D[d] * right_E[(d + t) % size] for d in range(len(left_D))) for t in range(size)])
        for left_D, right_E in zip(left_GD[left_B], right_HE[right_B], strict=True)
    ]
    return torch.stack(rows)


def correlate_by_fft(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """``correlate`` by Fourier transform, at a cost of E log E a pair; the rows of both tables are transformed once."""
    size = right_HE.shape[1]
    left_GF = torch.fft.rfft(left_GD, n=size).conj().resolve_conj()
    right_HF = torch.fft.rfft(right_HE, n=size)
    return torch.fft.irfft(left_GF.index_select(0, left_B) * right_HF.index_select(0, right_B), n=size)


def correlate_by_fft_reference(left_GD: Tensor, left_B: Tensor, right_HE: Tensor, right_B: Tensor) -> Tensor:
    """``correlate_by_fft``, term by term."""
    return correlate_reference(left_GD, left_B, right_HE, right_B)


def _line(row_GE: Tensor, more: int) -> Tensor:
    """Each row with its first so many entries once more behind its end."""
    return torch.cat([row_GE, row_GE[:, :more]], dim=-1).contiguous()


class _Correlate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        left_GD, left_B, right_HE, right_B = given
        ctx.save_for_backward(*given)
        out_BE = right_HE.new_empty(len(right_B), right_HE.shape[1])
        call(_cpu.correlate, left_GD, left_B, _line(right_HE, left_GD.shape[1] - 1), right_B, out_BE)
        return out_BE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """To the left a correlation of the gradient with the right rows, to the right a convolution of it with the left."""
        left_GD, left_B, right_HE, right_B = ctx.saved_tensors
        size, grad_left_GD, grad_right_HE = right_HE.shape[1], None, None
        if ctx.needs_input_grad[0]:
            grad_left_GD = torch.empty_like(left_GD, memory_format=torch.contiguous_format)
            line_HL = _line(right_HE, left_GD.shape[1] - 1)
            call(_cpu.sum_correlations, *_pairs_of(left_B, len(left_GD)), grads[0], line_HL, right_B, grad_left_GD)
        if ctx.needs_input_grad[2]:
            # Convolved: the gradient is read backwards, and the left row, filled up with zeros, begins one entry later.
            grad_right_HE = torch.empty_like(right_HE, memory_format=torch.contiguous_format)
            full_GE = functional.pad(left_GD, (0, size - left_GD.shape[1]))
            line_GL = torch.cat([full_GE[:, 1:], full_GE], dim=-1)
            weight_BE = grads[0].flip(-1)
            call(_cpu.sum_correlations, *_pairs_of(right_B, len(right_HE)), weight_BE, line_GL, left_B, grad_right_HE)
        return grad_left_GD, None, grad_right_HE, None


def _pairs_of(row_B: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The pairs that name each row: where each row's begin [count + 1], and the pairs [B]."""
    first, pair, _ = Ragged(torch.arange(len(row_B) + 1), row_B, count).transposed
    return first, pair
