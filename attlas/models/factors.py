"""What models on feature fields share: a bias, a weight and a vector for every feature, and rows of fields as rows of those.

Shapes: B rows, F fields, E entries that rows name, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attlas.data.inputs import Fields, Sizes
from attlas.ops.fields import field_sum, pair_sum
from attlas.ops.segments import segment_sum


@dataclass(frozen=True, eq=False)
class Entries:
    """What the rows of a batch name, each entry with x v and x w; features that are taken as they are stand first.

    Attributes:
        vector: [E, D].
        weight: [E, 1].
        index: int64[B, F], the entries of each row.
    """

    vector: Tensor
    weight: Tensor
    index: Tensor

    def linear(self) -> Tensor:
        """sum_i w_i x_i, [B]."""
        return field_sum(self.weight, self.index).squeeze(-1)

    def sums(self) -> Tensor:
        """sum_i x_i v_i, [B, D]."""
        return field_sum(self.vector, self.index)

    def pairs(self) -> Tensor:
        """sum_{i<j} x_i v_i * x_j v_j, the bi-interaction, [B, D]."""
        return pair_sum(self.vector, self.index)


class Factors(nn.Module):
    """w_0, and w and v of every feature.

    Args:
        sizes: whose fields have so many features each.
        dim: the size of a vector.
        stddev: spread of the vectors at the start; weights start at zero.
    """

    def __init__(self, sizes: Sizes, dim: int, *, stddev: float):
        super().__init__()
        count = sum(sizes.fields)
        self.bias = nn.Parameter(torch.zeros(()))
        self.weight = nn.Parameter(torch.zeros(count, 1))
        self.vector = nn.Parameter(torch.empty(count, dim).normal_(std=stddev))

    def forward(self, fields: Fields) -> Entries:
        """The entries that rows name: a bag is the mean of what it holds, and a number weighs its feature."""
        vector_ED: Tensor = self.vector
        weight_E1: Tensor = self.weight
        index_BF = fields.index
        if fields.bags is not None:
            length_G1 = fields.bags.length.clamp(min=1).to(vector_ED.dtype)[:, None]
            vector_ED = torch.cat([vector_ED, segment_sum(vector_ED, fields.bags) / length_G1])
            weight_E1 = torch.cat([weight_E1, segment_sum(weight_E1, fields.bags) / length_G1])
        if fields.value is not None:
            is_weighed_F = (fields.value != 1).any(0)
            named_N, value_N1 = index_BF[:, is_weighed_F].flatten(), fields.value[:, is_weighed_F].reshape(-1, 1)
            index_BF = index_BF.clone()
            place_N = len(vector_ED) + torch.arange(len(named_N), device=named_N.device)
            index_BF[:, is_weighed_F] = place_N.view(len(index_BF), int(is_weighed_F.sum()))
            vector_ED = torch.cat([vector_ED, vector_ED.index_select(0, named_N) * value_N1])
            weight_E1 = torch.cat([weight_E1, weight_E1.index_select(0, named_N) * value_N1])
        return Entries(vector_ED, weight_E1, index_BF)

    def l2(self, fields: Fields, strength: float) -> Tensor:
        """Half the squares of the weights and vectors that a row names, in the mean of the rows, times a strength; a scalar."""
        if not strength:
            return torch.zeros_like(self.bias)
        count_E = torch.bincount(fields.index.flatten(), minlength=len(self.vector))[: len(self.vector)] / len(fields)
        return 0.5 * strength * (count_E * (self.vector.square().sum(-1) + self.weight.square().squeeze(-1))).sum()


class BatchNorm(nn.Module):
    """Batch normalisation as the authors' codes set it: running averages that keep 0.9, and 0.001 under the root."""

    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.shift = nn.Parameter(torch.zeros(dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, value_BD: Tensor) -> Tensor:
        """Normalised by the batch in training, else by the averages; one row alone has no spread and is taken by those too."""
        by_batch = self.training and len(value_BD) > 1
        return nn.functional.batch_norm(
            value_BD, self.mean, self.variance, self.scale, self.shift, training=by_batch, momentum=0.1, eps=1e-3
        )

    def affine(self) -> tuple[Tensor, Tensor]:
        """What it multiplies by and adds after training, [D] each."""
        scale_D = self.scale / (self.variance + 1e-3).sqrt()
        return scale_D, self.shift - self.mean * scale_D
