"""Several small layers of one shape, side by side, each in and out of its own columns.

Shapes: N rows, W layers, H columns into each, K columns out of each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def relu_layers(hidden_NWH: Tensor, weight_WHK: Tensor, bias_WK: Tensor) -> Tensor:
    """ReLU of ``hidden @ weight + bias``, layer by layer, [N, W, K].

    The layers' outputs lie side by side, and so do the gradients of their inputs, so that neither putting them together nor
    taking them apart copies anything.
    """
    return _ReluLayers.apply(hidden_NWH, weight_WHK, bias_WK)


def relu_layers_reference(hidden_NWH: Tensor, weight_WHK: Tensor, bias_WK: Tensor) -> Tensor:
    """``relu_layers``, one layer after the other."""
    layers = zip(hidden_NWH.unbind(1), weight_WHK, bias_WK, strict=True)
    return torch.stack([(hidden_NH @ weight_HK + bias_K).relu() for hidden_NH, weight_HK, bias_K in layers], dim=1)


class _ReluLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_NWH: Tensor, weight_WHK: Tensor, bias_WK: Tensor) -> Tensor:
        out_NWK = hidden_NWH.new_empty(len(hidden_NWH), *bias_WK.shape)
        torch.baddbmm(bias_WK.unsqueeze(1), hidden_NWH.transpose(0, 1), weight_WHK, out=out_NWK.transpose(0, 1))
        out_NWK.relu_()
        ctx.save_for_backward(hidden_NWH, weight_WHK, out_NWK)
        return out_NWK

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        hidden_NWH, weight_WHK, out_NWK = ctx.saved_tensors
        grad_WNK = torch.ops.aten.threshold_backward(grads[0], out_NWK, 0).transpose(0, 1)
        grad_hidden_NWH = torch.empty_like(hidden_NWH) if ctx.needs_input_grad[0] else None
        if grad_hidden_NWH is not None:
            torch.bmm(grad_WNK, weight_WHK.transpose(1, 2), out=grad_hidden_NWH.transpose(0, 1))
        grad_weight_WHK = torch.bmm(hidden_NWH.permute(1, 2, 0), grad_WNK)
        return grad_hidden_NWH, grad_weight_WHK, grad_WNK.sum(1)
