"""DELF: dual embeddings, user and item each seen twice (Cheng et al., IJCAI 2018).

paper               here                            shape
p_u, q_i            user_code, item_code            [B, D]    who they are
m_u, n_i            user_summary, item_summary      [B, D]    what they chose, who chose them: attention over histories
y_j, x_v            history_item, history_user      tables    the vectors inside histories, keys and values at once
W, b, h             HistoryAttention                D x A, A, A
z_1 .. z_4          towers                          [B, K]    one for each way to pair the two views of user and item
w, b                prediction                      4K, 1

Shapes: B pairs, D embedding, A attention, E distinct history entries, H first layer, K last layer.

The article was not at hand; which choice follows what evidence stands in docs/papers/delf.md.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.models.layers import PairTower, embedding, linear, run_abreast
from attlas.ops.halves import relu_of_halves
from attlas.ops.segments import attentive_sum, segment_softmax
from attlas.spaces import Choice, Space, Span


class HistoryAttention(nn.Module):
    """Sums a history, each entry weighted by softmax(h . tanh(W y + b)): a question asked of every history alike."""

    def __init__(self, config: DELF.Config):
        super().__init__()
        self.key = linear(config.embedding_dim, config.attention_dim)
        self.query = nn.Parameter(torch.empty(config.attention_dim))
        nn.init.normal_(self.query, std=config.attention_dim**-0.5)
        self.activation = {"tanh": torch.tanh, "relu": torch.relu}[config.key]
        self.smoothing = config.smoothing

    def logits(self, value_ED: Tensor) -> Tensor:
        """s_j = h . tanh(W y_j + b), once per distinct entry, [E]."""
        return self.activation(self.key(value_ED)) @ self.query

    def forward(self, value_ED: Tensor, history: History) -> Tensor:
        """The summary of each pair's history without the pair's own target, [B, D]; zeros for an empty one."""
        return attentive_sum(
            value_ED, self.logits(value_ED), history.lists, history.row, history.left_out, smoothing=self.smoothing
        )

    def weights(self, value_ED: Tensor, history: History) -> Tensor:
        """The weight of each entry of each list, [T]."""
        return segment_softmax(self.logits(value_ED), history.lists, smoothing=self.smoothing)


class DELF(nn.Module):
    """Four towers over every pairing of (id, history) of the user with (id, history) of the item."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding",)

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of all four tables.
            attention_dim: A, the size of the attention's keys.
            layers: sizes of a tower's layers; its input is 2 D.
            key: what bends the keys: the text's tanh, or the ReLU of the authors' code.
            smoothing: exponent on the attention's denominator; 1 is a softmax, the authors' MLP fusion uses 0.5.
            leave_out: what training takes out of histories; see ``Inputs.gather``.
            stddev: spread of the embeddings at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        attention_dim: int = Field(default=64, ge=1)
        layers: tuple[PositiveInt, ...] = Field(default=(64, 32), min_length=1)
        key: Literal["tanh", "relu"] = "tanh"
        smoothing: float = Field(default=1.0, gt=0, le=1)
        leave_out: LeaveOut = "remove"
        stddev: float = Field(default=0.01, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64)),
        "model.layers": Choice(((32, 16), (64, 32), (128, 64))),
        "solver.learning_rate": Span(0.0005, 0.01, log=True),
        "solver.learning_rate_decay": Span(0.7, 1.0),
        "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
        "solver.negatives": Choice((2, 4, 8)),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or DELF.Config()
        dim, stddev = config.embedding_dim, config.stddev
        self.user_embedding = embedding(sizes.num_users, dim, stddev=stddev)
        self.item_embedding = embedding(sizes.num_items, dim, stddev=stddev)
        self.history_item = embedding(sizes.num_items, dim, stddev=stddev)
        self.history_user = embedding(sizes.num_users, dim, stddev=stddev)
        self.user_attention = HistoryAttention(config)
        self.item_attention = HistoryAttention(config)
        self.towers = nn.ModuleList(PairTower(dim, config.layers) for _ in range(4))
        self.prediction = linear(4 * config.layers[-1], 1)

    def forward(self, user: Tensor, item: Tensor, user_history: History, item_history: History) -> Tensor:
        """The logit of each pair, [B]."""
        return self.match(self.encode_user(user, user_history), self.encode_item(item, item_history))

    def encode_user(self, user: Tensor, user_history: History) -> Tensor:
        """The user's half of every tower's first layer: p, m, p, m through their weights, [B, 4 H]."""
        code_BD = self.user_embedding(user)
        summary_BD = self.user_attention(self.history_item(user_history.distinct), user_history)
        views = (code_BD, summary_BD, code_BD, summary_BD)
        return torch.cat([tower.user_half(view) for tower, view in zip(self._towers, views, strict=True)], dim=-1)

    def encode_item(self, item: Tensor, item_history: History) -> Tensor:
        """The item's half of every tower's first layer: q, n, n, q through their weights, [B, 4 H]."""
        code_BD = self.item_embedding(item)
        summary_BD = self.item_attention(self.history_user(item_history.distinct), item_history)
        views = (code_BD, summary_BD, summary_BD, code_BD)
        return torch.cat([tower.item_half(view) for tower, view in zip(self._towers, views, strict=True)], dim=-1)

    @property
    def _towers(self) -> list[PairTower]:
        return [cast(PairTower, tower) for tower in self.towers]

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . [z_1; z_2; z_3; z_4] + b from the halves; leading dimensions broadcast."""
        first_layer = (user_code + item_code).relu_()
        return self._judge(first_layer.flatten(0, -2)).view(first_layer.shape[:-1])

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """``match`` of the named rows."""
        return self._judge(relu_of_halves(user_code, user_row, item_code, item_row))

    def _judge(self, first_layer_NH: Tensor) -> Tensor:
        verdicts_NK = run_abreast(self._towers, first_layer_NH)
        return torch.addmv(self.prediction.bias, verdicts_NK, self.prediction.weight.squeeze(0))

    def attention(self, user_history: History, item_history: History) -> dict[str, Tensor]:
        """How much each entry of the two histories weighs, [T] each."""
        return {
            "user_history": self.user_attention.weights(self.history_item(user_history.distinct), user_history),
            "item_history": self.item_attention.weights(self.history_user(item_history.distinct), item_history),
        }

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Four tables, each with its gradient and two moments."""
        rows = 2 * (sizes.num_users + sizes.num_items)
        return {"embedding tables, their gradients and moments": 4 * 4 * rows * config.embedding_dim}
