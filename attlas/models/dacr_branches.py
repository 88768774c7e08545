"""The two branches of DACR from the sums on; symbols and shapes as in ``dacr.py``.

Shapes beside those: V users, I items, H first layer of the tower.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from attlas.models.layers import linear
from attlas.ops.gates import gated_products, ready_gates


class Side(nn.Module):
    """ARL for the user or for the item: a gate over the dimensions of a sum, and a tower on the sum without and with it."""

    def __init__(self, config: Any):
        super().__init__()
        dim = config.representation_dim
        self.gate, self.scale = linear(dim, dim), dim if config.scale_gate else 1
        self.tower = config.tower(2 * dim, config.representation_layers)

    def forward(self, sum_BM: Tensor) -> tuple[Tensor, ...]:
        """tower([a0; alpha a0]), [B, K]: all that there is to this code."""
        first = self.tower.first
        of_sum, of_gated = first.weight.split(sum_BM.shape[-1], dim=1)
        gated_BM = self.weights(sum_BM) * sum_BM
        first_BH = functional.linear(sum_BM, of_sum, first.bias) + functional.linear(gated_BM, of_gated)
        return (self.tower.above_first(first_BH),)

    def weights(self, sum_BM: Tensor) -> Tensor:
        """alpha = softmax(a0 W + b) over the dimensions, [B, M]; M times that where the gate is scaled."""
        return self.gate(sum_BM).softmax(-1) * self.scale


class Representation(nn.Module):
    """ARL from the sums on: each side has a code of its own, and their product is weighed."""

    def __init__(self, config: Any):
        super().__init__()
        self.encode_user, self.encode_item = Side(config), Side(config)
        self.dim, self.last = config.representation_dim, config.representation_layers[-1]
        self.parts = (self.last,)

    def forward(self, user: tuple[Tensor, ...], item: tuple[Tensor, ...], weight_K: Tensor) -> Tensor:
        """(p_u * q_i) . w; leading dimensions broadcast."""
        (user_code,), (item_code,) = user, item
        if user_code.shape == item_code.shape:
            return (user_code * item_code) @ weight_K
        return torch.einsum("...k,...k->...", user_code * weight_K, item_code)  # a catalogue as one matrix product

    def make_ready(self, item: tuple[Tensor, ...]) -> Tensor:
        """Nothing is left to be made, [I, 0]."""
        return item[0][:, :0]

    def score_ready(self, user: tuple[Tensor, ...], item: tuple[Tensor, ...], ready: Tensor, weight_K: Tensor) -> Tensor:
        """``forward`` of every user with every item, [V, I]."""
        return self((user[0][:, None],), (item[0][None],), weight_K)


class Matching(nn.Module):
    """AML from the sums on: one gate over the dimensions of both sides, and a tower on the sums without and with it.

    A code is a sum, its share of the gate's logits and its share of the tower's first layer; what the gate has touched is left.
    """

    def __init__(self, config: Any):
        super().__init__()
        self.dim, self.last = config.matching_dim, config.matching_layers[-1]
        self.gate, self.scale = linear(2 * self.dim, 2 * self.dim), 2 * self.dim if config.scale_gate else 1
        self.tower = config.tower(4 * self.dim, config.matching_layers)
        self.parts = (self.dim, 2 * self.dim, config.matching_layers[0])

    def encode_user(self, sum_BH: Tensor) -> tuple[Tensor, ...]:
        """P_u, its logits P_u Wm[:h] + bm, and P_u T1[:h] + c1, [B, H], [B, 2H] and [B, first layer]."""
        gate, first = self.gate, self.tower.first
        logit_BH = functional.linear(sum_BH, gate.weight[:, : self.dim], gate.bias)
        return sum_BH, logit_BH, functional.linear(sum_BH, first.weight[:, : self.dim], first.bias)

    def encode_item(self, sum_BH: Tensor) -> tuple[Tensor, ...]:
        """Q_i, its logits Q_i Wm[h:], and Q_i T1[h:2h], [B, H], [B, 2H] and [B, first layer]."""
        logit_BH = functional.linear(sum_BH, self.gate.weight[:, self.dim :])
        return sum_BH, logit_BH, functional.linear(sum_BH, self.tower.first.weight[:, self.dim : 2 * self.dim])

    def forward(self, user: tuple[Tensor, ...], item: tuple[Tensor, ...], weight_K: Tensor) -> Tensor:
        """tower([x; alpha x]) . w for x = [P_u; Q_i]; leading dimensions broadcast."""
        return self.last_layer(user, item) @ weight_K

    def last_layer(self, user: tuple[Tensor, ...], item: tuple[Tensor, ...]) -> Tensor:
        """tower([x; alpha x]), [..., K]."""
        (user_sum, user_logit, user_first), (item_sum, item_logit, item_first) = user, item
        user_weight, item_weight = self.weights(user_logit + item_logit).split(self.dim, -1)
        *_, of_user, of_item = self.tower.first.weight.split(self.dim, dim=1)
        gated_first = functional.linear(user_weight * user_sum, of_user) + functional.linear(item_weight * item_sum, of_item)
        return self.tower.above_first(gated_first + user_first + item_first)

    def make_ready(self, item: tuple[Tensor, ...]) -> Tensor:
        """What of the gates is the item's alone, [I, 3H]."""
        item_sum, item_logit, _ = item
        return ready_gates(item_logit, item_sum)

    def score_ready(self, user: tuple[Tensor, ...], item: tuple[Tensor, ...], ready: Tensor, weight_K: Tensor) -> Tensor:
        """``forward`` of every user with every item, [V, I]."""
        (user_sum, user_logit, user_first), (item_sum, item_logit, item_first) = user, item
        gated_weight = self.tower.first.weight[:, 2 * self.dim :] * self.scale
        gated_first = gated_products(user_logit, user_sum, item_logit, item_sum, gated_weight, ready)
        return self.tower.above_first(gated_first.add_(user_first[:, None]).add_(item_first)) @ weight_K

    def weights(self, logit: Tensor) -> Tensor:
        """alpha = softmax(x Wm + bm) over the dimensions of both sides, [..., 2H]; 2H times that where the gate is scaled."""
        return logit.softmax(-1) * self.scale
