"""FISM: factored item similarity (Kabbur, Ning and Karypis, KDD 2013).

paper               here                            shape
p_i, q_j            item_embedding, history_item    tables    the target, and what lies in histories; never shared
b_i                 item_bias                       I, 1
alpha               normalisation
n                   length                          [B]       how many entries are summed
R_u                 user_history

Shapes: B pairs of user and item, G lists, R of them asked for, E distinct history items, T history entries, D embedding.

What the sources leave open stands in docs/papers/fism.md.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, LeaveOut, Sizes
from attlas.models.layers import DESCENT_BYTES, embedding
from attlas.models.reasons import Reasons
from attlas.ops.gram import pair_products
from attlas.ops.segments import segment_sum
from attlas.spaces import Choice, Space, Span


class FISM(nn.Module):
    """A user is the sum of what they chose, each entry a vector; the score is its product with the item's other vector."""

    group_by: ClassVar[Literal["user", "item"]] = "user"
    reasons: ClassVar[Reasons] = "contribution"
    is_inner_product: ClassVar[bool] = True
    compared_by: ClassVar[str] = "item_embedding"
    shares: ClassVar[bool] = True

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of both tables.
            normalisation: alpha; the sum is divided by the number of entries to this power.
            counts_target: whether that number is |R_u|, the target among it, instead of the number of entries that are summed.
            item_bias: whether each item has a bias of its own.
            leave_out: what training takes out of histories; see ``Inputs.gather``.
            stddev: spread of the embeddings at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        normalisation: float = Field(default=0.0, ge=0, le=1)
        counts_target: bool = False
        item_bias: bool = True
        leave_out: LeaveOut = "matched"
        stddev: float = Field(default=0.01, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64)),
        "model.normalisation": Choice((0.0, 0.25, 0.5, 0.75)),
        "solver.optimizer": Choice(("adam", "adagrad")),
        "solver.learning_rate": Span(0.0003, 0.05, log=True),
        "solver.weight_decay": Choice((0.0, 1e-7, 1e-6, 1e-5)),
        "solver.negatives": Choice((2, 4, 8)),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or FISM.Config()
        self.item_embedding = embedding(sizes.num_items, config.embedding_dim, stddev=config.stddev)
        self.history_item = embedding(sizes.num_items, config.embedding_dim, stddev=config.stddev)
        self.item_bias = nn.Parameter(torch.zeros(sizes.num_items)) if config.item_bias else None

    def forward(self, item: Tensor, user_history: History) -> Tensor:
        """b_i + n^-alpha p_i . sum over j in R_u without i of q_j, [B].

        (sum over R_u) . p_i less q_j . p_i of the entry that is left out: no pair has a vector of its own.
        """
        p_ID, q_ED = self.item_embedding.weight, self.history_item(user_history.distinct)
        pooled_RD, place_B = _pool(q_ED, user_history)
        product_B = pair_products(pooled_RD, p_ID, place_B, item)
        pair_P, entry_P = _left_out(user_history)
        if len(pair_P):
            out_P = pair_products(q_ED, p_ID, user_history.index[entry_P], item[pair_P])
            product_B = product_B.index_add(0, pair_P, out_P, alpha=-1)
        score_B = self._share(user_history) * product_B
        return score_B if self.item_bias is None else score_B + self.item_bias.index_select(0, item)

    def encode_user(self, user_history: History) -> Tensor:
        """(n^-alpha sum over j in R_u without i of q_j, 1), [B, D + 1]."""
        q_ED = self.history_item(user_history.distinct)
        pooled_RD, place_B = _pool(q_ED, user_history)
        pooled_BD = pooled_RD.index_select(0, place_B)
        pair_P, entry_P = _left_out(user_history)
        pooled_BD = pooled_BD.index_add(0, pair_P, q_ED.index_select(0, user_history.index[entry_P]), alpha=-1)
        share_B1 = self._share(user_history)[:, None]
        return torch.cat([share_B1 * pooled_BD, torch.ones_like(share_B1)], dim=-1)

    def encode_item(self, item: Tensor) -> Tensor:
        """(p_i, b_i), [B, D + 1]."""
        p_BD = self.item_embedding(item)
        bias_B = p_BD.new_zeros(len(item)) if self.item_bias is None else self.item_bias.index_select(0, item)
        return torch.cat([p_BD, bias_B[:, None]], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """Their inner product; leading dimensions broadcast."""
        return (user_code * item_code).sum(-1)

    def score_catalogue(self, user_history: History) -> Tensor:
        """The whole catalogue in one product, [V, I]."""
        every_item = torch.arange(self.item_embedding.num_embeddings, device=user_history.row.device)
        return self.encode_user(user_history) @ self.encode_item(every_item).T

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry adds to the score of the one item: n^-alpha q_j . p_i, exact contributions, [T]."""
        q_TD = self.history_item(user_history.distinct[user_history.index])
        return {"user_history": self._share(user_history)[0] * (q_TD @ self.item_embedding(item[0]))}

    def _share(self, history: History) -> Tensor:
        """n^-alpha, [B]; of an empty history, of which there is nothing to divide, 1."""
        length_B = history.lists.length[history.row] if self.config.counts_target else history.length
        return length_B.clamp(min=1).to(self.item_embedding.weight.dtype) ** -self.config.normalisation

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """Both tables, each with its gradient, two moments and the best so far."""
        floats = 2 * sizes.num_items * (config.embedding_dim + 1)
        return {"embedding tables, their gradients, moments and best values": DESCENT_BYTES * floats}


def _pool(q_ED: Tensor, history: History) -> tuple[Tensor, Tensor]:
    """The sum of each list that is asked for, [R, D], and which of them each pair reads, [B]."""
    is_asked_G = torch.zeros(history.count, dtype=torch.bool, device=history.row.device)
    is_asked_G[history.row] = True
    asked_R = is_asked_G.nonzero().squeeze(-1)
    return segment_sum(q_ED, history.lists.take(asked_R)), (is_asked_G.cumsum(0) - 1)[history.row]


def _left_out(history: History) -> tuple[Tensor, Tensor]:
    """The pairs that leave an entry out of their history, and that entry."""
    pair_P = (history.left_out >= 0).nonzero().squeeze(-1)
    return pair_P, history.left_out[pair_P]
