"""FISM and NAIS as one would write them in PyTorch for batches of whole users: the rivals of ``histories.py``.

All pairs of a user share one history, which is looked up once. Nothing else is shared: NAIS's network runs on every (pair,
history entry), in blocks that fit the memory. Batches hold as many users as make up the pairs of one of ours, so that both
take as many optimizer steps.

Shapes: n entries of one user's history, c pairs of that user, D embedding, A attention, I items.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN_FLOATS = 2**23  # of a block of pairs of one user


class PlainFISM(nn.Module):
    """The sum of a history, less the target where it is in it, times the target's vector."""

    def __init__(self, num_items: int, dim: int):
        super().__init__()
        self.target, self.entry = nn.Embedding(num_items, dim), nn.Embedding(num_items, dim)
        self.bias = nn.Parameter(torch.zeros(num_items))
        for table in (self.target, self.entry):
            nn.init.normal_(table.weight, std=0.01)

    def block(self, entries: int) -> int:
        """How many pairs to score together."""
        return HIDDEN_FLOATS // self.target.embedding_dim

    def forward(self, history_n: Tensor, item_c: Tensor) -> Tensor:
        """The score of each item for one user, [c]."""
        is_own_c1 = torch.isin(item_c, history_n)[:, None]
        pooled_cD = self.entry(history_n).sum(0) - self.entry(item_c) * is_own_c1
        return (self.target(item_c) * pooled_cD).sum(-1) + self.bias[item_c]


class PlainNAIS(PlainFISM):
    """The network on the product of every target with every entry, a masked smoothed softmax, a weighted sum."""

    def __init__(self, num_items: int, dim: int, hidden: int, smoothing: float):
        super().__init__(num_items, dim)
        self.hidden, self.head = nn.Linear(dim, hidden), nn.Parameter(torch.ones(hidden))
        self.smoothing = smoothing

    def block(self, entries: int) -> int:
        """How many pairs to score together."""
        return max(1, HIDDEN_FLOATS // (entries * len(self.head)))

    def forward(self, history_n: Tensor, item_c: Tensor) -> Tensor:
        """The score of each item for one user, [c]."""
        p_cD, q_nD = self.target(item_c), self.entry(history_n)
        logit_cn = self.hidden(p_cD[:, None] * q_nD).relu() @ self.head
        logit_cn = logit_cn.masked_fill(item_c[:, None] == history_n, -torch.inf)
        weight_cn = (logit_cn - self.smoothing * logit_cn.logsumexp(1, keepdim=True)).exp()
        return (weight_cn * (p_cD @ q_nD.T)).sum(1) + self.bias[item_c]


def learn(model: PlainFISM, users: list[tuple[Tensor, Tensor, Tensor]], learning_rate: float, pairs_a_step: int) -> None:
    """One pass over users, each given by history, items and labels; a step of Adam after every so many pairs."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    pairs = 0
    for history_n, item_c, label_c in users:
        size = model.block(len(history_n))
        for items, labels in zip(item_c.split(size), label_c.split(size), strict=True):
            loss = functional.binary_cross_entropy_with_logits(model(history_n, items), labels, reduction="sum")
            (loss / pairs_a_step).backward()
        pairs += len(item_c)
        if pairs >= pairs_a_step:
            optimizer.step()
            optimizer.zero_grad()
            pairs = 0
    optimizer.step()


@torch.inference_mode()
def rank(model: PlainFISM, histories: list[Tensor]) -> Tensor:
    """Every item's score for each history, [.., I]."""
    item_I = torch.arange(model.target.num_embeddings)
    parts = ([model(history, items) for items in item_I.split(model.block(len(history)))] for history in histories)
    return torch.stack([torch.cat(scores) for scores in parts])
