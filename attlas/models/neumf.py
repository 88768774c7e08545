"""NeuMF: a weighted product of two vectors beside a perceptron on two others (He et al., WWW 2017, as NCF).

paper                 here                            shape
p_u^G, q_i^G          gmf_user, gmf_item              tables, K columns     vectors for the product
p_u^M, q_i^M          mlp_user, mlp_item              tables, D columns     vectors of their own for the perceptron
phi^GMF = p * q       the product in ``match``        [B, K]
phi^MLP               tower                           [B, L]                ReLU after every layer
h, b                  prediction                      K, L or K + L; 1
alpha                 ``Config.alpha``                GMF's share of the output where both were trained before

Shapes: B pairs, K product, D perceptron's vectors, H first layer, L last layer, V users, I items.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Sizes
from attlas.models.branches import fuse, match_branches, match_pairs
from attlas.models.layers import DESCENT_BYTES, PairTower, embedding
from attlas.spaces import Choice, Space, Span

DenseStart = Literal["glorot", "normal"]
DESCENT_SPACE: Space = {
    "solver.learning_rate": Span(0.0005, 0.01, log=True),
    "solver.learning_rate_decay": Span(0.7, 1.0),
    "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
    "solver.negatives": Choice((2, 4, 8)),
}


class GMF(nn.Module):
    """Generalised matrix factorisation: a learnt weight for every dimension of the product."""

    user_tables: ClassVar[tuple[str, ...]] = ("gmf_user",)

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            gmf_dim: K, the size of the product's vectors.
            stddev: spread of the vectors at the start.
            dense_start: how output weights begin: ``glorot``, as in the code, or ``normal`` with stddev, as in the text.
            bias: whether the output has one, as in the code.
        """

        gmf_dim: int = Field(default=8, ge=1)
        stddev: float = Field(default=0.01, gt=0)
        dense_start: DenseStart = "glorot"
        bias: bool = True

    search_space: ClassVar[Space] = {"model.gmf_dim": Choice((8, 16, 32, 64)), **DESCENT_SPACE}

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or GMF.Config()
        self.gmf_user = embedding(sizes.num_users, config.gmf_dim, stddev=config.stddev)
        self.gmf_item = embedding(sizes.num_items, config.gmf_dim, stddev=config.stddev)
        self.prediction = _output(config.gmf_dim, config)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """h . (p_u * q_i) + b, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """p_u, [B, K]."""
        return self.gmf_user(user)

    def encode_item(self, item: Tensor) -> Tensor:
        """q_i, [B, K]."""
        return self.gmf_item(item)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """h . (p_u * q_i) + b; leading dimensions broadcast."""
        return self.prediction(user_code * item_code).squeeze(-1)

    def by_factor(self, user: Tensor, item: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """h_k p_uk q_ik of each dimension, [B, K], and b, [B], where there is one."""
        product_BK = self.gmf_user(user) * self.gmf_item(item) * self.prediction.weight
        bias = self.prediction.bias
        return product_BK, {} if bias is None else {"the bias of all": bias.expand(len(user))}

    def score_catalogue(self, user: Tensor) -> Tensor:
        """The whole catalogue in one product, (h * p_u) . q_i + b, [V, I]."""
        weighted_VK = self.gmf_user(user) * self.prediction.weight
        return nn.functional.linear(weighted_VK, self.gmf_item.weight) + (
            0.0 if self.prediction.bias is None else self.prediction.bias
        )

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Two tables, each with its gradient, two moments and the best so far."""
        return _table_memory(sizes, config.gmf_dim)


class MLP(nn.Module):
    """A perceptron on the two vectors of a pair."""

    user_tables: ClassVar[tuple[str, ...]] = ("mlp_user",)

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            mlp_dim: D, the size of the perceptron's vectors; the tower's input is 2 D.
            layers: sizes of the tower's layers.
            stddev: spread of the vectors at the start.
            dense_start: how all other weights begin: ``glorot``, as in the code, or ``normal`` with stddev, as in the text.
            bias: whether the output has one, as in the code.
        """

        mlp_dim: int = Field(default=32, ge=1)
        layers: tuple[PositiveInt, ...] = Field(default=(32, 16, 8), min_length=1)
        stddev: float = Field(default=0.01, gt=0)
        dense_start: DenseStart = "glorot"
        bias: bool = True

    search_space: ClassVar[Space] = {
        "model.mlp_dim": Choice((16, 32, 64)),
        "model.layers": Choice(((32, 16, 8), (64, 32, 16), (128, 64, 32))),
        **DESCENT_SPACE,
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or MLP.Config()
        self.mlp_user = embedding(sizes.num_users, config.mlp_dim, stddev=config.stddev)
        self.mlp_item = embedding(sizes.num_items, config.mlp_dim, stddev=config.stddev)
        self.tower = _tower(config)
        self.prediction = _output(config.layers[-1], config)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """h . tower(p_u ++ q_i) + b, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """The user's half of the tower's first layer, [B, H]."""
        return self.tower.user_half(self.mlp_user(user))

    def encode_item(self, item: Tensor) -> Tensor:
        """The item's half of the tower's first layer, [B, H]."""
        return self.tower.item_half(self.mlp_item(item))

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """h . tower + b from the halves; leading dimensions broadcast."""
        return match_branches(user_code, item_code, self.tower, self.prediction)

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """``match`` of a row of either, for each pair, [B]."""
        return match_pairs(user_code, user_row, item_code, item_row, self.tower, self.prediction)

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Two tables, each with its gradient, two moments and the best so far."""
        return _table_memory(sizes, config.mlp_dim)


class NeuMF(nn.Module):
    """GMF and MLP, each with vectors of its own, under one output layer."""

    user_tables: ClassVar[tuple[str, ...]] = ("gmf_user", "mlp_user")

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config(MLP.Config, GMF.Config):
        """What can be set in GMF and in the MLP, and how much each counts at the start.

        Attributes:
            alpha: what GMF's output counts, and 1 - alpha the MLP's, where the model starts from the two; else without effect.
        """

        alpha: float = Field(default=0.5, ge=0, le=1)

    search_space: ClassVar[Space] = {
        "model.gmf_dim": Choice((8, 16, 32, 64)),
        "model.layers": Choice(((32, 16, 8), (64, 32, 16), (128, 64, 32))),
        **DESCENT_SPACE,
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or NeuMF.Config()
        self.gmf_user = embedding(sizes.num_users, config.gmf_dim, stddev=config.stddev)
        self.gmf_item = embedding(sizes.num_items, config.gmf_dim, stddev=config.stddev)
        self.mlp_user = embedding(sizes.num_users, config.mlp_dim, stddev=config.stddev)
        self.mlp_item = embedding(sizes.num_items, config.mlp_dim, stddev=config.stddev)
        self.tower = _tower(config)
        self.prediction = _output(config.gmf_dim + config.layers[-1], config)

    def fuse(self, *parts: nn.Module) -> None:
        """Start from a GMF and an MLP that were trained alone; see ``branches.fuse``.

        Raises:
            ConfigError: these are not a GMF and an MLP of this model's sizes.
        """
        fuse(self, parts, (GMF, MLP))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """h . (phi^GMF ++ phi^MLP) + b, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """h^GMF * p_u^G beside the user's half of the tower's first layer, [B, K + H]."""
        weight_K = self.prediction.weight[0, : self.config.gmf_dim]
        return torch.cat([self.gmf_user(user) * weight_K, self.tower.user_half(self.mlp_user(user))], dim=-1)

    def encode_item(self, item: Tensor) -> Tensor:
        """q_i^G beside the item's half of the tower's first layer, [B, K + H]."""
        return torch.cat([self.gmf_item(item), self.tower.item_half(self.mlp_item(item))], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """h . (phi^GMF ++ phi^MLP) + b from the codes; leading dimensions broadcast."""
        return match_branches(user_code, item_code, self.tower, self.prediction)

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """``match`` of a row of either, for each pair, [B]."""
        return match_pairs(user_code, user_row, item_code, item_row, self.tower, self.prediction)

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Four tables, each with its gradient, two moments and the best so far."""
        return _table_memory(sizes, config.gmf_dim + config.mlp_dim)


def _tower(config: MLP.Config) -> PairTower:
    """The tower's layers, ReLU after every one."""
    tower = PairTower(config.mlp_dim, config.layers)
    if config.dense_start == "normal":
        for weight in (weight for weight in tower.parameters() if weight.dim() > 1):
            nn.init.normal_(weight, std=config.stddev)
    return tower


def _output(inputs: int, config: GMF.Config | MLP.Config) -> nn.Linear:
    """One logit; the code starts it uniform with the variance of one over its inputs."""
    layer = nn.Linear(inputs, 1, bias=config.bias)
    if config.dense_start == "normal":
        nn.init.normal_(layer.weight, std=config.stddev)
    else:
        nn.init.uniform_(layer.weight, -((3 / inputs) ** 0.5), (3 / inputs) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _table_memory(sizes: Sizes, columns: int) -> dict[str, int]:
    floats = (sizes.num_users + sizes.num_items) * columns
    return {"embedding tables, their gradients, moments and best values": DESCENT_BYTES * floats}
