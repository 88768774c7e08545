"""NAIS: neural attentive item similarity (He et al., TKDE 2018).

paper               here                            shape
p_i, q_j            item_embedding, history_item    tables    the target, and what lies in histories; never shared
b_i                 item_bias                       I, 1
W, b, h             hidden, head                    D x A (product) or 2 D x A (concatenation), A, A
f(p_i, q_j)         logits                          [N]       once per pair of items that occurs, not once per asker
a_ij                attention                       [T]
beta, alpha         smoothing, normalisation
R_u                 user_history

Shapes: B pairs of user and item, C distinct targets, E distinct history items, N pairs of (target, history item), D embedding,
A attention, T history entries, V users asked for, I items.

Where text and code disagree, and what is chosen, stands in docs/papers/nais.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.errors import ConfigError
from attlas.models.layers import DESCENT_BYTES, embedding
from attlas.models.reasons import Reasons
from attlas.ops.cells import asked_cells, rectified_product, rectified_sum
from attlas.ops.gram import pair_products
from attlas.ops.ragged import Ragged
from attlas.ops.segments import segment_softmax
from attlas.ops.targets import Terms, every_targeted_sum, targeted_sum
from attlas.spaces import Choice, Space, Span

CATALOGUE_CELLS = 2**17  # targets times history items of a block: twice as many floats are 1 MB, what one core's cache holds
ATTENTION = ("hidden", "head")  # the parts that FISM has not


class NAIS(nn.Module):
    """A sum over the history, each entry weighed by a small network that sees the target and the entry."""

    group_by: ClassVar[Literal["user", "item"]] = "item"
    reasons: ClassVar[Reasons] = "attention"

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of both tables.
            attention_dim: A, the number of hidden units of the attention.
            attention: what the network sees of target and entry: their elementwise product, or one after the other.
            smoothing: beta, the exponent on the attention's denominator; 1 is a softmax.
            normalisation: alpha; the sum is divided by the number of entries to this power.
            item_bias: whether each item has a bias of its own; the code has it, the text has not.
            head: how h starts: all ones as in the code, or random.
            leave_out: what training takes out of histories; see ``Inputs.gather``.
            stddev: spread of the embeddings at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        attention_dim: int = Field(default=64, ge=1)
        attention: Literal["product", "concatenation"] = "product"
        smoothing: float = Field(default=0.5, gt=0, le=1)
        normalisation: float = Field(default=0.0, ge=0, le=1)
        item_bias: bool = True
        head: Literal["ones", "random"] = "ones"
        leave_out: LeaveOut = "matched"
        stddev: float = Field(default=0.01, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64)),
        "model.smoothing": Choice((0.3, 0.5, 0.7)),
        "model.attention": Choice(("product", "concatenation")),
        "solver.optimizer": Choice(("adam", "adagrad")),
        "solver.learning_rate": Span(0.0005, 0.05, log=True),
        "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or NAIS.Config()
        dim, hidden = config.embedding_dim, config.attention_dim
        self.item_embedding = embedding(sizes.num_items, dim, stddev=config.stddev)
        self.history_item = embedding(sizes.num_items, dim, stddev=config.stddev)
        self.item_bias = nn.Parameter(torch.zeros(sizes.num_items)) if config.item_bias else None
        self.hidden = nn.Linear(dim if config.attention == "product" else 2 * dim, hidden)
        stddev = (2 / (self.hidden.in_features + hidden)) ** 0.5
        for part in (self.hidden.weight, self.hidden.bias):
            nn.init.trunc_normal_(part, std=stddev, a=-2 * stddev, b=2 * stddev)
        self.head = nn.Parameter(torch.ones(hidden))
        if config.head == "random":
            nn.init.normal_(self.head, std=hidden**-0.5)

    def fuse(self, *parts: nn.Module) -> None:
        """Begin with both tables and the biases of a FISM that was trained alone; the attention begins anew.

        Raises:
            ConfigError: it is not one part with just such weights, or it is of other sizes.
        """
        own = {name: weight for name, weight in self.state_dict().items() if name.partition(".")[0] not in ATTENTION}
        given = parts[0].state_dict() if len(parts) == 1 else {}
        if given.keys() != own.keys():
            named = " and ".join(type(part).__name__ for part in parts) or "nothing"
            raise ConfigError(f"NAIS starts from one run of FISM with the same item_bias; got {named}")
        if any(given[name].shape != weight.shape for name, weight in own.items()):
            raise ConfigError("FISM is of other sizes than NAIS; give both the same embedding_dim and data")
        self.load_state_dict(given, strict=False)

    def forward(self, item: Tensor, user_history: History) -> Tensor:
        """p_i . sum over j in R_u without i of a_ij q_j, plus b_i, [B]."""
        target_C, target_B = item.unique(return_inverse=True)
        return self._score(target_C, target_B, user_history)

    def score_catalogue(self, user_history: History) -> Tensor:
        """The same for every item, [V, I]; a block of targets for all users at a time."""
        lists, distinct_E = user_history.lists.take(user_history.row), user_history.distinct
        score_VI = self.head.new_empty(lists.count, self.item_embedding.num_embeddings)
        for block, product_CE, logit_CE in self._against_all(distinct_E):
            score_VI[:, block] = every_targeted_sum(product_CE, logit_CE, lists, smoothing=self.config.smoothing)
        return self._finished(score_VI, lists)

    def tabulate(self) -> Terms:
        """What every item of a history adds to the attention and to the score of every item: I x 2 I floats."""
        count = self.item_embedding.num_embeddings
        term_IX, shift_I = self.head.new_empty(count, 2 * count), self.head.new_empty(count)
        for block, product_CI, logit_CI in self._against_all(torch.arange(count, device=self.head.device)):
            part = Terms.of(product_CI, logit_CI)
            term_IX[:, block], term_IX[:, count:][:, block] = part.term.chunk(2, dim=1)
            shift_I[block] = part.shift
        return Terms(term_IX, shift_I)

    def score_from(self, table: Terms, user_history: History) -> Tensor:
        """``score_catalogue`` by sums of rows of ``tabulate``, [V, I]; the long way where a history's logits lie too low."""
        lists = user_history.lists.take(user_history.row)
        rows = Ragged(lists.start, user_history.distinct[lists.index], len(table.shift))
        score_VI, is_far_VI = table.sums(rows, smoothing=self.config.smoothing)
        return self.score_catalogue(user_history) if is_far_VI.any() else self._finished(score_VI, lists)

    def _against_all(self, place_E: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Blocks of targets, the whole catalogue in turn: p_i . q_j and the logit of each with every given item, [C, E]."""
        item_I = torch.arange(self.item_embedding.num_embeddings, device=place_E.device)
        for target_C in item_I.split(max(1, CATALOGUE_CELLS // max(len(place_E), 1))):
            cells = Ragged.full(len(target_C), len(place_E), device=place_E.device)
            logit_CE = self.logits(target_C, place_E, cells).view(len(target_C), -1)
            product_CE = self.item_embedding(target_C) @ self.history_item(place_E).T
            yield slice(int(target_C[0]), int(target_C[-1]) + 1), product_CE, logit_CE

    def _finished(self, score_VI: Tensor, lists: Ragged) -> Tensor:
        if self.config.normalisation:
            score_VI *= lists.length.clamp(min=1)[:, None].to(score_VI.dtype) ** -self.config.normalisation
        return score_VI if self.item_bias is None else score_VI.add_(self.item_bias.detach())

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """How much each entry of each list weighs for the item that the list is asked about, [T].

        Args:
            item: one per list, in their order.
            user_history: nothing is left out of it; take the target out before.
        """
        lists = user_history.lists
        logit_T = self.logits(item, user_history.distinct, lists)
        each_T = torch.arange(len(lists.index), device=item.device)
        entries = Ragged(lists.start, each_T, len(each_T))
        return {"user_history": segment_softmax(logit_T, entries, smoothing=self.config.smoothing)}

    def logits(self, target_C: Tensor, distinct_E: Tensor, cells: Ragged) -> Tensor:
        """f(p_i, q_j) = h . ReLU(W (p_i * q_j) + b), or of (p_i ++ q_j), for the wanted pairs of target and entry, [N]."""
        p_CD, q_ED = self.item_embedding(target_C), self.history_item(distinct_E)
        weight, bias = self.hidden.weight, self.hidden.bias
        if self.config.attention == "product":
            return rectified_product(p_CD, q_ED, weight.T, bias, self.head, cells)
        p_half, q_half = weight.split(self.config.embedding_dim, dim=1)
        return rectified_sum(nn.functional.linear(p_CD, p_half, bias), nn.functional.linear(q_ED, q_half), self.head, cells)

    def _score(self, target_C: Tensor, target_B: Tensor, history: History) -> Tensor:
        """The score of each pair, its item given by its place among the distinct targets."""
        cells = asked_cells(history.lists, target_B, history.row, len(target_C))
        logit_N = self.logits(target_C, history.distinct, cells)
        p_CD, q_ED = self.item_embedding(target_C), self.history_item(history.distinct)
        product_N = (p_CD @ q_ED.T).flatten() if cells.is_full else pair_products(p_CD, q_ED, cells.owner, cells.index)
        pattern = (cells, history.lists, target_B, history.row, history.left_out)
        score_B = targeted_sum(product_N, logit_N, *pattern, smoothing=self.config.smoothing)
        if self.config.normalisation:
            score_B = score_B * history.length.clamp(min=1).to(score_B.dtype) ** -self.config.normalisation
        if self.item_bias is not None:
            score_B = score_B + self.item_bias.index_select(0, target_C).index_select(0, target_B)
        return score_B

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Both tables and the network, each with its gradient, two moments and the best so far."""
        tables = DESCENT_BYTES * 2 * sizes.num_items * (config.embedding_dim + 1)
        network = DESCENT_BYTES * config.attention_dim * (2 * config.embedding_dim + 2)
        return {"embedding tables, their gradients, moments and best values": tables + network}
