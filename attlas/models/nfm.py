"""NFM: a neural network above the sum of all pairs of features (He & Chua, SIGIR 2017).

paper               here                    shape
w_0, w, V           factors                 1; n, 1; n, D
f_BI(V_x)           Entries.pairs           [B, D]      bi-interaction pooling
W_l, b_l            layers                  K_l x K_l-1, K_l
h                   head                    K_L         no bias; ones where there is no layer

Shapes: B rows, F fields, n features, D embedding, V askers, I items, K_l units of layer l.

Where the paper and its authors' code disagree stands in docs/papers/nfm.md.
"""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Crossed, Fields, Sizes
from attlas.models.factors import BatchNorm, Factors
from attlas.models.layers import linear
from attlas.ops.fields import pair_places
from attlas.spaces import Choice, Space, Span

BENDS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "identity": lambda value: value}


class NFM(nn.Module):
    """The pairs of a row are added up first, dimension by dimension, and judged together."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of a feature's vector.
            layers: sizes of the hidden layers; none makes NFM-0, which with a head of ones is FM.
            activation: what bends a layer.
            norm: whether the pooled pairs and each layer are batch-normalised.
            dropout: the share of the pooled pairs that training drops.
            hidden_dropout: the share of each hidden layer that training drops.
            stddev: spread of the vectors at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        layers: tuple[PositiveInt, ...] = (64,)
        activation: Literal["relu", "tanh", "sigmoid", "identity"] = "relu"
        norm: bool = True
        dropout: float = Field(default=0.5, ge=0, lt=1)
        hidden_dropout: float = Field(default=0.2, ge=0, lt=1)
        stddev: float = Field(default=0.01, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 64, 128)),
        "model.layers": Choice(((64,), (128,), (128, 64))),
        "model.dropout": Choice((0.0, 0.3, 0.5)),
        "model.hidden_dropout": Choice((0.0, 0.2, 0.5)),
        "solver.learning_rate": Span(0.0003, 0.03, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or NFM.Config()
        widths = (config.embedding_dim, *config.layers)
        self.factors = Factors(sizes, config.embedding_dim, stddev=config.stddev)
        self.norms = nn.ModuleList(BatchNorm(width) if config.norm else nn.Identity() for width in widths)
        self.layers = nn.ModuleList(linear(below, above) for below, above in itertools.pairwise(widths))
        self.head = nn.Parameter(torch.ones(widths[-1]))
        if config.layers:
            nn.init.normal_(self.head, std=(2 / (widths[-1] + 1)) ** 0.5)
        self.dropout, self.hidden_dropout = nn.Dropout(config.dropout), nn.Dropout(config.hidden_dropout)

    def forward(self, fields: Fields) -> Tensor:
        """w_0 + sum_i w_i x_i + h . f(f_BI), [B]."""
        entries = self.factors(fields)
        return self.factors.bias + entries.linear() + self.judge(entries.pairs())

    def judge(self, pooled_BD: Tensor) -> Tensor:
        """The network above the pooled pairs, h . z_L, [B]."""
        hidden_BK = self.dropout(self.norms[0](pooled_BD))
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            hidden_BK = self.hidden_dropout(BENDS[self.config.activation](norm(layer(hidden_BK))))
        return hidden_BK @ self.head

    def lose_pairs(self, fields: Fields) -> Tensor:
        """What the network says of all pairs, less what it says of them without each, [B, P]."""
        entries = self.factors(fields)
        one_P, other_P = pair_places(fields.index)
        vector_BFD = entries.vector[entries.index]
        pooled_BD, product_BPD = entries.pairs(), vector_BFD[:, one_P] * vector_BFD[:, other_P]
        without_ND = (pooled_BD[:, None] - product_BPD).flatten(0, 1)
        return self.judge(pooled_BD)[:, None] - self.judge(without_ND).view(product_BPD.shape[:2])

    def score_catalogue(self, fields: Crossed) -> Tensor:
        """The pooled pairs of context and item from the parts of each, then the network, [V, I]."""
        asker, item = self.factors(fields.asker), self.factors(fields.item)
        asker_V, item_I, inside_ID = asker.linear() + self.factors.bias, item.linear(), item.pairs()
        halves = zip(asker_V, asker.pairs(), asker.sums(), strict=True)
        sum_ID = item.sums()
        return torch.stack([self.judge(pair_D + inside_ID + sum_D * sum_ID) + item_I + own for own, pair_D, sum_D in halves])
