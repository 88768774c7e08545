"""DRNet: the user's relation to the item, and the item's to what the user chose (Ji, Xiang and Li, IEEE Access 2020).

paper          here                             shape
u_u, v_i       user_embedding, item_embedding   [B, D]     affection: who they are
A              affection                        D to K     the tower of affection; z_aff is its last layer
q_j, p_i       history_item, target_item        [B, D']    association: an item as part of a history, and as its target
f(u, j)        key . query                      [T]        the key of an entry is the affection of its user and item
x_u            summary                          [B, D']    the history, by smoothed softmax of f, the target left out
B              association                      D' to K'   the tower of association; z_asso is its last layer
h, w           query, prediction                K, K + K'
beta           smoothing

Shapes: B pairs, G histories, T entries of them, E distinct items in them, D and D' embedding, K and K' last layers, C code.

Either half is a model by itself. The article was not at hand; what follows what evidence stands in docs/papers/drnet.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.errors import ConfigError
from attlas.models.layers import DESCENT_BYTES, asked_only, embedding, judge_in_parts, linear
from attlas.ops.entries import attentive_sum_of_entries
from attlas.ops.ragged import Ragged
from attlas.ops.segments import segment_softmax
from attlas.spaces import Choice, Space, Span


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Shared:
    """What can be set in both relations.

    Attributes:
        embedding_dim: D, the size of the two tables of affection.
        layers: sizes of its tower's layers.
        inputs: what a tower reads of two vectors: their product, or both side by side as in the public code.
        bias: whether the output has one.
        dropout: share of each layer's units that training silences.
        layer_norm: whether each layer is normalised before its ReLU.
        stddev: spread of the embeddings and of the query at the start.
    """

    embedding_dim: int = Field(default=32, ge=1)
    layers: tuple[PositiveInt, ...] = Field(default=(64, 32), min_length=1)
    inputs: Literal["product", "concatenation"] = "product"
    bias: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    layer_norm: bool = False
    stddev: float = Field(default=0.01, gt=0)


class Association(nn.Module):
    """The item's relation to what the user chose: of affection, only the keys of the attention."""

    user_tables: tuple[str, ...] = ("user_embedding",)
    group_by: ClassVar[Literal["pair", "user", "item"]] = "user"
    key_parts: tuple[str, str, str] = ("user_embedding", "item_embedding", "affection")
    has_keys: Tensor

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config(Shared):
        """The paper's hyper-parameters.

        Attributes:
            association_dim: D', the size of the two tables of association; by default D.
            association_layers: sizes of its tower's layers; by default those of affection.
            keys: from affection that attention trains, that it leaves alone, or that was trained before; see ``fuse``.
            smoothing: exponent on the attention's denominator; 1 is a softmax, below it long histories count for more.
            leave_out: what training takes out of histories; see ``Inputs.gather``.
        """

        association_dim: PositiveInt | None = None
        association_layers: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)
        keys: Literal["joint", "detach", "pretrained"] = "joint"
        smoothing: float = Field(default=0.5, gt=0, le=1)
        leave_out: LeaveOut = "matched"

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64)),
        "model.smoothing": Choice((0.5, 0.75, 1.0)),
        "solver.learning_rate": Span(0.0005, 0.01, log=True),
        "solver.learning_rate_decay": Span(0.7, 1.0),
        "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
        "solver.negatives": Choice((2, 4, 8)),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or Association.Config()
        dim, stddev = config.association_dim or config.embedding_dim, config.stddev
        self.user_embedding, self.item_embedding, self.affection = affection_parts(sizes, config)
        self.history_item, self.target_item = (embedding(sizes.num_items, dim, stddev=stddev) for _ in range(2))
        self.query = nn.Parameter(torch.empty(config.layers[-1]))
        nn.init.normal_(self.query, std=stddev)
        self.association = Relation(dim, config.association_layers or config.layers, config)
        self.prediction = linear(self.association.width, 1, bias=config.bias)
        if config.keys == "pretrained":
            self._await_keys(sizes)

    def _await_keys(self, sizes: Sizes) -> None:
        """Freeze what makes the keys; ``fuse`` fills it."""
        for name in self.key_parts:
            getattr(self, name).requires_grad_(False)
        getattr(self, self.key_parts[-1]).dropout = 0.0
        self.register_buffer("has_keys", torch.tensor(False))

    def fuse(self, *parts: nn.Module) -> None:
        """Let a trained affection network make the keys: for good where they are pretrained, elsewhere to begin with."""
        if [type(part) for part in parts] != [Affection]:
            given = " and ".join(type(part).__name__ for part in parts)
            raise ConfigError(f"{type(self).__name__} takes its keys from one run of affection; got {given}")
        affection: Any = parts[0]
        for setting in ("embedding_dim", "layers", "inputs", "layer_norm"):
            came, wanted = getattr(affection.config, setting), getattr(self.config, setting)
            if came != wanted:
                raise ConfigError(f"affection was trained with {setting} = {came!r}; got {wanted!r} here, make both equal")
        for name, source in zip(self.key_parts[:2], Association.key_parts[:2], strict=True):
            came, wanted = len(getattr(affection, source).weight), len(getattr(self, name).weight)
            if came != wanted:
                raise ConfigError(f"affection has {came:,} rows of {source}, this model {wanted:,}; train both on one data set")
        for name, source in zip(self.key_parts, Association.key_parts, strict=True):
            getattr(self, name).load_state_dict(getattr(affection, source).state_dict())
        if self.config.keys == "pretrained":
            self.has_keys.fill_(True)

    def begin(self, data: Any) -> None:
        """Refuse, by a ``ConfigError``, to train beside keys that nobody has given."""
        if self.config.keys == "pretrained" and not self.has_keys:
            raise ConfigError("keys = 'pretrained' came without any; name a run of affection in [training] start")

    def forward(self, user: Tensor, item: Tensor, user_history: History) -> Tensor:
        """The logit of each pair, [B]."""
        return self.match(self.encode_user(user, user_history), self.encode_item(item))

    def summarise(self, user: Tensor, user_history: History) -> Tensor:
        """x_u of each pair, its history without its own target, [B, D']; zeros for an empty one."""
        history = asked_only(user_history)
        value_ED, logit_T = self.history_item(history.distinct), self.keys(user, history) @ self.query
        asked = history.row, history.left_out
        return attentive_sum_of_entries(value_ED, logit_T, history.lists, *asked, smoothing=self.config.smoothing)

    def encode_user(self, user: Tensor, user_history: History) -> Tensor:
        """What of the tower B the summary x_u decides alone, [B, C]."""
        return self.association.encode_left(self.summarise(user, user_history))

    def encode_item(self, item: Tensor) -> Tensor:
        """What of the tower B the target p_i decides alone, [B, C]."""
        return self.association.encode_right(self.target_item(item))

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . B(x_u * p_i) from the codes; leading dimensions broadcast."""
        score: Tensor = self.prediction(self.association(user_code, item_code)).squeeze(-1)
        return score

    def keys(self, user: Tensor, history: History) -> Tensor:
        """z_aff(u, j) of each entry j of each list, whose user u is who asks for it, [T, K]."""
        users, items, relation = (getattr(self, name) for name in self.key_parts)
        user_G = user.new_zeros(history.count)
        user_G[history.row] = user
        left_GC, right_EC = relation.encode_left(users(user_G)), relation.encode_right(items(history.distinct))
        key_TK = judge_in_parts(relation, (left_GC, history.owner), (right_EC, history.index))
        return key_TK.detach() if self.config.keys == "detach" else key_TK

    def attention(self, user: Tensor, user_history: History) -> dict[str, Tensor]:
        """How much each entry of the history weighs, [T]; nothing in lists that nobody asks for."""
        lists, logit_T = user_history.lists, self.keys(user, user_history) @ self.query
        each_its_own = Ragged(lists.start, torch.arange(len(logit_T), device=logit_T.device), len(logit_T))
        weight_T = segment_softmax(logit_T, each_its_own, smoothing=self.config.smoothing)
        return {"user_history": weight_T * torch.isin(lists.owner, user_history.row)}

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Four tables, each with its gradient, two moments and the best so far."""
        rows = sizes.num_users + 3 * sizes.num_items
        widest = max(config.embedding_dim, config.association_dim or 0)
        return {"embedding tables, their gradients, moments and best values": DESCENT_BYTES * rows * widest}


class DRNet(Association):
    """Both relations: association beside the affection that makes its keys."""

    def __init__(self, sizes: Sizes, config: Association.Config | None = None):
        super().__init__(sizes, config)
        self.prediction = linear(self.affection.width + self.association.width, 1, bias=self.config.bias)

    def _await_keys(self, sizes: Sizes) -> None:
        self.key_user, self.key_item, self.key_relation = affection_parts(sizes, self.config)
        self.key_parts, self.user_tables = ("key_user", "key_item", "key_relation"), ("user_embedding", "key_user")
        super()._await_keys(sizes)

    def encode_user(self, user: Tensor, user_history: History) -> Tensor:
        """What u_u and x_u decide alone, [B, C]."""
        left_BC = self.affection.encode_left(self.user_embedding(user))
        return torch.cat([left_BC, super().encode_user(user, user_history)], dim=-1)

    def encode_item(self, item: Tensor) -> Tensor:
        """What v_i and p_i decide alone, [B, C]."""
        right_BC = self.affection.encode_right(self.item_embedding(item))
        return torch.cat([right_BC, super().encode_item(item)], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """w . (A(u_u * v_i) ++ B(x_u * p_i)) from the codes; leading dimensions broadcast."""
        widths = self.affection.code_dim, self.association.code_dim
        (user, summary), (item, target) = user_code.split(widths, -1), item_code.split(widths, -1)
        verdicts = self.affection(user, item), self.association(summary, target)
        score: Tensor = self.prediction(torch.cat(verdicts, dim=-1)).squeeze(-1)
        return score


class Affection(nn.Module):
    """The user's relation to the item alone: one tower over their two vectors."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding",)

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config(Shared):
        """What both relations have."""

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64)),
        "model.layers": Choice(((32, 16), (64, 32), (128, 64))),
        "solver.learning_rate": Span(0.0005, 0.01, log=True),
        "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
        "solver.negatives": Choice((2, 4, 8)),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or Affection.Config()
        self.user_embedding, self.item_embedding, self.affection = affection_parts(sizes, config)
        self.prediction = linear(self.affection.width, 1, bias=config.bias)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """w . A(u_u * v_i), the logit of each pair, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """What of the tower the user's vector decides alone, [B, C]."""
        return self.affection.encode_left(self.user_embedding(user))

    def encode_item(self, item: Tensor) -> Tensor:
        """What of the tower the item's vector decides alone, [B, C]."""
        return self.affection.encode_right(self.item_embedding(item))

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """The logit from the codes; leading dimensions broadcast."""
        score: Tensor = self.prediction(self.affection(user_code, item_code)).squeeze(-1)
        return score

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Both tables, each with its gradient, two moments and the best so far."""
        rows = sizes.num_users + sizes.num_items
        return {"embedding tables, their gradients, moments and best values": DESCENT_BYTES * rows * config.embedding_dim}


class Relation(nn.Module):
    """A tower over two vectors, their product or both side by side: ReLU after every layer."""

    def __init__(self, dim: int, layers: Sequence[int], config: Any):
        super().__init__()
        self.is_product, self.dropout = config.inputs == "product", config.dropout
        self.dim, self.code_dim, self.width = dim, dim if self.is_product else layers[0], layers[-1]
        self.layers = nn.ModuleList(linear(*sizes) for sizes in pairwise((dim if self.is_product else 2 * dim, *layers)))
        self.norms = nn.ModuleList(nn.LayerNorm(size) if config.layer_norm else nn.Identity() for size in layers)

    def encode_left(self, vector_BD: Tensor) -> Tensor:
        """The vector itself before a product, its half of the first layer, bias included, before a sum; [B, C]."""
        first: Any = self.layers[0]
        return vector_BD if self.is_product else functional.linear(vector_BD, first.weight[:, : self.dim], first.bias)

    def encode_right(self, vector_BD: Tensor) -> Tensor:
        """As for the left one, without the bias."""
        first: Any = self.layers[0]
        return vector_BD if self.is_product else functional.linear(vector_BD, first.weight[:, self.dim :])

    def forward(self, left_code: Tensor, right_code: Tensor) -> Tensor:
        """The last layer, [.., K]; leading dimensions broadcast."""
        hidden = self.layers[0](left_code * right_code) if self.is_product else left_code + right_code
        for depth, norm in enumerate(self.norms):
            hidden = norm(self.layers[depth](hidden) if depth else hidden).relu_()
            hidden = functional.dropout(hidden, self.dropout, self.training) if self.dropout else hidden
        return hidden


def affection_parts(sizes: Sizes, config: Any) -> tuple[nn.Embedding, nn.Embedding, Relation]:
    """u, v and the tower A."""
    dim, stddev = config.embedding_dim, config.stddev
    users, items = (embedding(count, dim, stddev=stddev) for count in (sizes.num_users, sizes.num_items))
    return users, items, Relation(dim, config.layers, config)
