"""DACR: two views of histories, each with a gate over its dimensions (Cui, Qin and Ren, Applied Sciences 2022).

paper               here                                      shape
W0u, W0i            user_encoder, item_encoder: M columns     I x M, U x M    a row for each item, for each user of a history
P, Q                the same: the other H columns             I x H, U x H
Wu, bu, tower_u     Representation.encode_user                M x M, M, 2M -> K
Wi, bi, tower_i     Representation.encode_item                M x M, M, 2M -> K
Wm, bm, tower_m     Matching                                  2H x 2H, 2H, 4H -> K
w                   prediction                                2K; K for a branch alone

Shapes: B pairs, M and H columns of the sums that the branches read, K last layer.
"""

from __future__ import annotations

from itertools import chain, islice, pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.errors import ConfigError
from attlas.models.layers import DESCENT_BYTES, HistorySum, Tower, linear
from attlas.spaces import Choice, Space, Span

STRICT, SIZES = ConfigDict(extra="forbid"), Choice((32, 64, 128))
SCORING = ("pooling", "encoder_bias", "scale_gate", "layer_norm", "output_bias")  # what bears on a score beside sizes
SEARCHED: Space = {
    "solver.learning_rate": Span(0.0003, 0.01, log=True),
    "solver.negatives": Choice((3, 4, 6)),
    "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
    "model.dropout": Choice((0.0, 0.2, 0.5)),
}


@dataclass(frozen=True, config=STRICT)
class Shared:
    """What can be set in both branches.

    Attributes:
        leave_out: what training takes out of histories; see ``Inputs.gather``.
        pooling: ``sum``, the paper's; ``sqrt`` divides it by the square root of the history's length.
        encoder_bias: add a bias to the sums.
        scale_gate: multiply a gate by the number of its dimensions, so that it weighs 1 on average.
        layer_norm: normalise layers before their ReLU.
        dropout: the share of each layer that training drops.
        output_bias: add a bias to the logit.
        stddev: spread of the tables at the start.
    """

    leave_out: LeaveOut = "matched"
    pooling: Literal["sum", "sqrt"] = "sum"
    encoder_bias: bool = False
    scale_gate: bool = False
    layer_norm: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    output_bias: bool = True
    stddev: float = Field(default=0.01, gt=0)

    def tower(self, inputs: int, layers: tuple[int, ...]) -> Tower:
        """A perceptron with ReLU after every layer."""
        return Tower(inputs, layers, layer_norm=self.layer_norm, dropout=self.dropout)


class Side(nn.Module):
    """ARL for the user or for the item: a gate over the dimensions of a sum, and a tower on the sum without and with it."""

    def __init__(self, config: ARL.Config):
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

    def __init__(self, config: ARL.Config):
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


class Matching(nn.Module):
    """AML from the sums on: one gate over the dimensions of both sides, and a tower on the sums without and with it.

    A code is a sum, its share of the gate's logits and its share of the tower's first layer; what the gate has touched is left.
    """

    def __init__(self, config: AML.Config):
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

    def weights(self, logit: Tensor) -> Tensor:
        """alpha = softmax(x Wm + bm) over the dimensions of both sides, [..., 2H]; 2H times that where the gate is scaled."""
        return logit.softmax(-1) * self.scale


class Gated(nn.Module):
    """What ARL, AML and DACR share: sums of both histories, cut into what each branch reads, and the weight of each branch."""

    Config: ClassVar[Any]
    kinds: ClassVar[dict[str, type[nn.Module]]]

    def __init__(self, sizes: Sizes, config: Any = None):
        super().__init__()
        self.config = config = config or self.Config()
        self.branches = nn.ModuleDict({name: kind(config) for name, kind in self.kinds.items()})
        self.shares_sums, dims = getattr(config, "share_sums", False), self._each("dim")
        width = max(dims) if self.shares_sums else sum(dims)
        if self.shares_sums and width > min(dims):
            raise ConfigError(f"with share_sums both branches read sums of one size; got {' and '.join(map(str, dims))}")
        options = {"stddev": config.stddev, "bias": config.encoder_bias, "pooling": config.pooling}
        self.user_encoder = HistorySum(sizes.num_items, width, **options)
        self.item_encoder = HistorySum(sizes.num_users, width, **options)
        self.prediction = linear(sum(self._each("last")), 1, bias=config.output_bias)

    def _each(self, name: str) -> list[Any]:
        return [getattr(branch, name) for branch in self.branches.values()]

    def forward(self, user_history: History, item_history: History) -> Tensor:
        """The logit of each pair, [B]."""
        return self._weighed(self._of_user(user_history), self._of_item(item_history))

    def encode_user(self, user_history: History) -> Tensor:
        """What each branch makes of the user, side by side, [B, C]."""
        return torch.cat([*chain(*self._of_user(user_history))], dim=-1)

    def encode_item(self, item_history: History) -> Tensor:
        """What each branch makes of the item, side by side, [B, C]."""
        return torch.cat([*chain(*self._of_item(item_history))], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . [a_rl; a_ml] + b; leading dimensions broadcast."""
        return self._weighed(self._taken_apart(user_code), self._taken_apart(item_code))

    def _of_user(self, history: History) -> list[tuple[Tensor, ...]]:
        """What each branch makes of the user, in its parts."""
        return self._encoded(self._each("encode_user"), self.user_encoder(history))

    def _of_item(self, history: History) -> list[tuple[Tensor, ...]]:
        return self._encoded(self._each("encode_item"), self.item_encoder(history))

    def _encoded(self, encoders: list[Any], sum_BD: Tensor) -> list[tuple[Tensor, ...]]:
        read = [sum_BD] * len(encoders) if self.shares_sums else sum_BD.split(self._each("dim"), -1)
        return [encode(sums) for encode, sums in zip(encoders, read, strict=True)]

    def _taken_apart(self, code: Tensor) -> list[tuple[Tensor, ...]]:
        parts = self._each("parts")
        each = iter(code.split([*chain(*parts)], -1))
        return [tuple(islice(each, len(own))) for own in parts]

    def _weighed(self, user: list[tuple[Tensor, ...]], item: list[tuple[Tensor, ...]]) -> Tensor:
        weights = self.prediction.weight[0].split(self._each("last"))
        branches = zip(self.branches.values(), user, item, weights, strict=True)
        logit = sum(branch(one, other, weight) for branch, one, other, weight in branches)
        return logit if self.prediction.bias is None else logit + self.prediction.bias

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Two tables and all layers, each with its gradient, two moments and the best so far."""
        m, of_m = getattr(config, "representation_dim", 0), getattr(config, "representation_layers", ())
        h, of_h = getattr(config, "matching_dim", 0), getattr(config, "matching_layers", ())
        gates = ((m, of_m), (m, of_m), (2 * h, of_h))
        layers = sum(d * d + sum(a * b for a, b in pairwise((2 * d, *above))) for d, above in gates)
        floats = (sizes.num_users + sizes.num_items) * (m + h) + layers
        return {"weights, gradients, moments and best values": DESCENT_BYTES * floats}


class ARL(Gated):
    """The representation branch alone, a model by itself: the product of two codes, each from a tower of its own."""

    @dataclass(frozen=True, config=STRICT)
    class Config(Shared):
        """Where paper, code and notes leave a choice.

        Attributes:
            representation_dim: M, the size of the sums that ARL reads.
            representation_layers: of each tower of ARL; the last is K, the size of the vectors that are multiplied.
        """

        representation_dim: int = Field(default=64, ge=1)
        representation_layers: tuple[PositiveInt, ...] = Field(default=(64,), min_length=1)

    search_space: ClassVar[Space] = {"model.representation_dim": SIZES, **SEARCHED}
    kinds: ClassVar = {"representation": Representation}


class AML(Gated):
    """The matching branch alone, a model by itself: a perceptron on both sums."""

    @dataclass(frozen=True, config=STRICT)
    class Config(Shared):
        """Where paper, code and notes leave a choice.

        Attributes:
            matching_dim: H, the size of the sums that AML reads.
            matching_layers: of the tower of AML; the last is its K.
        """

        matching_dim: int = Field(default=64, ge=1)
        matching_layers: tuple[PositiveInt, ...] = Field(default=(128, 64), min_length=1)

    search_space: ClassVar[Space] = {"model.matching_dim": SIZES, **SEARCHED}
    kinds: ClassVar = {"matching": Matching}


class DACR(Gated):
    """Both branches, their last layers weighed together."""

    @dataclass(frozen=True, config=STRICT)
    class Config(AML.Config, ARL.Config):
        """Where paper, code and notes leave a choice.

        Attributes:
            share_sums: let both branches read the same sums, which then have one size.
        """

        share_sums: bool = False

    search_space: ClassVar[Space] = {"model.representation_dim": SIZES, "model.matching_dim": SIZES, **SEARCHED}
    kinds: ClassVar = {"representation": Representation, "matching": Matching}

    def fuse(self, *parts: nn.Module) -> None:
        """Start from an ARL and an AML trained alone: w = [w_arl; w_aml] / 2, so that it says the mean of theirs.

        Raises:
            ConfigError: they are not these two, or not set as this model is, or it shares sums.
        """
        if [type(part) for part in parts] != [ARL, AML]:
            raise ConfigError(f"DACR starts from ARL and AML, in this order; got {[type(part).__name__ for part in parts]}")
        if self.config.share_sums:
            raise ConfigError("a DACR that shares sums has one table where ARL and AML have two; set share_sums = false")
        unlike = [name for name in SCORING if len({getattr(model.config, name) for model in (self, *parts)}) > 1]
        if unlike:
            raise ConfigError(f"DACR, ARL and AML differ in {', '.join(unlike)}; set them alike")
        one, other = (part.state_dict() for part in parts)
        state = one | other | {name: torch.cat([one[name], other[name]], dim=-1) for name in one if name in other}
        state["prediction.weight"] /= 2
        if self.config.output_bias:
            state["prediction.bias"] = (one["prediction.bias"] + other["prediction.bias"]) / 2
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise ConfigError(f"ARL and AML are of other sizes than DACR; give all three the same settings: {error}") from error
