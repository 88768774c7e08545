"""eALS: matrix factorisation that weighs what was left out by its popularity, and follows a stream (He et al., SIGIR 2016).

paper            here                       shape
p_u, q_i         user, item tables          [B, D]
r_ui, w_ui       1, click_T                 [T]      where observed
c_i              missing_weight_I           [I]      what a cell of the item weighs where nothing was chosen
c_0, alpha       missing_weight times I, popularity_power
S^q, S^p         shared                     D x D    sum of c_i q_i q_i', of p_u p_u'; made once per half sweep

The objective is a squared error over all cells; a sweep moves each coordinate to its minimum with all others held:

    L = sum over observed of w_ui (1 - p_u . q_i)^2 + sum over the others of c_i (p_u . q_i)^2 + lambda (|P|^2 + |Q|^2)
    c_i = c_0 f_i^alpha / sum_j f_j^alpha, f_i the share of the interactions that item i has

Shapes: B pairs, D embedding, T interactions, N new ones, P distinct among them, F first chosen items, U users, I items,
V users asked about.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, Inputs, Sizes
from attlas.data.interactions import Interactions
from attlas.errors import DataError
from attlas.models.layers import embedding, grown
from attlas.ops.coordinates import Side, follow_pairs, sweep_coordinates
from attlas.ops.gram import inner_products
from attlas.ops.ragged import Ragged
from attlas.ops.ridge import ridge_rows
from attlas.spaces import Choice, Space, Span


class EALS(nn.Module):
    """The score is the inner product of two vectors, fitted to the whole matrix coordinate by coordinate."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding",)
    is_inner_product: ClassVar[bool] = True
    reasons: ClassVar[Literal["contribution"]] = "contribution"

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of both tables.
            missing_weight: the mean weight of a cell that was not chosen, where one that was has 1: c_0 over the
                number of items.
            popularity_power: alpha, how much more of it popular items have; with 0 all have the same.
            l2: lambda, the penalty on squared vectors.
            stddev: spread of the tables at the start.
            new_weight: what an observed pair weighs in the update that brings it; later ones weigh it 1.
            update_rounds: how often an update moves the two vectors of each new pair.
        """

        embedding_dim: int = Field(default=64, ge=1)
        missing_weight: float = Field(default=0.1, ge=0)
        popularity_power: float = Field(default=0.4, ge=0)
        l2: float = Field(default=1.0, gt=0)
        stddev: float = Field(default=0.01, gt=0)
        new_weight: float = Field(default=1.0, gt=0)
        update_rounds: int = Field(default=1, ge=1)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((32, 64, 128, 256)),
        "model.missing_weight": Span(0.001, 1.0, log=True),
        "model.popularity_power": Span(0.0, 1.0),
        "model.l2": Span(0.01, 100.0, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or EALS.Config()
        self.user_embedding = embedding(sizes.num_users, config.embedding_dim, stddev=config.stddev)
        self.item_embedding = embedding(sizes.num_items, config.embedding_dim, stddev=config.stddev)
        self.missing_weight_I: Tensor
        self.register_buffer("missing_weight_I", torch.full((sizes.num_items,), config.missing_weight))

    def begin(self, data: Inputs) -> None:
        """Weigh the missing cells of each item by its popularity: c_i."""
        power_I = data.item_lists.length.double() ** self.config.popularity_power
        self.missing_weight_I.copy_(self.config.missing_weight * power_I / power_I.mean())

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """p_u . q_i, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """The vector of each user, [B, D]."""
        return self.user_embedding(user)

    def encode_item(self, item: Tensor) -> Tensor:
        """The vector of each item, [B, D]."""
        return self.item_embedding(item)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """Their inner product; leading dimensions broadcast."""
        return (user_code * item_code).sum(-1)

    def score_catalogue(self, user: Tensor) -> Tensor:
        """The whole catalogue in one product, [V, I]."""
        return self.user_embedding(user) @ self.item_embedding.weight.T

    def fold_in(self, user_history: History) -> Tensor:
        """The vector of each asking list, by one exact solve of what a user's sweeps lead to, [B, D]."""
        lists, item_ID = user_history.lists.take(user_history.row), self.item_embedding.weight
        chosen = Ragged(lists.start, user_history.distinct[lists.index], len(item_ID))
        penalty_B = item_ID.new_full((chosen.count,), self.config.l2)
        return ridge_rows(
            item_ID, *self.weighed(chosen, self.missing_weight_I[chosen.index]), self.shared_by_users(), penalty_B
        )

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry adds to the score of the one item, for the vector that solves for the one history, [T].

        With A the normal matrix of that solve, the vector is the sum over the history of A^-1 q_j.
        """
        chosen_T = user_history.distinct[user_history.index]
        chosen_TD, weight_T = self.item_embedding(chosen_T), 1 - self.missing_weight_I[chosen_T]
        normal_DD = self.shared_by_users() + chosen_TD.T @ (weight_T[:, None] * chosen_TD)
        normal_DD = normal_DD + self.config.l2 * torch.eye(len(normal_DD)).to(normal_DD)
        return {"user_history": chosen_TD @ torch.linalg.solve(normal_DD, self.item_embedding(item[0]))}

    def shared_by_users(self) -> Tensor:
        """S^q, the part of their normal matrices that all users share, [D, D]."""
        item_ID = self.item_embedding.weight
        return (item_ID.T * self.missing_weight_I) @ item_ID

    def weighed(self, lists: Ragged, missing_T: Tensor, click_T: Tensor | None = None) -> Side:
        """Of each entry w - c_i, its part in the normal matrix beside what all share, and w, its part on the right."""
        click_T = torch.ones_like(missing_T) if click_T is None else click_T
        return lists, click_T - missing_T, click_T

    @torch.no_grad()
    def loss(self, data: Inputs) -> float:
        """The whole objective over all U x I cells, at the cost of the observed ones.

        What all cells would cost if none were observed sums to <P'P, S^q>; the observed ones are then put right.
        """
        user_UD, item_ID, lists = self.user_embedding.weight, self.item_embedding.weight, data.user_lists
        score_T = inner_products(user_UD, item_ID, lists)
        observed = ((1 - score_T).square() - self.missing_weight_I[lists.index] * score_T.square()).sum(dtype=torch.float64)
        everywhere = ((user_UD.T @ user_UD) * self.shared_by_users()).sum()
        return float(everywhere + observed + self.config.l2 * (user_UD.square().sum() + item_ID.square().sum()))

    @torch.no_grad()
    def update(self, data: Inputs, new: Interactions) -> None:
        """Take in new pairs one by one: a sweep over the coordinates of the user's vector, then over those of the item's.

        An item that nobody had chosen gets the mean missing weight and begins at random, a new user at zero. Both caches follow
        every vector.

        Raises:
            DataError: new rows are not among those of ``data``, or these lack users or items that the model knows.
        """
        known, given = (self.user_embedding.num_embeddings, self.item_embedding.num_embeddings), data.sizes
        if given.num_users < known[0] or given.num_items < known[1]:
            raise DataError(
                f"the data have {given.num_users:,} users and {given.num_items:,} items, fewer than the {known[0]:,} and "
                f"{known[1]:,} that the model knows; keep their indices and append those who have come since"
            )
        user_N, item_N = (torch.from_numpy(index).to(data.device) for index in (new.user, new.item))
        by_user, by_item = data.user_lists, data.item_lists
        entry_N = by_user.find(user_N, item_N)
        if unknown := int((entry_N < 0).sum()):
            raise DataError(f"{unknown:,} of {len(new):,} new rows are not in the data; pass all that is known by now")
        self._grow(data, by_user.index[torch.unique(entry_N)])
        weight_I = self.missing_weight_I
        user_click_T, item_click_T = weight_I.new_ones(2, len(by_user.index))
        user_click_T[entry_N] = self.config.new_weight
        item_click_T[by_item.find(item_N, user_N)] = self.config.new_weight
        sides = (
            self.weighed(by_user, weight_I[by_user.index], user_click_T),
            self.weighed(by_item, weight_I[by_item.owner], item_click_T),
        )
        tables = self.user_embedding.weight, self.item_embedding.weight
        rounds = self.config.update_rounds
        moved = follow_pairs(*tables, *sides, weight_I, self.config.l2, user_N, item_N, rounds=rounds)
        for table, found in zip(tables, moved, strict=True):
            table.copy_(found)

    def _grow(self, data: Inputs, item_P: Tensor) -> None:
        """Rows for whoever has come since; a start and a missing weight for items that nobody had chosen.

        Args:
            item_P: the item of each new pair; pairs that came several times stand there once, as in the lists.
        """
        self.user_embedding = grown(self.user_embedding, data.sizes.num_users)
        self.item_embedding = grown(self.item_embedding, data.sizes.num_items)
        more = data.sizes.num_items - len(self.missing_weight_I)
        self.missing_weight_I = torch.cat([self.missing_weight_I, self.missing_weight_I.new_zeros(more)])
        new_I = torch.bincount(item_P, minlength=len(self.missing_weight_I))
        first_F = ((new_I > 0) & (new_I == data.item_lists.length)).nonzero().squeeze(-1)
        self.missing_weight_I[first_F] = self.config.missing_weight
        draw = torch.Generator().manual_seed(len(data.train))
        begin_FD = self.config.stddev * torch.randn(len(first_F), self.config.embedding_dim, generator=draw)
        self.item_embedding.weight[first_F] = begin_FD.to(self.item_embedding.weight)

    class CoordinateDescent:
        """All users' vectors, then all items', coordinate by coordinate; one epoch is one sweep."""

        one_epoch: ClassVar[bool] = False

        @torch.no_grad()
        def epoch(self, model: EALS, data: Inputs, rng: np.random.Generator) -> float:
            """One sweep; returns the objective after it, per interaction."""
            user_UD, item_ID, weight_I = model.user_embedding.weight, model.item_embedding.weight, model.missing_weight_I
            l2, whole_U = model.config.l2, torch.ones_like(user_UD[:, 0])
            side = model.weighed(data.user_lists, weight_I[data.user_lists.index])
            user_UD.copy_(sweep_coordinates(item_ID, *side, model.shared_by_users(), whole_U, l2, user_UD))
            side = model.weighed(data.item_lists, weight_I[data.item_lists.owner])
            item_ID.copy_(sweep_coordinates(user_UD, *side, user_UD.T @ user_UD, weight_I, l2, item_ID))
            return model.loss(data) / max(len(data.train), 1)

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between sweeps but the vectors."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"eals": CoordinateDescent}
