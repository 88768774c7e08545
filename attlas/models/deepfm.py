"""DeepFM: a factorisation machine and a network that read one table of vectors (Guo et al., IJCAI 2017).

paper               here                    shape
w_0, w, V           factors                 1; n, 1; n, D
e_1 .. e_F          Entries.vector          [B, F, D]       side by side the network's input, never copied so
W_0, b_0            first                   K_1 x F D, K_1
W_l, b_l            layers                  K_l+1 x K_l, K_l+1
w, b                head                    K_L, 1

Shapes: B rows, F fields, n features, D embedding, K_l units of layer l, V askers, I items.

A share of the first layer, W_0 e_f of one field's feature, is computed once for every feature where a batch names each of them
several times; see docs/papers/deepfm.md.
"""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Crossed, Fields, Sizes
from attlas.models.factors import BatchNorm, Entries, Factors
from attlas.models.layers import linear
from attlas.ops.fields import field_sum, pair_places
from attlas.spaces import Choice, Space, Span

SHARED = 4  # times that a batch names a feature in the mean, from which on its share of the first layer is made once


class DeepFM(nn.Module):
    """Low orders by FM, high ones by a network, from the same vectors and trained together."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of a feature's vector.
            layers: sizes of the network's hidden layers, ReLU after each.
            dropout: the share of each hidden layer that training drops.
            norm: whether each hidden layer is batch-normalised before its ReLU.
            precision: of the products of hidden layers; ``bfloat16`` is several times faster where the processor multiplies it.
            l2: what the mean of a batch adds for each weight and vector that a row names, times half its squares.
            stddev: spread of the vectors at the start.
        """

        embedding_dim: int = Field(default=16, ge=1)
        layers: tuple[PositiveInt, ...] = Field(default=(400, 400, 400), min_length=1)
        dropout: float = Field(default=0.5, ge=0, lt=1)
        norm: bool = False
        precision: Literal["float32", "bfloat16"] = "float32"
        l2: float = Field(default=0.0, ge=0)
        stddev: float = Field(default=0.01, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((8, 16, 64)),
        "model.layers": Choice(((200, 200), (400, 400, 400))),
        "model.dropout": Choice((0.0, 0.2, 0.5)),
        "model.norm": Choice((False, True)),
        "model.l2": Choice((0.0, 1e-5, 1e-4, 1e-3)),
        "solver.learning_rate": Span(0.0003, 0.01, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or DeepFM.Config()
        self.field_sizes, dim = sizes.fields, config.embedding_dim
        self.factors = Factors(sizes, dim, stddev=config.stddev)
        self.first = linear(len(self.field_sizes) * dim, config.layers[0])
        self.layers = nn.ModuleList(linear(below, above) for below, above in itertools.pairwise(config.layers))
        self.norms = nn.ModuleList(BatchNorm(width) if config.norm else nn.Identity() for width in config.layers)
        self.head = linear(config.layers[-1], 1)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, fields: Fields) -> Tensor:
        """y_FM + y_DNN, the logit of each row, [B]."""
        entries = self.factors(fields)
        shallow_B = self.factors.bias + entries.linear() + entries.pairs().sum(-1)
        return shallow_B + self.judge(self.first_layer(entries, fields, range(len(self.field_sizes))) + self.first.bias)

    def penalise(self, fields: Fields) -> Tensor:
        """The squares of what the rows of a batch name."""
        return self.factors.l2(fields, self.config.l2)

    def first_layer(self, entries: Entries, fields: Fields, places: range | tuple[int, ...]) -> Tensor:
        """W_0 of the vectors of some fields, without the bias, [B, K].

        Args:
            places: which of the F fields stand in the rows.
        """
        blocks = [block.T for block in self.first.weight.split(self.config.embedding_dim, dim=1)]
        is_plain = fields.bags is None and fields.value is None
        if is_plain and len(places) == len(blocks) and SHARED * len(entries.vector) <= fields.index.numel():
            of_fields = zip(entries.vector.split(self.field_sizes), blocks, strict=True)
            return field_sum(torch.cat([vector_eD @ block for vector_eD, block in of_fields]), entries.index)
        row_BfD = entries.vector.index_select(0, entries.index.flatten()).unflatten(0, entries.index.shape)
        return row_BfD.flatten(1) @ torch.cat([blocks[place] for place in places])

    def judge(self, first_BK: Tensor) -> Tensor:
        """The network from its first layer before the ReLU, [B]."""
        hidden_BK = self.dropout(self.norms[0](first_BK).relu())
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            with torch.autocast(first_BK.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
                above_BK = layer(hidden_BK)
            hidden_BK = self.dropout(norm(above_BK.to(first_BK.dtype)).relu())
        return self.head(hidden_BK).squeeze(-1)

    def lose_pairs(self, fields: Fields) -> Tensor:
        """What is lost without each pair of fields, [B, P]: its product, and what the network makes of the two only together.

        The latter is y_DNN less that without either field's vector, each loss of one alone taken off: a second difference.
        """
        entries, (one_P, other_P) = self.factors(fields), pair_places(fields.index)
        vector_BFD = entries.vector[entries.index]
        block_FKD = self.first.weight.unflatten(1, (len(self.field_sizes), -1)).transpose(0, 1)
        share_BFK = torch.einsum("bfd,fkd->bfk", vector_BFD, block_FKD)
        whole_B1K = share_BFK.sum(1, keepdim=True) + self.first.bias
        one_BPK, other_BPK = share_BFK[:, one_P], share_BFK[:, other_P]
        whole_B1, *less = (
            self.judge(first.flatten(0, 1)).view(first.shape[:2])
            for first in (whole_B1K, whole_B1K - one_BPK, whole_B1K - other_BPK, whole_B1K - one_BPK - other_BPK)
        )
        return (vector_BFD[:, one_P] * vector_BFD[:, other_P]).sum(-1) + whole_B1 - less[0] - less[1] + less[2]

    def score_catalogue(self, fields: Crossed) -> Tensor:
        """Context and items through the first layer once each, then the network on every sum of the two, [V, I]."""
        asker, item = self.factors(fields.asker), self.factors(fields.item)
        asker_V = self.factors.bias + asker.linear() + asker.pairs().sum(-1)
        item_I = item.linear() + item.pairs().sum(-1)
        shallow_VI = torch.addmm(item_I, asker.sums(), item.sums().T) + asker_V[:, None]
        asker_VK = self.first_layer(asker, fields.asker, fields.asker_place) + self.first.bias
        item_IK = self.first_layer(item, fields.item, fields.item_place)
        return shallow_VI + torch.stack([self.judge(asker_K + item_IK) for asker_K in asker_VK])
