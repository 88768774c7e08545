"""DELF: dual embeddings, user and item each seen twice (Cheng et al., IJCAI 2018).

paper               here                            shape
p_u, q_i            user_code, item_code            [B, D]    who they are
m_u, n_i            user_summary, item_summary      [B, D]    what they chose, who chose them: attention over histories
y_j, x_v            history_item, history_user      tables    the vectors inside histories, keys and values at once
W, b, h             HistoryAttention                D x A, A, A
z_1 .. z_4          towers                          [B, K]    one for each way to pair the two views of user and item
a_u, a_i            trust                           [B, 1]    empirical fusion: how far an id is known, 0 to 1
w, b                prediction                      4K, 1

Shapes: B pairs, N pairs in a row, D embedding, A attention, E distinct history entries, H first layer, K last layer, W towers.

The article was not at hand; which choice follows what evidence stands in docs/papers/delf.md.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import ConfigDict, Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.models.layers import DESCENT_BYTES, PairTower, embedding, linear, run_abreast
from attlas.models.reasons import Reasons
from attlas.ops.halves import relu_of_halves
from attlas.ops.segments import attentive_sum, segment_softmax, segment_sum_without
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


class HistorySum(nn.Module):
    """Sums a history over the root of its length and one, all entries alike: DELF without attention, as in SVD++."""

    def forward(self, value_ED: Tensor, history: History) -> Tensor:
        """The summary of each pair's history without the pair's own target, [B, D]; zeros for an empty one."""
        sum_BD = segment_sum_without(value_ED, history.lists, history.row, history.left_out)
        return sum_BD / (history.length + 1).sqrt().to(sum_BD.dtype).unsqueeze(-1)

    def weights(self, value_ED: Tensor, history: History) -> Tensor:
        """The weight of each entry of each list, [T]."""
        return (history.lists.length + 1).to(value_ED.dtype).rsqrt()[history.owner]


class DELF(nn.Module):
    """Four towers over every pairing of (id, history) of the user with (id, history) of the item."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding",)

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters, and what its authors' code tries instead of its parts.

        Attributes:
            embedding_dim: D, the size of all four tables.
            attention_dim: A, the size of the attention's keys.
            layers: sizes of a tower's layers; its input is 2 D.
            key: what bends the keys: the text's tanh, or the ReLU of the authors' code.
            smoothing: exponent on the attention's denominator; 1 is a softmax, the authors' MLP fusion uses 0.5.
            pooling: attention, or the bare sum of a history over the root of its length and one, whose reasons are
                counterfactuals.
            pairing: all four ways to pair id and history; histories alone (NSVD); one tower on all four vectors side by side;
                or one tower on the sums of id and history (SVD++).
            fusion: what follows the towers: linear; mlp, one more layer with ReLU; or empirical, the towers weighed by the
                lengths of the histories and then that layer.
            fusion_lambda: the root of the length from which on the empirical fusion trusts an id alone.
            leave_out: what training takes out of histories; see ``Inputs.gather``.
            stddev: spread of the embeddings at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        attention_dim: int = Field(default=64, ge=1)
        layers: tuple[PositiveInt, ...] = Field(default=(64, 32), min_length=1)
        key: Literal["tanh", "relu"] = "tanh"
        smoothing: float = Field(default=1.0, gt=0, le=1)
        pooling: Literal["attention", "sum"] = "attention"
        pairing: Literal["all", "histories", "joint", "sums"] = "all"
        fusion: Literal["linear", "mlp", "empirical"] = "linear"
        fusion_lambda: float = Field(default=2.0, gt=0)
        leave_out: LeaveOut = "remove"
        stddev: float = Field(default=0.01, gt=0)

        @model_validator(mode="after")
        def _weighs_four_towers(self) -> DELF.Config:
            if self.fusion == "empirical" and self.pairing != "all":
                raise ValueError(f"fusion 'empirical' weighs the four towers of pairing 'all'; pairing is {self.pairing!r}")
            return self

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64)),
        "model.layers": Choice(((32, 16), (64, 32))),
        "solver.learning_rate": Span(0.001, 0.01, log=True),
        "solver.learning_rate_decay": Span(0.7, 1.0),
        "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
        "solver.negatives": Choice((2, 4)),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or DELF.Config()
        dim, stddev = config.embedding_dim, config.stddev
        self.user_embedding = embedding(sizes.num_users, dim, stddev=stddev)
        self.item_embedding = embedding(sizes.num_items, dim, stddev=stddev)
        self.history_item = embedding(sizes.num_items, dim, stddev=stddev)
        self.history_user = embedding(sizes.num_users, dim, stddev=stddev)
        attends, last = config.pooling == "attention", config.layers[-1]
        self.user_attention = HistoryAttention(config) if attends else HistorySum()
        self.item_attention = HistoryAttention(config) if attends else HistorySum()
        if not attends:
            self.reasons: Reasons = "counterfactual"  # weights that are all alike name no reason
        half_dim = 2 * dim if config.pairing == "joint" else dim
        self.towers = nn.ModuleList(PairTower(half_dim, config.layers) for _ in range(4 if config.pairing == "all" else 1))
        width = last if config.fusion == "empirical" else last * len(self.towers)
        self.head = None if config.fusion == "linear" else linear(width, last)
        self.prediction = linear(width if self.head is None else last, 1)

    def forward(self, user: Tensor, item: Tensor, user_history: History, item_history: History) -> Tensor:
        """The logit of each pair, [B]."""
        return self.match(self.encode_user(user, user_history), self.encode_item(item, item_history))

    def encode_user(self, user: Tensor, user_history: History) -> Tensor:
        """The user's half of every tower's first layer: p, m, p, m through their weights, [B, W H]; then a_u if used."""
        p_BD = self.user_embedding(user)
        m_BD = self.user_attention(self.history_item(user_history.distinct), user_history)
        views = self._views(p_BD, m_BD, (p_BD, m_BD, p_BD, m_BD))
        halves = [tower.user_half(view) for tower, view in zip(self._towers, views, strict=True)]
        return torch.cat([*halves, *self._trust(user_history, p_BD)], dim=-1)

    def encode_item(self, item: Tensor, item_history: History) -> Tensor:
        """The item's half of every tower's first layer: q, n, n, q through their weights, [B, W H]; then a_i if used."""
        q_BD = self.item_embedding(item)
        n_BD = self.item_attention(self.history_user(item_history.distinct), item_history)
        views = self._views(q_BD, n_BD, (q_BD, n_BD, n_BD, q_BD))
        halves = [tower.item_half(view) for tower, view in zip(self._towers, views, strict=True)]
        return torch.cat([*halves, *self._trust(item_history, q_BD)], dim=-1)

    def _views(self, code_BD: Tensor, summary_BD: Tensor, of_four: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What each tower sees of one side."""
        match self.config.pairing:
            case "all":
                return of_four
            case "histories":
                return (summary_BD,)
            case "joint":
                return (torch.cat([code_BD, summary_BD], dim=-1),)
            case "sums":
                return (code_BD + summary_BD,)

    def _trust(self, history: History, like: Tensor) -> list[Tensor]:
        """a = min(1, sqrt(n) / lambda), [B, 1], where the fusion asks for it."""
        if self.config.fusion != "empirical":
            return []
        return [(history.length.to(like.dtype).sqrt() / self.config.fusion_lambda).clamp(max=1.0).unsqueeze(-1)]

    @property
    def _towers(self) -> list[PairTower]:
        return [cast(PairTower, tower) for tower in self.towers]

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . [z_1; z_2; z_3; z_4] + b from the halves, or another fusion of them; leading dimensions broadcast."""
        width = self.config.layers[0] * len(self.towers)
        first_layer = (user_code[..., :width] + item_code[..., :width]).relu_()
        trust = torch.broadcast_tensors(user_code[..., width:], item_code[..., width:])
        logit_N = self._judge(first_layer.flatten(0, -2), *(each.flatten(0, -2) for each in trust))
        return logit_N.view(first_layer.shape[:-1])

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """``match`` of the named rows."""
        width = self.config.layers[0] * len(self.towers)
        first_layer_NH = relu_of_halves(user_code[:, :width], user_row, item_code[:, :width], item_row)
        user_trust, item_trust = user_code[:, width:].index_select(0, user_row), item_code[:, width:].index_select(0, item_row)
        return self._judge(first_layer_NH, user_trust, item_trust)

    def _judge(self, first_layer_NH: Tensor, user_trust: Tensor, item_trust: Tensor) -> Tensor:
        verdict_NK = run_abreast(self._towers, first_layer_NH)
        if self.config.fusion == "empirical":
            doubt = 1 - user_trust, 1 - item_trust
            weights = (user_trust * item_trust, doubt[0] * doubt[1], user_trust * doubt[1], doubt[0] * item_trust)
            verdict_NK = (verdict_NK.unflatten(-1, (4, -1)) * torch.stack(weights, dim=1)).sum(1)
        if self.head is not None:
            verdict_NK = self.head(verdict_NK).relu_()
        return torch.addmv(self.prediction.bias, verdict_NK, self.prediction.weight.squeeze(0))

    def attention(self, user_history: History, item_history: History) -> dict[str, Tensor]:
        """How much each entry of the two histories weighs, [T] each."""
        return {
            "user_history": self.user_attention.weights(self.history_item(user_history.distinct), user_history),
            "item_history": self.item_attention.weights(self.history_user(item_history.distinct), item_history),
        }

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Four tables, each with its gradient, two moments and the best so far."""
        rows = 2 * (sizes.num_users + sizes.num_items)
        return {"embedding tables, their gradients, moments and best values": DESCENT_BYTES * rows * config.embedding_dim}
