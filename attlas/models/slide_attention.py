"""Slide-attention: a user's query at every cyclic window of an item's key, in every reading of what becomes of the scores.

    QQ = P~ W_Q    KK = Q~ W_K    VV = Q~ W_V        P~ = P + MLP(P), and Q~ likewise with weights of its own
    a(t) = QQ . KK[t : t + D], cyclic                o = softmax over t of a / sqrt(D)
    P~ . z = sum over t of o(t) (P~ . VV[t : t + D])

The sum over windows is made without the windows: two circular correlations and an inner product.

Shapes: B pairs, G and H codes of users and of items, D and E features of users and of items, U users, I items.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from attlas.models.layers import linear
from attlas.ops.correlation import correlate_by_fft, correlate_by_windows
from attlas.ops.gram import pair_products

Value = Literal["slide", "gate", "raw", "literal", "unslid"]
CORRELATIONS = {"fft": correlate_by_fft, "windows": correlate_by_windows}


class SlideAttention(nn.Module):
    """How well a user goes with an item by a soft choice of the shift between their features.

    Args:
        users, items: how many there are of each.
        user_dim, item_dim: D and E.
        value: the reading.
        is_scaled: whether scores are divided by sqrt(D).
        correlation: how all windows are multiplied at once.
        projection: ``right`` mixes features, ``left`` rows.
        depth: of each side's perceptron.
    """

    def __init__(
        self,
        users: int,
        items: int,
        user_dim: int,
        item_dim: int,
        *,
        value: Value,
        is_scaled: bool,
        correlation: Literal["fft", "windows"],
        projection: Literal["right", "left"],
        depth: int,
    ):
        super().__init__()
        self.reading, self.correlation, self.is_left = value, correlation, projection == "left"
        self.scale = user_dim**-0.5 if is_scaled else 1.0
        self.user_deep, self.item_deep = Deep(user_dim, depth), Deep(item_dim, depth)
        self.query = nn.Parameter(torch.eye(users if self.is_left else user_dim))
        self.key, self.value = (nn.Parameter(torch.eye(items if self.is_left else item_dim)) for _ in range(2))

    def user_code(self, table_UD: Tensor, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """P~_u and QQ_u / sqrt(D), [B, D] each."""
        deep_BD = self.user_deep(table_UD.index_select(0, index_B))
        every_UD = self.user_deep(table_UD) if self.is_left else None
        return deep_BD, self.scale * _projected(deep_BD, self.query, index_B, every_UD)

    def item_code(self, table_IE: Tensor, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """VV_i and KK_i, [B, E] each."""
        deep_BE = self.item_deep(table_IE.index_select(0, index_B))
        every_IE = self.item_deep(table_IE) if self.is_left else None
        return _projected(deep_BE, self.value, index_B, every_IE), _projected(deep_BE, self.key, index_B, every_IE)

    def forward(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """P~_u . z_ui of each pair, as a sum over shifts that is left to do, [B, E].

        Readings that do not slide sum over entries, ``gate``, or are one number, [B, 1].

        Args:
            user_code, item_code: the two parts of each code side by side, [G, 2 D] and [H, 2 E].
            user_row, item_row: the codes of each pair.
        """
        (deep_GD, query_GD), (value_HE, key_HE) = user_code.chunk(2, dim=-1), item_code.chunk(2, dim=-1)
        windows = CORRELATIONS[self.correlation]
        if self.reading == "unslid":
            return pair_products(deep_GD, value_HE, user_row, item_row)[:, None]
        logit_BE = windows(query_GD, user_row, key_HE, item_row)
        if self.reading == "literal":
            return logit_BE.sum(-1, keepdim=True) * pair_products(deep_GD, value_HE, user_row, item_row)[:, None]
        if self.reading == "gate":
            product_BE = deep_GD.index_select(0, user_row) * value_HE.index_select(0, item_row)
            return torch.softmax(logit_BE, dim=-1) * product_BE
        product_BE = windows(deep_GD, user_row, value_HE, item_row)
        return product_BE * (torch.softmax(logit_BE, dim=-1) if self.reading == "slide" else logit_BE)


def _projected(deep_BD: Tensor, weight: Tensor, index_B: Tensor, every_GD: Tensor | None) -> Tensor:
    """Features times a matrix of their own size; with those of every row, a mixture of them for each that is asked for."""
    return deep_BD @ weight if every_GD is None else weight.index_select(0, index_B) @ every_GD


class Deep(nn.Module):
    """Features plus a perceptron on them, whose last layer begins at zero and has no ReLU, which would keep it there.

    Args:
        dim: the size of the features and of every layer.
        depth: how many layers; 0 leaves the features as they are.
    """

    def __init__(self, dim: int, depth: int):
        super().__init__()
        layers = [linear(dim, dim) for _ in range(depth)]
        for layer in layers[-1:]:
            nn.init.zeros_(layer.weight)
        self.layers = nn.ModuleList(layers)

    def forward(self, vector_BD: Tensor) -> Tensor:
        """P + (.. ReLU(P H_1 + c_1) ..) H_L + c_L, [B, D]."""
        hidden_BD = vector_BD
        for place, layer in enumerate(self.layers):
            hidden_BD = layer(hidden_BD.relu() if place else hidden_BD)
        return vector_BD + hidden_BD if self.layers else vector_BD
