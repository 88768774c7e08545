"""Linear: a bias and a weight for every feature, the floor under every claim about how fields go together.

here        shape
bias        1
weight      n, 1        of every feature
x           [B, F]      1 for a category

    y = bias + sum of the weights of the fields that are read

With all fields it is logistic or linear regression; with the item alone, how often each item is labelled 1; with nothing, how
often anything is. It knows nothing of pairs: whoever does not beat it has learned nothing about anybody.

Shapes: B rows, F fields, n features, V askers, I items.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Crossed, Fields, Inputs, Sizes
from attlas.ops.segments import segment_sum
from attlas.spaces import Space, Span


class Linear(nn.Module):
    """What each field says by itself, added up."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """What can be set.

        Attributes:
            reads: which fields have a say: ``all``, the ``item`` alone, or ``nothing``.
        """

        reads: Literal["all", "item", "nothing"] = "all"

    search_space: ClassVar[Space] = {"solver.learning_rate": Span(0.001, 0.1, log=True)}

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or Linear.Config()
        self.bias = nn.Parameter(torch.zeros(()))
        if config.reads != "nothing":
            self.weight = nn.Parameter(torch.zeros(sum(sizes.fields), 1))
        self.is_read_F: Tensor
        self.register_buffer("is_read_F", torch.full((len(sizes.fields),), config.reads == "all"))

    def begin(self, data: Inputs) -> None:
        """Learn which field is the item's own."""
        if self.config.reads == "item":
            self.is_read_F[data.features.places("item")[0]] = True

    def forward(self, fields: Fields) -> Tensor:
        """bias + sum_f w_f x_f, [B]."""
        return self.bias + self._sum(fields, tuple(range(len(self.is_read_F))))

    def score_catalogue(self, fields: Crossed) -> Tensor:
        """What askers add and what items add, [V, I]."""
        asker_V, item_I = self._sum(fields.asker, fields.asker_place), self._sum(fields.item, fields.item_place)
        return self.bias + asker_V[:, None] + item_I

    def weigh_features(self, fields: Fields) -> Tensor:
        """What each field adds, w_f x_f, [B, F]."""
        return self._weights(fields, tuple(range(len(self.is_read_F))))

    def _sum(self, fields: Fields, places: tuple[int, ...]) -> Tensor:
        return self._weights(fields, places).sum(-1)

    def _weights(self, fields: Fields, places: tuple[int, ...]) -> Tensor:
        """What the fields at these places add, as far as they are read, [B, F]; a bag weighs the mean of what it holds."""
        if self.config.reads == "nothing":
            return self.bias.new_zeros(fields.index.shape)
        weight_E1: Tensor = self.weight
        if fields.bags is not None:
            length_G1 = fields.bags.length.clamp(min=1).to(weight_E1.dtype)[:, None]
            weight_E1 = torch.cat([weight_E1, segment_sum(weight_E1, fields.bags) / length_G1])
        weight_BF = weight_E1.index_select(0, fields.index.flatten()).view(fields.index.shape)
        if fields.value is not None:
            weight_BF = weight_BF * fields.value
        return weight_BF * self.is_read_F[list(places)]
