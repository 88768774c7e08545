"""Biased MF: ratings as a mean, two biases and an inner product (Koren, Bell & Volinsky, IEEE Computer 2009).

paper        here                       shape
mu           mean                       1         of the training ratings
b_u, b_i     user_bias, item_bias       [B]
p_u, q_i     user, item embedding       [B, D]

    r_ui = mu + b_u + b_i + q_i . p_u
    minimise over ratings (r_ui - mu - b_u - b_i - q_i . p_u)^2 + lambda (|p_u|^2 + |q_i|^2 + b_u^2 + b_i^2)

Shapes: B pairs, D embedding, V users, I items.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Inputs, Sizes
from attlas.errors import ConfigError
from attlas.models.layers import embedding, give_tables, tables_of
from attlas.ops.descent import deal_cells, descend_on_ratings
from attlas.spaces import Choice, Space, Span


class BiasedMF(nn.Module):
    """The rating is the mean of all, what the user and the item stand off from it, and how they go together."""

    task: ClassVar[Literal["rating"]] = "rating"
    reasons: ClassVar[Literal["factors"]] = "factors"
    compared_by: ClassVar[str] = "item_embedding"

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of both tables; 0 leaves the biases alone.
            stddev: spread of a vector's length at the start, about; biases start at zero.
        """

        embedding_dim: int = Field(default=64, ge=0)
        stddev: float = Field(default=0.1, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((8, 16, 32, 64, 128)),
        "solver.learning_rate": Span(0.005, 0.1, log=True),
        "solver.learning_rate_decay": Span(0.8, 1.0),
        "solver.l2": Span(0.005, 0.5, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or BiasedMF.Config()
        stddev = config.stddev / max(config.embedding_dim, 1) ** 0.5
        self.user_embedding = embedding(sizes.num_users, config.embedding_dim, stddev=stddev)
        self.item_embedding = embedding(sizes.num_items, config.embedding_dim, stddev=stddev)
        self.user_bias, self.item_bias = nn.Embedding(sizes.num_users, 1), nn.Embedding(sizes.num_items, 1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.item_bias.weight)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """mu + b_u + b_i + q_i . p_u, a rating, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """(p_u, mu + b_u, 1), [B, D + 2]."""
        bias_B1 = self.user_bias(user)
        return torch.cat([self.user_embedding(user), self.mean + bias_B1, torch.ones_like(bias_B1)], dim=-1)

    def encode_item(self, item: Tensor) -> Tensor:
        """(q_i, 1, b_i), [B, D + 2]."""
        bias_B1 = self.item_bias(item)
        return torch.cat([self.item_embedding(item), torch.ones_like(bias_B1), bias_B1], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """Their inner product; leading dimensions broadcast."""
        return (user_code * item_code).sum(-1)

    def by_factor(self, user: Tensor, item: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """q_id p_ud of each dimension, [B, D], and mu and both biases, [B] each."""
        biases = {"the user's bias": self.user_bias(user)[:, 0], "the item's bias": self.item_bias(item)[:, 0]}
        product_BD = self.user_embedding(user) * self.item_embedding(item)
        return product_BD, {"the mean of all": self.mean.expand(len(user)), **biases}

    def begin(self, data: Inputs) -> None:
        """mu is the mean of the training ratings, whatever trains the rest."""
        if data.train.rating is None:
            raise ConfigError("biased_mf learns from ratings, and these data have none; name their column with --rating")
        self.mean.fill_(float(data.train.rating.mean()))

    def score_catalogue(self, user: Tensor) -> Tensor:
        """The whole catalogue in one product, [V, I]."""
        product_VI = self.user_embedding(user) @ self.item_embedding.weight.T
        return product_VI + self.mean + self.user_bias(user) + self.item_bias.weight.T

    @dataclass(config=ConfigDict(extra="forbid"))
    class SGD:
        """Plain stochastic gradient descent, one rating after the other, as the article has it.

        Attributes:
            learning_rate: gamma, the size of a step in the first epoch.
            learning_rate_decay: what the step size is multiplied by after every epoch.
            l2: lambda, how much of a row's own length each step takes off it.
        """

        one_epoch: ClassVar[bool] = False
        learning_rate: float = Field(default=0.02, gt=0)
        learning_rate_decay: float = Field(default=0.95, gt=0, le=1)
        l2: float = Field(default=0.05, ge=0)
        epochs_done: int = dataclasses.field(default=0, init=False)

        def epoch(self, model: BiasedMF, data: Inputs, rng: np.random.Generator) -> float:
            """Every rating once; returns the mean squared error on the way."""
            train = data.train
            assert train.rating is not None
            rate = self.learning_rate * self.learning_rate_decay**self.epochs_done
            cells = deal_cells(train.user, train.item, data.sizes.num_users, data.sizes.num_items, rng)
            pairs = train.user, train.item, train.rating - model.mean.item()
            moved, loss = descend_on_ratings(tables_of(model), pairs, cells, learning_rate=rate, l2=self.l2)
            give_tables(model, moved)
            self.epochs_done += 1
            return loss

        def state(self) -> dict[str, Tensor]:
            """How many epochs are done: the step size depends on it."""
            return {"epochs_done": torch.tensor(self.epochs_done)}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Go on after so many epochs."""
            self.epochs_done = int(state["epochs_done"])

    Solvers: ClassVar[dict[str, Any]] = {"sgd": SGD}
