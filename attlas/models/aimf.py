"""AIMF: ratings by a query that slides over an item's features, and by self-attention on the rating matrix (Mao et al., 2024).

paper              here                          shape
mu, b_u, b_i       mean, user_bias, item_bias    [B]
P_u, Q_i           user, item embedding          [B, D], [B, E]
P~_u, Q~_i         deep features                 [B, D], [B, E]   a residual perceptron on each side
QQ_u, KK_i, VV_i   query, key, value             [B, D], [B, E]
a_ui(t), o_ui(t)   logit, weight of a window     [B, E]           one for each cyclic shift t of the key
Rc                 centred                       [T]              the training matrix, sparse, without the batch's own cells
X, W_1, W_2, W_3   of ``MatrixAttention``        [U, S], [I, S]   on the rows of Rc, and on its columns
E_u, E_i           user, item attention          [B, S]

    a_ui(t) = QQ_u . KK_i[t : t + D], cyclic        o_ui = softmax_t(a_ui / sqrt(D))
    z_ui = sum over t of o_ui(t) VV_i[t : t + D]    E = softmax(X W_1 (X W_2)' / sqrt(S)) X W_3
    r_ui = mu + b_u + b_i + P_u . Q_i + lambda_im P~_u . z_ui + lambda_ex E_u . E_i

Shapes: B pairs, G and H codes of users and of items, D and E embedding of users and of items, S self-attention, T cells of the
matrix, U users, I items, C code.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import Inputs, Sizes
from attlas.data.observed import Observed, Side
from attlas.errors import ConfigError
from attlas.models.layers import DESCENT_BYTES, embedding
from attlas.models.matrix_attention import Matrix, MatrixAttention
from attlas.models.slide_attention import SlideAttention
from attlas.ops.factors import factorise
from attlas.ops.gram import pair_products, residuals
from attlas.spaces import Choice, Space, Span

SIDES: tuple[Side, Side] = ("user", "item")
NMF_STEPS = 50


class AIMF(nn.Module):
    """Biased matrix factorisation, plus slide-attention of user on item, plus self-attention among users and among items."""

    task: ClassVar[Literal["rating"]] = "rating"
    compared_by: ClassVar[str] = "item_embedding"

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters, and what it leaves open.

        Attributes:
            embedding_dim: E, the size of an item's features, and of a user's where ``user_dim`` does not say otherwise.
            user_dim: D, the size of a user's features; at most E.
            implicit: lambda_im, what slide-attention counts; 0 switches it off.
            explicit: lambda_ex, what self-attention counts; 0 switches it off.
            value: what becomes of a window's logit: ``slide`` weighs windows of the value by the softmax over shifts; ``gate``
                weighs the value's single entries by it; ``raw`` weighs windows by the logit itself. Two are degenerate and
                there for comparison: ``literal``, the sum of logits times the value, which knows no more of a user than
                the sum of the query; and ``unslid``, in which the weights sum to 1 and say nothing.
            is_scaled: whether logits are divided by sqrt(D).
            correlation: how all windows are multiplied at once: by ``fft`` or by ``windows``; equal but for the rounding.
            projection: ``right`` multiplies D x D matrices to the features; ``left`` U x U and I x I ones, for small data.
            depth: layers of each side's perceptron; 0 leaves the features as they are.
            attention_dim: S, of self-attention.
            neighbours: how many users, and how many items, self-attention looks at: those with the most ratings; None means
                all.
            adds_own: whether what self-attention finds is added to the row's own value, or stands for it.
            centre: what is taken off each rating before self-attention reads it: the ``mean``, or the biases too.
            row_sum: whether a row of the matrix is projected by the ``sum`` over its ratings, or by that over the ``sqrt`` of
                their number.
            cold: a user or an item without ratings adds its ``bias`` alone, or what the ``parts`` make of nothing.
            start: whether the features begin with the directions of non-negative factors, ``nmf``, or at ``random``.
            stddev: spread of a vector's length at the start, about; biases start at zero.
            l2: penalty on both vectors and both biases of every rating.
            weight_l2: penalty on all weights, once for all ratings together.
        """

        embedding_dim: int = Field(default=32, ge=1)
        user_dim: int | None = Field(default=None, ge=1)
        implicit: float = Field(default=0.1, ge=0)
        explicit: float = Field(default=1.0, ge=0)
        value: Literal["slide", "gate", "raw", "literal", "unslid"] = "slide"
        is_scaled: bool = True
        correlation: Literal["fft", "windows"] = "fft"
        projection: Literal["right", "left"] = "right"
        depth: int = Field(default=0, ge=0)
        attention_dim: int = Field(default=16, ge=1)
        neighbours: int | None = Field(default=512, ge=1)
        adds_own: bool = True
        centre: Literal["mean", "bias"] = "mean"
        row_sum: Literal["sum", "sqrt"] = "sqrt"
        cold: Literal["bias", "parts"] = "bias"
        start: Literal["nmf", "random"] = "nmf"
        stddev: float = Field(default=0.1, gt=0)
        l2: float = Field(default=0.05, ge=0)
        weight_l2: float = Field(default=4.0, ge=0)

        def __post_init__(self) -> None:
            if self.dim > self.embedding_dim:
                raise ConfigError(
                    f"user_dim = {self.dim} is more than embedding_dim = {self.embedding_dim}; expected at most that"
                )
            if self.dim < self.embedding_dim and self.value not in ("slide", "raw"):
                raise ConfigError(
                    f"value = {self.value!r} gives a vector as long as an item's, {self.embedding_dim}, and a user's has "
                    f"user_dim = {self.dim}; choose slide or raw, or leave user_dim out"
                )

        @property
        def dim(self) -> int:
            """D, the size of a user's features."""
            return self.user_dim or self.embedding_dim

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((8, 16, 32, 64)),
        "model.implicit": Choice((0.0, 0.1, 0.3, 0.5, 1.0)),
        "model.explicit": Choice((0.0, 0.1, 0.3, 0.5, 1.0)),
        "model.l2": Span(0.005, 0.2, log=True),
        "model.weight_l2": Span(0.3, 30.0, log=True),
        "solver.learning_rate": Span(0.0005, 0.01, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or AIMF.Config()
        user_dim, item_dim = config.dim, config.embedding_dim
        users, items = sizes.num_users, sizes.num_items
        self.user_embedding = embedding(users, user_dim, stddev=config.stddev / user_dim**0.5)
        self.item_embedding = embedding(items, item_dim, stddev=config.stddev / user_dim**0.5)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.item_bias.weight)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()))
        if config.implicit:
            read: dict[str, Any] = {
                name: getattr(config, name) for name in ("value", "is_scaled", "correlation", "projection", "depth")
            }
            self.slide = SlideAttention(users, items, user_dim, item_dim, **read)
        if config.explicit:
            told: dict[str, Any] = {name: getattr(config, name) for name in ("neighbours", "adds_own", "row_sum")}
            told["stddev"] = config.stddev / config.attention_dim**0.5
            self.user_attention = MatrixAttention(items, config.attention_dim, **told)
            self.item_attention = MatrixAttention(users, config.attention_dim, **told)

    def forward(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """The rating of each pair, [B]; what users and items are made of is made once for each."""
        user_G, user_row_B = torch.unique(user, return_inverse=True)
        item_H, item_row_B = torch.unique(item, return_inverse=True)
        matrix = self.centred(observed)
        codes = self._user_code(user_G, observed, matrix), self._item_code(item_H, observed, matrix)
        return self.match_pairs(codes[0], user_row_B, codes[1], item_row_B)

    def encode_user(self, user: Tensor, observed: Observed) -> Tensor:
        """(P_u, lambda_ex E_u, mu + b_u, 1), then (P~_u, QQ_u / sqrt(D)), side by side, [B, C]."""
        return self._user_code(user, observed, self.centred(observed))

    def encode_item(self, item: Tensor, observed: Observed) -> Tensor:
        """(Q_i, E_i, 1, b_i), then (VV_i, KK_i), side by side, [B, C]; of Q_i as many entries as P_u has."""
        return self._item_code(item, observed, self.centred(observed))

    def _user_code(self, user: Tensor, observed: Observed, matrix: Matrix) -> Tensor:
        bias_B1, count_U = self.user_bias(user), observed.count("user")
        parts = [self.user_embedding(user), self.mean + bias_B1, torch.ones_like(bias_B1)]
        is_known_B1 = self._is_known(user, count_U)
        if self.config.explicit:
            parts.insert(1, self.config.explicit * is_known_B1 * self.user_attention(matrix, count_U, user))
        if self.config.implicit:
            deep_BD, query_BD = self.slide.user_code(self.user_embedding.weight, user)
            parts += [is_known_B1 * deep_BD, query_BD]
        return torch.cat(parts, dim=-1)

    def _item_code(self, item: Tensor, observed: Observed, matrix: Matrix) -> Tensor:
        bias_B1, count_I = self.item_bias(item), observed.count("item")
        parts = [self.item_embedding(item)[:, : self.config.dim], torch.ones_like(bias_B1), bias_B1]
        is_known_B1 = self._is_known(item, count_I)
        if self.config.explicit:
            parts.insert(1, is_known_B1 * self.item_attention(matrix.transposed, count_I, item))
        if self.config.implicit:
            value_BE, key_BE = self.slide.item_code(self.item_embedding.weight, item)
            parts += [is_known_B1 * value_BE, key_BE]
        return torch.cat(parts, dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """The rating of each pair of codes; leading dimensions broadcast."""
        shape = torch.broadcast_shapes(user_code.shape[:-1], item_code.shape[:-1])
        rows = [
            torch.arange(code[..., 0].numel(), device=code.device).view(code.shape[:-1]).expand(shape).reshape(-1)
            for code in (user_code, item_code)
        ]
        return self.match_pairs(user_code.flatten(0, -2), rows[0], item_code.flatten(0, -2), rows[1]).view(shape)

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """The rating of a row of user codes [G, C] and one of item codes [H, C] for each pair, [B]."""
        plain = self.plain
        score_B = pair_products(user_code[:, :plain], item_code[:, :plain], user_row, item_row)
        if not self.config.implicit:
            return score_B
        part_BE = self.slide(user_code[:, plain:], user_row, item_code[:, plain:], item_row)
        return score_B + self.config.implicit * part_BE.sum(-1)

    @property
    def plain(self) -> int:
        """How many columns of the codes are for the inner product: biases, features and self-attention."""
        return self.config.dim + 2 + (self.config.attention_dim if self.config.explicit else 0)

    def _is_known(self, index_B: Tensor, count_G: Tensor) -> Tensor:
        """1 for who has a rating that may be read, 0 for who has none, [B, 1]."""
        has_any_B = count_G[index_B] > 0 if self.config.cold == "bias" else torch.ones_like(index_B)
        return has_any_B.to(self.mean.dtype)[:, None]

    def centred(self, observed: Observed) -> Matrix:
        """Rc: what self-attention reads of each cell, zero where it is hidden."""
        offsets = [table.weight.detach()[:, 0] for table in (self.user_bias, self.item_bias)]
        if self.config.centre == "mean":
            offsets = [torch.zeros_like(offset) for offset in offsets]
        made = []
        for side, (own, other) in zip(SIDES, (offsets, offsets[::-1]), strict=True):
            value_T = residuals(observed.lists(side), observed.values(side), self.mean + own, other)
            made.append((observed.lists(side), observed.without_hidden(value_T, side)))
        return Matrix(*made)

    def shifts(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """What each cyclic shift of the item's features adds to the rating, [B, E].

        Under readings that do not slide, what each entry adds, or all of it at once, [B, 1].
        """
        if not self.config.implicit:
            return self.mean.new_zeros(len(user), 1)
        each_B = torch.arange(len(user), device=user.device)
        codes = self.encode_user(user, observed)[:, self.plain :], self.encode_item(item, observed)[:, self.plain :]
        return self.config.implicit * self.slide(codes[0], each_B, codes[1], each_B)

    def _heard(self, user: Tensor, item: Tensor, observed: Observed) -> tuple[Matrix, Tensor, Tensor]:
        """Rc, by how much each pair's user hears each user, [B, U], and what W_3 E_i makes of their rows, [B, S]."""
        matrix, count_U, count_I = self.centred(observed), observed.count("user"), observed.count("item")
        found_BS = self._is_known(item, count_I) * self.item_attention(matrix.transposed, count_I, item)
        weight_BU = self._is_known(user, count_U) * self.user_attention.weights(matrix, count_U, user)
        return matrix, self.config.explicit * weight_BU, found_BS @ self.user_attention.value.T

    def neighbours(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """What the ratings of each user add to the rating of each pair by self-attention, the asker's own included, [B, U]."""
        if not self.config.explicit:
            return self.mean.new_zeros(len(user), len(self.user_bias.weight))
        matrix, weight_BU, word_BS = self._heard(user, item, observed)
        return weight_BU * (word_BS @ self.user_attention.project(matrix, observed.count("user")).T)

    def ratings(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """What each rating adds to that of the one pair by self-attention among users, [T] in the order of ``by_user``."""
        ((lists, value_T), _), weight_1U, word_1S = self._heard(user, item, observed)
        weight_U = weight_1U[0] * self.user_attention.row_scale(observed.count("user"))
        word_I = self.user_attention.projection.weight @ word_1S[0]
        return weight_U[lists.owner] * value_T * word_I[lists.index]

    def penalise(self, user: Tensor, item: Tensor, observed: Observed) -> Tensor:
        """l2 (|P_u|^2 + |Q_i|^2 + b_u^2 + b_i^2), the mean over the batch's ratings, and weight_l2 / N times all weights'."""
        squares = sum((weight.square().sum() for weight in self.parameters()), self.mean.new_zeros(()))
        total = self.config.weight_l2 / max(len(observed.user_value), 1) * squares
        for index_B, side in zip((user, item), SIDES, strict=True):
            square_G = sum(getattr(self, f"{side}_{name}").weight.square().sum(-1) for name in ("embedding", "bias"))
            total = total + self.config.l2 * square_G.index_select(0, index_B).mean()
        return total

    @torch.no_grad()
    def begin(self, data: Inputs) -> None:
        """mu is the mean of the training ratings; features begin with non-negative factors, and at zero without ratings."""
        if data.train.rating is None:
            raise ConfigError("aimf learns from ratings, and these data have none; name their column with --rating")
        self.mean.fill_(float(data.train.rating.mean()))
        tables = self.user_embedding.weight, self.item_embedding.weight[:, : self.config.dim]
        factors: tuple[Tensor, ...] = tables
        if self.config.start == "nmf":
            factors = factorise(
                tables[0].abs(), tables[1].abs(), data.observed.by_user, data.observed.user_value, steps=NMF_STEPS
            )
        for table, factor, side in zip(tables, factors, SIDES, strict=True):
            is_known = data.observed.count(side) > 0
            if self.config.start == "nmf":
                table.copy_(_directions(factor, is_known) * self.config.stddev / self.config.dim**0.5)
            table[~is_known] = 0.0

    @staticmethod
    def memory(sizes: Sizes, config: AIMF.Config) -> dict[str, int]:
        """Parameters, their gradients, two moments and best values, and what a batch that asks for everybody makes."""
        users, items = sizes.num_users, sizes.num_items
        left = users**2 + 2 * items**2 if config.projection == "left" and config.implicit else 0
        width = config.embedding_dim + 1 + config.attention_dim
        return {
            "parameters, gradients, moments, best values": DESCENT_BYTES * ((users + items) * width + left + 64 * width**2),
            "features, projections and codes": 4 * (users + items) * 12 * width,
        }


def _directions(factor_GD: Tensor, is_known_G: Tensor) -> Tensor:
    """Factors with a mean of 0 in each column and a spread of 1 over all, by the known rows."""
    centred_GD = factor_GD - factor_GD[is_known_G].mean(0)
    return centred_GD / centred_GD[is_known_G].std().clamp(min=1e-6)
