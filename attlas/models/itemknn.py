"""Item-based nearest neighbours (Sarwar et al., WWW 2001; Deshpande and Karypis, TOIS 2004).

papers       here                        shape
R            observed, weighted          U x I    x_ui = a_u b_i where u chose i, else 0
sim(i, j)    nearest_columns             I x I    never built whole
N_k(i)       neighbours                  I x K    the K items most like i
             start, target, weight       ragged   for each j the targets i with j in N_k(i), and sim(i, j)
h            shrink                               (Bell and Koren 2007; Ferrari Dacrema et al., TOIS 2021)

Shapes: B pairs, U users, I items, K neighbours, T history entries, R lists.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, Inputs, Sizes
from attlas.memory import readable_bytes
from attlas.ops.neighbours import Similarity, nearest_columns, sum_neighbours
from attlas.ops.ragged import Ragged
from attlas.spaces import Choice, Space, Span

BM25_SATURATION, BM25_LENGTH = 1.2, 0.8  # k1 and b as they are commonly set


class ItemKNN(nn.Module):
    """The score of an item is the sum of its similarities to those of its neighbours that the user has chosen."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """What makes two items alike.

        Attributes:
            neighbours: K, how many most similar items each item keeps.
            similarity: ``cosine`` or ``jaccard``.
            shrink: h, added to the denominator, so that few common users do not make two items alike.
            target_power: of the cosine's denominator n_i^p n_j^(1 - p), p, where i is the item that is scored, j the one
                chosen and n the squared norm; 0.5 is the plain cosine, below it popular items score higher.
            weighting: of users and items before they are compared: ``none``, ``tf-idf`` or ``bm25``.
            normalise: whether the similarities that an item keeps are scaled to sum to 1.
        """

        neighbours: int = Field(default=100, ge=1)
        similarity: Similarity = "cosine"
        shrink: float = Field(default=10.0, ge=0)
        target_power: float = Field(default=0.5, ge=0, le=1)
        weighting: Literal["none", "tf-idf", "bm25"] = "none"
        normalise: bool = False

    search_space: ClassVar[Space] = {
        "model.neighbours": Span(10, 500, log=True),
        "model.shrink": Span(1.0, 1000.0, log=True),
        "model.target_power": Span(0.0, 1.0),
        "model.weighting": Choice(("none", "tf-idf", "bm25")),
        "model.normalise": Choice((False, True)),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config or ItemKNN.Config()
        size = sizes.num_items * min(self.config.neighbours, sizes.num_items)
        self.start: Tensor
        self.target: Tensor
        self.weight: Tensor
        self.register_buffer("start", torch.zeros(sizes.num_items + 1, dtype=torch.int64))
        self.register_buffer("target", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("weight", torch.zeros(size))

    def forward(self, item: Tensor, user_history: History) -> Tensor:
        """score(u, i) = sum over j in R_u and N_k(i) of sim(i, j), [B]; i is never among its own neighbours."""
        row_R, place_B = user_history.row.unique(return_inverse=True)
        return self._sum_lists(user_history, row_R)[place_B, item]

    def score_catalogue(self, user_history: History) -> Tensor:
        """The same for every item, [B, I]."""
        return self._sum_lists(user_history, user_history.row)

    def _sum_lists(self, user_history: History, row_R: Tensor) -> Tensor:
        """For each of the named lists the sum of the similarities that its items send out, [R, I]."""
        lists = user_history.lists.take(row_R)
        arrays = (lists.start, user_history.distinct[lists.index], self.start, self.target, self.weight)
        score_RI = sum_neighbours(*(tensor.cpu().numpy() for tensor in arrays))
        return torch.from_numpy(score_RI).to(self.weight.device)

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry adds to the score of the one item: its similarity, or zero for no neighbour, [T]."""
        chosen_T = user_history.distinct[user_history.index]
        place_T = self._targets.find(chosen_T, item[0].expand_as(chosen_T))
        return {"user_history": torch.where(place_T >= 0, self.weight[place_T], 0.0)}

    @property
    def _targets(self) -> Ragged:
        return Ragged(self.start, self.target[: int(self.start[-1])], len(self.start) - 1)

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """The neighbours as they are found and as they are turned round, and the model's."""
        count = sizes.num_items * min(config.neighbours, sizes.num_items)
        found, turned, kept = 17 * count, 44 * count, 12 * count + 8 * (sizes.num_items + 1)
        label = (
            f"{count:,} neighbours: {readable_bytes(found + turned)} while they are sought and {readable_bytes(kept)} to keep"
        )
        return {label: found + turned + kept}

    class Count:
        """Compares all items that have users in common; one epoch is all there is."""

        one_epoch: ClassVar[bool] = True

        def epoch(self, model: ItemKNN, data: Inputs, rng: np.random.Generator) -> float:
            """Find N_k(i) of every item, and turn it round: from the items chosen to those that they speak for."""
            config, num_items = model.config, data.sizes.num_items
            users, items = data.user_lists, data.item_lists
            row_weight_U, scale_I = feature_weights(users.length.cpu().numpy(), items.length.cpu().numpy(), config.weighting)
            index_IK, weight_IK = nearest_columns(
                users.start.cpu().numpy(),
                users.index.cpu().numpy(),
                items.start.cpu().numpy(),
                items.index.cpu().numpy(),
                min(config.neighbours, num_items),
                row_weight_U=row_weight_U,
                scale_I=scale_I,
                similarity=config.similarity,
                target_power=config.target_power,
                shrink=config.shrink,
            )
            if config.normalise:
                weight_IK /= np.maximum(weight_IK.sum(1, keepdims=True), np.finfo(np.float32).tiny)
            _keep(model, index_IK, weight_IK)
            return float("nan")

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between epochs."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"count": Count}


def feature_weights(user_length_U: np.ndarray, item_length_I: np.ndarray, weighting: str) -> tuple[np.ndarray, np.ndarray]:
    """a [U] and b [I] of x_ui = a_u b_i: items are the documents, and users the words they consist of.

    tf-idf: a_u = log(I / (1 + |R_u|)), at least 0. bm25: the same, and b_i = (k1 + 1) / (k1 (1 - b + b |R_i| / mean) + 1).
    """
    ones_I = np.ones(len(item_length_I))
    if weighting == "none":
        return np.ones(len(user_length_U)), ones_I
    rarity_U = np.maximum(np.log(len(item_length_I) / (1.0 + user_length_U)), 0.0)
    if weighting == "tf-idf":
        return rarity_U, ones_I
    relative_I = item_length_I / max(item_length_I.mean(), 1.0)
    return rarity_U, (BM25_SATURATION + 1) / (BM25_SATURATION * (1 - BM25_LENGTH + BM25_LENGTH * relative_I) + 1)


def _keep(model: ItemKNN, index_IK: np.ndarray, weight_IK: np.ndarray) -> None:
    """Put the neighbours into the model's buffers, grouped by neighbour instead of by target."""
    is_there_IK = index_IK >= 0
    neighbour_T = index_IK[is_there_IK]
    order_T = np.argsort(neighbour_T, kind="stable")  # targets stay in order inside each group
    target_T = np.repeat(np.arange(len(index_IK)), is_there_IK.sum(1))[order_T]
    count = len(order_T)
    model.start[1:] = torch.from_numpy(np.bincount(neighbour_T, minlength=len(index_IK)).cumsum())
    model.target[:count] = torch.from_numpy(target_T)
    model.weight[:count] = torch.from_numpy(weight_IK[is_there_IK][order_T].astype(np.float32))
