"""DeepCF: CFNet, of a product and a perceptron that read the rows and columns of the matrix (Deng et al., AAAI 2019).

paper                 here                              shape
Y[u, :], Y[:, i]      user_history, item_history        lists                 a linear layer on a row sums a table over a list
W0u, W0i              user_tower.row, item_tower.row    tables, R columns     rl: linear, before the first ReLU
p_u, q_i              user_tower, item_tower            [B, K]                rl: ReLU layers on either side
P, Q                  user_row, item_row                tables, D columns     ml: linear
z_rl = p_u * q_i      the product in ``match``          [B, K]
z_ml                  tower                             [B, L]                ReLU after every layer
w, b                  prediction                        K, L or K + L; 1

Shapes: B pairs, R row layer, K product, D row layer of the perceptron, H first layer, L last layer, E distinct history entries.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, cast

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.models.branches import fuse, match_branches, match_pairs
from attlas.models.layers import DESCENT_BYTES, PairTower, linear
from attlas.ops.segments import segment_sum_without
from attlas.spaces import Choice, Space, Span

DESCENT_SPACE: Space = {
    "solver.learning_rate": Span(0.0003, 0.01, log=True),
    "solver.learning_rate_decay": Span(0.7, 1.0),
    "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
    "solver.negatives": Choice((3, 4, 7)),
}


class Row(nn.Module):
    """A linear layer on a row of the matrix, y W + b: the sum over a history of table rows, and a bias where there is one."""

    def __init__(self, width: int, dim: int, *, bias: bool):
        super().__init__()
        self.table = nn.Embedding(width, dim)
        nn.init.xavier_uniform_(self.table.weight)
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None


def read_rows(history: History, *layers: tuple[Row, Tensor]) -> list[Tensor]:
    """(y W + b) V^T for each pair without its own target, [B, H], for each W and the V of the layer that follows it.

    Nothing bends between the two layers, so that a table goes through its V once and the images are summed, those of all layers
    in one pass over the history.
    """
    image_EH = torch.cat([functional.linear(row.table(history.distinct), weight) for row, weight in layers], dim=1)
    sum_BH = segment_sum_without(image_EH, history.lists, history.row, history.left_out)
    sums = sum_BH.split([len(weight) for _, weight in layers], dim=1)
    return [of if row.bias is None else of + weight @ row.bias for of, (row, weight) in zip(sums, layers, strict=True)]


class RowTower(nn.Module):
    """A row, read by a linear layer, through layers with a ReLU after every one."""

    def __init__(self, width: int, dim: int, layers: tuple[int, ...], *, bias: bool):
        super().__init__()
        self.row = Row(width, dim, bias=bias)
        self.layers = nn.ModuleList(linear(below, above) for below, above in itertools.pairwise((dim, *layers)))

    @property
    def reading(self) -> tuple[Row, Tensor]:
        """What its first layer reads the row through."""
        return self.row, cast(nn.Linear, self.layers[0]).weight

    def forward(self, read_BH: Tensor) -> Tensor:
        """The last layer for each pair, [B, K], from what ``reading`` comes to, before the first bias and ReLU."""
        first, *rest = (cast(nn.Linear, layer) for layer in self.layers)
        hidden_BH = (read_BH + first.bias).relu_()
        for layer in rest:
            hidden_BH = layer(hidden_BH).relu_()
        return hidden_BH


class CFNetRL(nn.Module):
    """Representation learning: a network for each side, and a weighted product of what they make of the two rows."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            rl_user_dim: R of the user's side of CFNet-rl, the size of the linear layer on a row.
            rl_item_dim: R of its item's side.
            rl_layers: sizes of the ReLU layers of either side; the last is K.
            row_bias: whether the linear layers have biases, as in the code, or none, as in the equations.
            leave_out: what training takes out of histories; see ``Inputs.gather``.
        """

        rl_user_dim: int = Field(default=64, ge=1)
        rl_item_dim: int = Field(default=64, ge=1)
        rl_layers: tuple[PositiveInt, ...] = Field(default=(32,), min_length=1)
        row_bias: bool = False
        leave_out: LeaveOut = "matched"

    search_space: ClassVar[Space] = {"model.rl_layers": Choice(((16,), (32,), (64,))), **DESCENT_SPACE}

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or CFNetRL.Config()
        self.user_tower = RowTower(sizes.num_items, config.rl_user_dim, config.rl_layers, bias=config.row_bias)
        self.item_tower = RowTower(sizes.num_users, config.rl_item_dim, config.rl_layers, bias=config.row_bias)
        self.prediction = _output(config.rl_layers[-1])

    def forward(self, user_history: History, item_history: History) -> Tensor:
        """w . (p_u * q_i) + b, [B]."""
        return self.match(self.encode_user(user_history), self.encode_item(item_history))

    def encode_user(self, user_history: History) -> Tensor:
        """p_u, [B, K]."""
        return self.user_tower(*read_rows(user_history, self.user_tower.reading))

    def encode_item(self, item_history: History) -> Tensor:
        """q_i, [B, K]."""
        return self.item_tower(*read_rows(item_history, self.item_tower.reading))

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . (p_u * q_i) + b; leading dimensions broadcast."""
        weighted = user_code * self.prediction.weight[0]
        return torch.einsum("...k,...k->...", weighted, item_code) + self.prediction.bias

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Two tables, each with its gradient, two moments and the best so far."""
        return _table_memory(sizes, config.rl_user_dim, config.rl_item_dim)


class CFNetML(nn.Module):
    """Matching function learning: a perceptron on the two rows, each through a linear layer."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            ml_dim: D, the size of either side's linear layer of CFNet-ml on a row; the tower's input is 2 D.
            ml_layers: sizes of the tower's layers.
            row_bias: whether the linear layers have biases, as in the code, or none, as in the equations.
            leave_out: what training takes out of histories; see ``Inputs.gather``.
        """

        ml_dim: int = Field(default=64, ge=1)
        ml_layers: tuple[PositiveInt, ...] = Field(default=(64, 32), min_length=1)
        row_bias: bool = False
        leave_out: LeaveOut = "matched"

    search_space: ClassVar[Space] = {"model.ml_layers": Choice(((32, 16), (64, 32), (128, 64))), **DESCENT_SPACE}

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or CFNetML.Config()
        self.user_row = Row(sizes.num_items, config.ml_dim, bias=config.row_bias)
        self.item_row = Row(sizes.num_users, config.ml_dim, bias=config.row_bias)
        self.tower = PairTower(config.ml_dim, config.ml_layers)
        self.prediction = _output(config.ml_layers[-1])

    def forward(self, user_history: History, item_history: History) -> Tensor:
        """w . z_ml + b, [B]."""
        return self.match(self.encode_user(user_history), self.encode_item(item_history))

    def encode_user(self, user_history: History) -> Tensor:
        """The user's half of the tower's first layer, [B, H]."""
        return read_rows(user_history, (self.user_row, self.tower.user_weight))[0] + self.tower.bias

    def encode_item(self, item_history: History) -> Tensor:
        """The item's half of the tower's first layer, [B, H]."""
        return read_rows(item_history, (self.item_row, self.tower.item_weight))[0]

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . z_ml + b from the halves; leading dimensions broadcast."""
        return match_branches(user_code, item_code, self.tower, self.prediction)

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """``match`` of a row of either, for each pair, [B]."""
        return match_pairs(user_code, user_row, item_code, item_row, self.tower, self.prediction)

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Two tables, each with its gradient, two moments and the best so far."""
        return _table_memory(sizes, config.ml_dim, config.ml_dim)


class CFNet(nn.Module):
    """CFNet-rl and CFNet-ml, each with layers of its own, under one output layer."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config(CFNetML.Config, CFNetRL.Config):
        """What can be set in CFNet-rl and in CFNet-ml, and how much each counts at the start.

        Attributes:
            alpha: what CFNet-rl's output counts, and 1 - alpha CFNet-ml's, where the model starts from the two; else without
                effect.
        """

        alpha: float = Field(default=0.5, ge=0, le=1)

    search_space: ClassVar[Space] = {
        "model.rl_layers": Choice(((16,), (32,), (64,))),
        "model.ml_layers": Choice(((32, 16), (64, 32), (128, 64))),
        **DESCENT_SPACE,
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or CFNet.Config()
        self.user_tower = RowTower(sizes.num_items, config.rl_user_dim, config.rl_layers, bias=config.row_bias)
        self.item_tower = RowTower(sizes.num_users, config.rl_item_dim, config.rl_layers, bias=config.row_bias)
        self.user_row = Row(sizes.num_items, config.ml_dim, bias=config.row_bias)
        self.item_row = Row(sizes.num_users, config.ml_dim, bias=config.row_bias)
        self.tower = PairTower(config.ml_dim, config.ml_layers)
        self.prediction = _output(config.rl_layers[-1] + config.ml_layers[-1])

    def fuse(self, *parts: nn.Module) -> None:
        """Start from a CFNet-rl and a CFNet-ml that were trained alone; see ``branches.fuse``.

        Raises:
            ConfigError: these are not the two, or not of this model's sizes.
        """
        fuse(self, parts, (CFNetRL, CFNetML))

    def forward(self, user_history: History, item_history: History) -> Tensor:
        """w . (z_rl ++ z_ml) + b, [B]."""
        return self.match(self.encode_user(user_history), self.encode_item(item_history))

    def encode_user(self, user_history: History) -> Tensor:
        """w_rl * p_u beside the user's half of the tower's first layer, [B, K + H]."""
        for_rl_BH, for_ml_BH = read_rows(user_history, self.user_tower.reading, (self.user_row, self.tower.user_weight))
        weighted_BK = self.user_tower(for_rl_BH) * self.prediction.weight[0, : self.config.rl_layers[-1]]
        return torch.cat([weighted_BK, for_ml_BH + self.tower.bias], dim=-1)

    def encode_item(self, item_history: History) -> Tensor:
        """q_i beside the item's half of the tower's first layer, [B, K + H]."""
        for_rl_BH, for_ml_BH = read_rows(item_history, self.item_tower.reading, (self.item_row, self.tower.item_weight))
        return torch.cat([self.item_tower(for_rl_BH), for_ml_BH], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . (z_rl ++ z_ml) + b from the codes; leading dimensions broadcast."""
        return match_branches(user_code, item_code, self.tower, self.prediction)

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """``match`` of a row of either, for each pair, [B]."""
        return match_pairs(user_code, user_row, item_code, item_row, self.tower, self.prediction)

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Four tables, each with its gradient, two moments and the best so far."""
        return _table_memory(sizes, config.rl_user_dim + config.ml_dim, config.rl_item_dim + config.ml_dim)


def _output(inputs: int) -> nn.Linear:
    """One logit; the code starts it normal with the variance of one over its inputs, cut at two deviations."""
    layer = nn.Linear(inputs, 1)
    nn.init.trunc_normal_(layer.weight, std=inputs**-0.5, a=-2 * inputs**-0.5, b=2 * inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _table_memory(sizes: Sizes, user_columns: int, item_columns: int) -> dict[str, int]:
    """A user's row is as long as there are items, an item's as there are users."""
    floats = sizes.num_items * user_columns + sizes.num_users * item_columns
    return {"tables of the row layers, their gradients, moments and best values": DESCENT_BYTES * floats}
