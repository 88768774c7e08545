"""FM: the factorisation machine, all pairs of features at the cost of one pass (Rendle, ICDM 2010).

paper               here                    shape
w_0                 factors.bias            1
w                   factors.weight          n, 1
V                   factors.vector          n, D
x_i                 Fields.value            [B, F]      1 for a category
f_BI                Entries.pairs           [B, D]      per dimension what the pairs add up to

Shapes: B rows, F fields, P pairs of fields, n features, D embedding, V askers, I items.

What libFM's code does, and what the code of the lab that wrote NFM and AFM calls FM, stands in docs/papers/fm.md.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Crossed, Fields, Sizes
from attlas.models.factors import BatchNorm, Factors
from attlas.ops.fields import distinct_pairs
from attlas.spaces import Choice, Space, Span


class FM(nn.Module):
    """Every pair of features weighs as much as the product of their vectors."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """What can be set.

        Attributes:
            embedding_dim: D, the size of a feature's vector.
            norm: whether the pairs are batch-normalised dimension by dimension, as the lab's code does.
            dropout: the share of those dimensions that training drops.
            l2: what the mean of a batch adds for each weight and vector that a row names, times half its squares.
            stddev: spread of the vectors at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        norm: bool = False
        dropout: float = Field(default=0.0, ge=0, lt=1)
        l2: float = Field(default=0.0, ge=0)
        stddev: float = Field(default=0.01, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 64, 128)),
        "model.dropout": Choice((0.0, 0.3, 0.5)),
        "model.l2": Choice((0.0, 1e-6, 1e-5, 1e-4)),
        "solver.learning_rate": Span(0.0003, 0.03, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or FM.Config()
        self.factors = Factors(sizes, config.embedding_dim, stddev=config.stddev)
        self.norm = BatchNorm(config.embedding_dim) if config.norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, fields: Fields) -> Tensor:
        """w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j, [B]."""
        entries = self.factors(fields)
        return self.factors.bias + entries.linear() + self.dropout(self.norm(entries.pairs())).sum(-1)

    def penalise(self, fields: Fields) -> Tensor:
        """The squares of what the rows of a batch name."""
        return self.factors.l2(fields, self.config.l2)

    def score_catalogue(self, fields: Crossed) -> Tensor:
        """Context once, items once, and what crosses as one product of sums, [V, I]."""
        scale_D, shift = self._affine()
        asker, item = self.factors(fields.asker), self.factors(fields.item)
        asker_V = asker.linear() + asker.pairs() @ scale_D + self.factors.bias + shift
        item_I = item.linear() + item.pairs() @ scale_D
        return torch.addmm(item_I, asker.sums() * scale_D, item.sums().T) + asker_V[:, None]

    def weigh_pairs(self, fields: Fields) -> tuple[Tensor, Tensor]:
        """How much each pair weighs, which is 1, and its <v_i, v_j> x_i x_j, [B, P] each."""
        entries, (scale_D, _) = self.factors(fields), self._affine()
        pairs = distinct_pairs(entries.index)
        score_N = (entries.vector.index_select(0, pairs.one) * entries.vector.index_select(0, pairs.other)) @ scale_D
        score_BP = score_N[pairs.place]
        return torch.ones_like(score_BP), score_BP

    def _affine(self) -> tuple[Tensor, Tensor]:
        """What the pairs are multiplied by and what is added, in use, [D] and a scalar."""
        if isinstance(self.norm, BatchNorm):
            scale_D, shift_D = self.norm.affine()
            return scale_D, shift_D.sum()
        return torch.ones_like(self.factors.vector[0]), torch.zeros_like(self.factors.bias)
