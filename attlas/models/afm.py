"""AFM: a factorisation machine whose pairs of features are weighed by attention (Xiao et al., IJCAI 2017).

paper               here                    shape
w_0, w, V           factors                 1; n, 1; n, D
q_ij                products, never kept    D           (v_i * v_j) x_i x_j, made anew where they are needed
W, b, h             key, bias, query        D x A, A, A
e_ij, a_ij          logit, weight           [B, P]      a softmax over the pairs of one row
p                   projection              D
s_ij                score                   [B, P]      p . q_ij, so that p . z = sum of a_ij s_ij

Shapes: B rows, F fields, P pairs of them, n features, E entries, N distinct pairs, D embedding, A attention, V askers, I items,
C fields of the context, f fields of an item.

e_ij and s_ij depend on the two features alone: each pair that a batch holds is judged once, and ranking judges the pairs inside
a context once and the rest once per item. Where paper and code disagree stands in docs/papers/afm.md.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attlas.data.inputs import Crossed, Fields, Sizes
from attlas.errors import ConfigError
from attlas.models.factors import BatchNorm, Entries, Factors
from attlas.models.layers import DESCENT_BYTES
from attlas.ops.fields import distinct_pairs, judge_pairs, pair_places, weighted_pair_sum
from attlas.spaces import Choice, Space, Span

PRODUCT_FLOATS = 2**22  # of products that are dropped one by one: 16 MB at a time


class Softened(NamedTuple):
    """Part of a softmax-weighted sum: the largest logit M, Z = sum exp(e - M) and O = sum exp(e - M) s."""

    largest: Tensor
    total: Tensor
    weighted: Tensor

    @classmethod
    def of(cls, logit: Tensor, score: Tensor) -> Softened:
        """Over the last dimension; of no pairs at all it is what changes nothing."""
        if not logit.shape[-1]:
            return cls(torch.full_like(logit.sum(-1), -torch.inf), logit.sum(-1), score.sum(-1))
        largest = logit.amax(-1)
        exp = (logit - largest[..., None]).exp()
        return cls(largest, exp.sum(-1), (exp * score).sum(-1))

    def merged(self, other: Softened) -> Softened:
        """The two parts as one."""
        largest = torch.maximum(self.largest, other.largest)
        mine, theirs = ((part.largest - largest).exp() for part in (self, other))
        return Softened(largest, mine * self.total + theirs * other.total, mine * self.weighted + theirs * other.weighted)


class AFM(nn.Module):
    """Which pair of features decided: each pair's product, weighed by a softmax over what a small network thinks of it."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters, and what stands in for its attention.

        Attributes:
            embedding_dim: D, the size of a feature's vector.
            attention_dim: A, the size of the attention network's layer.
            attention: the network; ``free``, a logit learned for each pair of features; ``uniform``, all weights alike; or
                ``none``, all weights 1, which is what the authors' code has done since 2018.
            dropout: the share that training drops of what ``dropout_place`` says.
            dropout_place: the ``pooled`` vector, as in the code, or each product of a pair before both its uses, ``pairs``.
            attention_dropout: the share of the learned weights that training drops.
            l2: on W alone, added to the mean loss of a batch.
            projection: whether p is ``learned`` or stays ``fixed``.
            projection_start: every entry of p at the start.
            pretraining: what is taken from an FM: ``copy`` its weights and vectors as the authors do, or all that it takes to
                ``preserve`` its function.
            stddev: spread of the vectors at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        attention_dim: int = Field(default=32, ge=1)
        attention: Literal["network", "free", "uniform", "none"] = "network"
        dropout: float = Field(default=0.2, ge=0, lt=1)
        dropout_place: Literal["pooled", "pairs"] = "pooled"
        attention_dropout: float = Field(default=0.0, ge=0, lt=1)
        l2: float = Field(default=0.01, ge=0)
        projection: Literal["learned", "fixed"] = "learned"
        projection_start: float = 1.0
        pretraining: Literal["copy", "preserve"] = "copy"
        stddev: float = Field(default=0.01, gt=0)

        def __post_init__(self) -> None:
            if self.attention_dropout and self.attention in ("uniform", "none"):
                raise ConfigError(
                    f"attention_dropout = {self.attention_dropout} drops learned weights, and attention = {self.attention!r} "
                    "has none; leave it out"
                )

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 64, 256)),
        "model.attention_dim": Choice((8, 32, 128)),
        "model.dropout": Choice((0.0, 0.2, 0.5)),
        "model.l2": Choice((0.0, 0.001, 0.01, 0.1)),
        "model.projection_start": Choice((1.0, 10.0, 45.0)),
        "solver.learning_rate": Span(0.0003, 0.03, log=True),
    }

    free: nn.Parameter | None

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or AFM.Config()
        dim, hidden = config.embedding_dim, config.attention_dim if config.attention == "network" else 0
        self.factors = Factors(sizes, dim, stddev=config.stddev)
        self.field_sizes = sizes.fields
        self.key = nn.Parameter(torch.empty(dim, hidden).normal_(std=(2 / (dim + hidden)) ** 0.5))
        self.bias = nn.Parameter(torch.empty(hidden).normal_(std=(2 / (dim + hidden)) ** 0.5))
        self.query = nn.Parameter(torch.randn(hidden))
        free = nn.Parameter(torch.zeros(_pairs_of_features(sizes.fields))) if config.attention == "free" else None
        self.register_parameter("free", free)
        self.projection = nn.Parameter(torch.full((dim,), config.projection_start), config.projection == "learned")
        self.dropout, self.attention_dropout = nn.Dropout(config.dropout), nn.Dropout(config.attention_dropout)

    def forward(self, fields: Fields) -> Tensor:
        """w_0 + sum_i w_i x_i + p . sum_{i<j} a_ij q_ij, [B]."""
        entries = self.factors(fields)
        return self.factors.bias + entries.linear() + self._attended(entries, fields)

    def _attended(self, entries: Entries, fields: Fields) -> Tensor:
        """p . z, [B]; only where z itself is dropped from is it built."""
        drops = self.training and self.config.dropout > 0
        if drops and self.config.dropout_place == "pairs":
            return self._with_dropped_products(entries, fields)
        if not self.attends:
            return self.dropout(entries.pairs() * self._equal_weight(entries.index.shape[1])) @ self.projection
        weight_BP, score_BP = self._weigh(entries, fields)
        weight_BP = self.attention_dropout(weight_BP)
        if drops:
            return self.dropout(weighted_pair_sum(entries.vector, entries.index, weight_BP)) @ self.projection
        return (weight_BP * score_BP).sum(-1)

    def _weigh(self, entries: Entries, fields: Fields) -> tuple[Tensor, Tensor]:
        """a_ij and s_ij of every row, [B, P] each; what two rows share is judged once."""
        pairs = distinct_pairs(entries.index)
        network = self.key, self.bias, self.query
        logit_N, score_N = judge_pairs(entries.vector, pairs.one, pairs.other, *network, self.projection)
        place_T, shape = pairs.place.flatten(), pairs.place.shape
        free = self.config.attention == "free"
        logit_BP = self._free_logits(fields) if free else logit_N.index_select(0, place_T).view(shape)
        return logit_BP.softmax(-1), score_N.index_select(0, place_T).view(shape)

    def weigh_pairs(self, fields: Fields) -> tuple[Tensor, Tensor]:
        """a_ij and s_ij of every pair, [B, P] each; their product is what the pair adds to the score."""
        entries = self.factors(fields)
        if self.attends:
            return self._weigh(entries, fields)
        pairs, none = distinct_pairs(entries.index), self.projection.new_empty(0)
        _, score_N = judge_pairs(entries.vector, pairs.one, pairs.other, self.key, none, none, self.projection)
        score_BP = score_N[pairs.place]
        return torch.full_like(score_BP, self._equal_weight(fields.index.shape[1])), score_BP

    @property
    def attends(self) -> bool:
        """Whether weights are learned."""
        return self.config.attention in ("network", "free")

    def _equal_weight(self, num_fields: int) -> float:
        return 1 / max(num_fields * (num_fields - 1) // 2, 1) if self.config.attention == "uniform" else 1.0

    def _free_logits(self, fields: Fields) -> Tensor:
        if fields.bags is not None:
            raise ConfigError("attention 'free' has a logit for each pair of categories; a field here holds several at once")
        size_F = torch.tensor(self.field_sizes, device=fields.index.device)
        inside_BF = fields.index - (size_F.cumsum(0) - size_F)
        one_P, other_P = pair_places(fields.index)
        cells_P = size_F[one_P] * size_F[other_P]
        place_BP = cells_P.cumsum(0) - cells_P + inside_BF[:, one_P] * size_F[other_P] + inside_BF[:, other_P]
        assert self.free is not None
        return self.free.index_select(0, place_BP.flatten()).view_as(place_BP)

    def _with_dropped_products(self, entries: Entries, fields: Fields) -> Tensor:
        """p . z with every product dropped from by itself; rows in chunks, made anew on the way back."""
        rows = max(1, PRODUCT_FLOATS // max(1, entries.index.shape[1] ** 2 // 2 * self.config.embedding_dim))
        given_BP = self._free_logits(fields).split(rows) if self.config.attention == "free" else itertools.repeat(None)
        chunks = [(entries.vector, *part) for part in zip(entries.index.split(rows), given_BP, strict=False)]
        return torch.cat([checkpoint(self._of_chunk, *chunk, use_reentrant=False) for chunk in chunks])

    def _of_chunk(self, vector_ED: Tensor, index_BF: Tensor, logit_BP: Tensor | None) -> Tensor:
        one_P, other_P = pair_places(index_BF)
        ends = (index_BF[:, place_P].flatten() for place_P in (one_P, other_P))
        one_TD, other_TD = (vector_ED.index_select(0, end_T) for end_T in ends)
        product_BPD = self.dropout(one_TD * other_TD).view(len(index_BF), len(one_P), -1)
        score_BP = product_BPD @ self.projection
        if not self.attends:
            return self._equal_weight(index_BF.shape[1]) * score_BP.sum(-1)
        if logit_BP is None:
            logit_BP = (product_BPD @ self.key + self.bias).relu() @ self.query
        return (self.attention_dropout(logit_BP.softmax(-1)) * score_BP).sum(-1)

    def penalise(self, fields: Fields) -> Tensor:
        """l2 |W|^2."""
        return self.config.l2 * self.key.square().sum()

    def score_catalogue(self, fields: Crossed) -> Tensor:
        """Pairs inside the context once, pairs inside items once, and between them one product for each asker, [V, I]."""
        asker, item = self.factors(fields.asker), self.factors(fields.item)
        if self.config.attention == "free":
            return torch.stack([self(fields.rows(v)) for v in range(len(fields.asker))])
        linear_VI = (self.factors.bias + asker.linear())[:, None] + item.linear()
        if not self.attends:
            equal = self._equal_weight(len(fields.asker_place) + len(fields.item_place))
            inside_V, inside_I = (half.pairs() @ self.projection for half in (asker, item))
            return linear_VI + equal * (inside_V[:, None] + inside_I + (asker.sums() * self.projection) @ item.sums().T)
        known_E, place_T = item.index.unique(return_inverse=True)
        vector_ED, in_context, in_item = item.vector[known_E], self.part_of(asker), self.part_of(item)
        attended = []
        for v, index_C in enumerate(asker.index):
            across = self._part_across(asker.vector[index_C], vector_ED, place_T.view_as(item.index))
            merged = Softened(*(part[v] for part in in_context)).merged(across).merged(in_item)
            attended.append(torch.where(merged.total > 0, merged.weighted / merged.total, 0.0))
        return linear_VI + torch.stack(attended)

    def part_of(self, half: Entries) -> Softened:
        """The pairs inside each row of one half, [B]."""
        one_P, other_P = pair_places(half.index)
        ends = half.index[:, one_P].flatten(), half.index[:, other_P].flatten()
        found = judge_pairs(half.vector, *ends, self.key, self.bias, self.query, self.projection)
        return Softened.of(*(value_T.view(len(half.index), -1) for value_T in found))

    def _part_across(self, context_CD: Tensor, item_ED: Tensor, place_If: Tensor) -> Softened:
        """The pairs of one asker's features with those of every item, [I]: v_c is folded into W, no product is built."""
        folded_DT = (context_CD.T[:, :, None] * self.key[:, None, :]).flatten(1)
        hidden_ET = torch.addmm(self.bias.repeat(len(context_CD)), item_ED, folded_DT).relu_()
        logit_EC = hidden_ET.view(-1, len(self.bias)).mv(self.query).view(len(item_ED), -1)
        score_EC = item_ED @ (context_CD * self.projection).T
        every = (value_EC.index_select(0, place_If.flatten()) for value_EC in (logit_EC, score_EC))
        return Softened.of(*(value_TC.view(len(place_If), -1) for value_TC in every))

    @torch.no_grad()
    def fuse(self, part: nn.Module) -> None:
        """Begin from a trained FM: its bias, weights and vectors; to preserve its function also equal attention and p = P.

        Raises:
            ConfigError: it is no FM, or one of other sizes.
        """
        theirs = getattr(part, "factors", None)
        if not isinstance(theirs, Factors) or theirs.vector.shape != self.factors.vector.shape:
            wanted, came = self.factors.vector.shape, type(part).__name__
            if isinstance(theirs, Factors):
                came += f", {len(theirs.vector):,} features of {theirs.vector.shape[1]}"
            raise ConfigError(f"AFM begins with an FM of embedding_dim = {wanted[1]} and {wanted[0]:,} features; got {came}")
        self.factors.load_state_dict(theirs.state_dict())
        if self.config.pretraining == "preserve":
            pairs = len(self.field_sizes) * (len(self.field_sizes) - 1) // 2
            self.query.zero_()
            self.projection.fill_(1.0 if self.config.attention == "none" else pairs)
            if isinstance(norm := getattr(part, "norm", None), BatchNorm):
                scale_D, shift_D = norm.affine()
                self.projection.mul_(scale_D)
                self.factors.bias.add_(shift_D.sum())

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Tables, gradients, two moments and the best so far; so too free logits for every pair of features of two fields."""
        floats = sum(sizes.fields) * (config.embedding_dim + 1) + config.embedding_dim * (config.attention_dim + 1)
        free = _pairs_of_features(sizes.fields) if config.attention == "free" else 0
        floats += 2 * config.attention_dim + 1
        needs = {"tables of features, their gradients, moments and best values": floats}
        needs |= {"a logit for every pair of features, their gradients, moments and best values": free} if free else {}
        return {name: DESCENT_BYTES * count for name, count in needs.items()}


def _pairs_of_features(sizes: tuple[int, ...]) -> int:
    return sum(one * other for one, other in itertools.combinations(sizes, 2))
