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

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.errors import ConfigError
from attlas.models.dacr_branches import Matching, Representation
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

    def make_ready(self, item_code: Tensor) -> Tensor:
        """What serves every user beside the codes, [I, R]; see ``ops/gates.py``."""
        parts = zip(self._each("make_ready"), self._taken_apart(item_code), strict=True)
        return torch.cat([make_ready(item) for make_ready, item in parts], dim=-1)

    def match_ready(self, user_code: Tensor, item_code: Tensor, ready: Tensor) -> Tensor:
        """``match`` of every user with every item, [V, I]."""
        weights = self.prediction.weight[0].split(self._each("last"))
        codes = self._taken_apart(user_code), self._taken_apart(item_code)
        parts = zip(self._each("score_ready"), *codes, weights, strict=True)
        logit_VI = sum(score_ready(user, item, ready, weight) for score_ready, user, item, weight in parts)
        return logit_VI if self.prediction.bias is None else logit_VI + self.prediction.bias

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
