"""MF: matrix factorisation by sampled pairs, the dot product that neural models are held against (Rendle et al., RecSys 2020).

paper        here                       shape
p_u, q_i     user, item embedding       [B, D]
b_u, b_i     user_bias, item_bias       [B, 1]

With the pairwise objective it is BPR-MF (Rendle et al., UAI 2009).

Shapes: B pairs, D embedding, V users, I items.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Inputs, Sizes
from attlas.models.layers import embedding, give_tables, tables_of
from attlas.ops.descent import deal_cells, descend_on_choices
from attlas.spaces import Choice, Space, Span


class MF(nn.Module):
    """The logit is the inner product of two vectors plus a bias of each."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding", "user_bias")
    is_inner_product: ClassVar[bool] = True
    reasons: ClassVar[Literal["factors"]] = "factors"
    compared_by: ClassVar[str] = "item_embedding"

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of both tables.
            stddev: spread of a vector's length at the start, about; biases start at zero.
        """

        embedding_dim: int = Field(default=64, ge=1)
        stddev: float = Field(default=0.1, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64, 128, 192)),
        "solver.learning_rate": Span(0.005, 0.1, log=True),
        "solver.l2": Span(0.0005, 0.05, log=True),
        "solver.negatives": Span(2, 16, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or MF.Config()
        stddev = config.stddev / config.embedding_dim**0.5
        self.user_embedding = embedding(sizes.num_users, config.embedding_dim, stddev=stddev)
        self.item_embedding = embedding(sizes.num_items, config.embedding_dim, stddev=stddev)
        self.user_bias, self.item_bias = nn.Embedding(sizes.num_users, 1), nn.Embedding(sizes.num_items, 1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.item_bias.weight)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """p_u . q_i + b_u + b_i, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """(p_u, b_u, 1), [B, D + 2]."""
        bias_B1 = self.user_bias(user)
        return torch.cat([self.user_embedding(user), bias_B1, torch.ones_like(bias_B1)], dim=-1)

    def encode_item(self, item: Tensor) -> Tensor:
        """(q_i, 1, b_i), [B, D + 2]."""
        bias_B1 = self.item_bias(item)
        return torch.cat([self.item_embedding(item), torch.ones_like(bias_B1), bias_B1], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """Their inner product; leading dimensions broadcast."""
        return (user_code * item_code).sum(-1)

    def by_factor(self, user: Tensor, item: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """p_ud q_id of each dimension, [B, D], and both biases, [B] each."""
        biases = {"the user's bias": self.user_bias(user)[:, 0], "the item's bias": self.item_bias(item)[:, 0]}
        return self.user_embedding(user) * self.item_embedding(item), biases

    def score_catalogue(self, user: Tensor) -> Tensor:
        """The whole catalogue in one product, [V, I]."""
        score_VI = torch.addmm(self.item_bias.weight.T, self.user_embedding(user), self.item_embedding.weight.T)
        return score_VI + self.user_bias(user)

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class SGD:
        """Plain stochastic gradient descent, one pair after the other, as the article trains it.

        Attributes:
            loss: ``pointwise`` is the cross-entropy of each pair and its negatives; ``bpr`` the log-sigmoid of margins.
            negatives: how many items that the user has not chosen are drawn for each that was, anew each epoch.
            learning_rate: the size of a step.
            l2: how much of a row's own length each step takes off it.
        """

        one_epoch: ClassVar[bool] = False
        loss: Literal["pointwise", "bpr"] = "pointwise"
        negatives: int = Field(default=8, ge=1)
        learning_rate: float = Field(default=0.03, gt=0)
        l2: float = Field(default=0.005, ge=0)

        def epoch(self, model: MF, data: Inputs, rng: np.random.Generator) -> float:
            """Every training pair once, with fresh negatives; returns the mean loss of a step."""
            pairs = data.train.user, data.train.item
            lists = data.user_lists
            moved, loss = descend_on_choices(
                tables_of(model),
                (lists.start.cpu().numpy(), lists.index.cpu().numpy()),
                pairs,
                deal_cells(*pairs, data.sizes.num_users, data.sizes.num_items, rng),
                negatives=self.negatives,
                pairwise=self.loss == "bpr",
                learning_rate=self.learning_rate,
                l2=self.l2,
                seed=int(rng.integers(2**62)),
            )
            give_tables(model, moved)
            return loss

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between epochs."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"sgd": SGD}
