"""The few modules that most papers share.

Shapes: B pairs, D embedding, H hidden.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def embedding(count: int, dim: int, *, stddev: float = 0.01) -> nn.Embedding:
    """A table of vectors drawn from a normal distribution around zero."""
    table = nn.Embedding(count, dim)
    nn.init.normal_(table.weight, std=stddev)
    return table


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with Glorot weights and a bias of zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class PairTower(nn.Module):
    """A multi-layer perceptron on (user half ++ item half), ReLU after every layer.

    Its first layer is kept as two halves, W(a ++ b) = W_a a + W_b b, so that each half is computed once per user or item.

    Args:
        half_dim: the size of each half.
        layers: the sizes of the layers.
    """

    def __init__(self, half_dim: int, layers: Sequence[int]):
        super().__init__()
        first = linear(2 * half_dim, layers[0])
        self.user_weight = nn.Parameter(first.weight[:, :half_dim].detach().clone())
        self.item_weight = nn.Parameter(first.weight[:, half_dim:].detach().clone())
        self.bias = nn.Parameter(torch.zeros(layers[0]))
        self.rest = nn.ModuleList(linear(below, above) for below, above in itertools.pairwise(layers))

    def user_half(self, vector_BD: Tensor) -> Tensor:
        """The user's share of the first layer, bias included, [B, H]."""
        return torch.nn.functional.linear(vector_BD, self.user_weight, self.bias)

    def item_half(self, vector_BD: Tensor) -> Tensor:
        """The item's share of the first layer, [B, H]."""
        return torch.nn.functional.linear(vector_BD, self.item_weight)

    def forward(self, hidden_BH: Tensor) -> Tensor:
        """From the first layer, the ReLU of the sum of the two halves, to the last one, [B, layers[-1]]."""
        for layer in self.rest:
            hidden_BH = layer(hidden_BH).relu_()
        return hidden_BH
