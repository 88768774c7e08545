"""ExpoMF, or EXMF: what a user left out was either seen and passed by, or never seen (Liang et al., WWW 2016).

paper                  here                    shape
theta_u, beta_i        user, item tables       [B, D]
y_ui                   a user's list           0/1        who chose what
a_ui                   exposure                0/1        who came across what; known where something was chosen
mu_i                   prior_I                 [I]        how likely an item is come across
p_ui                   exposure, blocks        [R, K]     how likely it was, now that nothing was chosen
lambda_y               click_precision
lambda_theta, _beta    l2                                 one for both sides, as in all that the authors ran
a, b                   prior_a, prior_b

A cell that was seen is normal around theta_u . beta_i, one that was not is zero. One sweep of EM goes over users, items and the
prior, each with p made anew from what stands:

    p_ui = mu_i N_ui / (mu_i N_ui + 1 - mu_i),  N_ui = N(0 | theta_u . beta_i, 1 / lambda_y);  1 where chosen
    theta_u = (sum_i p_ui beta_i beta_i' + lambda_theta / lambda_y I)^-1  sum over R_u of beta_i
    mu_i = (a - 1 + sum_u p_ui) / (a + b - 2 + U)

Shapes: B pairs, D embedding, G rows and E columns, R and K of them in a block, P = D (D + 1) / 2, U users, I items.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError
from attlas.models.layers import embedding
from attlas.ops.gram import inner_products
from attlas.ops.packed import outer_products, ridge_packed
from attlas.ops.ragged import Ragged
from attlas.ops.segments import segment_sum
from attlas.spaces import Choice, Space, Span

BLOCK_FLOATS = 2**22  # of the normal matrices of a block of rows: 16 MB
MOST_ROWS = 2048
SURE = 1e-6  # the prior stays so far from 0 and from 1
AUTHORS_ADDEND = 1e-8  # what the authors' code adds to a density
FOLDING_ROUNDS = 10


class Side(NamedTuple):
    """The matrix with users, or items, for its rows.

    Attributes:
        own: the vector of each row, [G, D].
        other: that of each column, [E, D].
        lists: which cells of each row were chosen.
        odds: log odds that a cell was seen where its score is zero, [G, E]; a row or a column that is expanded.
    """

    own: Tensor
    other: Tensor
    lists: Ragged
    odds: Tensor


class ExpoMF(nn.Module):
    """The score is the inner product of two vectors, fitted by EM to the cells that a user is likely to have seen."""

    user_tables: ClassVar[tuple[str, ...]] = ("user_embedding",)
    is_inner_product: ClassVar[bool] = True
    reasons: ClassVar[Literal["contribution"]] = "contribution"

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The paper's hyper-parameters.

        Attributes:
            embedding_dim: D, the size of both tables.
            click_precision: lambda_y, how closely seen cells are fitted; through the density's height it also says how easily
                a cell counts as seen.
            l2: lambda_theta and lambda_beta, the precision of the vectors' normal priors.
            prior: ``popularity`` estimates how likely each item is come across; ``constant`` holds it where it began.
            prior_start: mu before the first sweep, for every item; near the share of filled cells.
            prior_a: a of the Beta prior on mu; above 1 it holds mu up.
            prior_b: b of it; above 1 it holds mu down.
            constant: of the normal density. ``exact`` is sqrt(lambda_y / (2 pi)); ``authors`` is the pi times larger one of the
                published code, with its addend.
            score: what is ranked by: the ``preference`` theta_u . beta_i, or that times mu_i, which is ``expected``.
            stddev: spread of the tables at the start.
        """

        embedding_dim: int = Field(default=64, ge=1)
        click_precision: float = Field(default=1.0, gt=0)
        l2: float = Field(default=1.0, gt=0)
        prior: Literal["popularity", "constant"] = "popularity"
        prior_start: float = Field(default=0.01, gt=0, lt=1)
        prior_a: float = Field(default=1.0, ge=1)
        prior_b: float = Field(default=1.0, ge=1)
        constant: Literal["exact", "authors"] = "exact"
        score: Literal["preference", "expected"] = "preference"
        stddev: float = Field(default=0.01, gt=0)

    search_space: ClassVar[Space] = {
        "model.embedding_dim": Choice((16, 32, 64)),
        "model.click_precision": Span(0.1, 30.0, log=True),
        "model.l2": Span(0.01, 100.0, log=True),
        "model.prior": Choice(("popularity", "constant")),
        "model.prior_start": Span(0.003, 0.7, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config = config or ExpoMF.Config()
        self.user_embedding = embedding(sizes.num_users, config.embedding_dim, stddev=config.stddev)
        self.item_embedding = embedding(sizes.num_items, config.embedding_dim, stddev=config.stddev)
        self.prior_I: Tensor
        self.register_buffer("prior_I", torch.full((sizes.num_items,), config.prior_start))

    @staticmethod
    def memory(sizes: Sizes, config: Config) -> dict[str, int]:
        """The tables and their successors; the cells of one block with the matrices they go into."""
        rows, columns, packed = _block_shape(config.embedding_dim)
        rows, columns = (min(size, max(sizes.num_users, sizes.num_items)) for size in (rows, columns))
        tables = 3 * (sizes.num_users + sizes.num_items) * (config.embedding_dim + 1)
        return {"its vectors": 4 * tables, "a block of cells": 4 * (rows * packed + columns * packed + 3 * rows * columns)}

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """theta_u . beta_i, or mu_i theta_u . beta_i, [B]."""
        return self.match(self.encode_user(user), self.encode_item(item))

    def encode_user(self, user: Tensor) -> Tensor:
        """The vector of each user, [B, D]."""
        return self.user_embedding(user)

    def encode_item(self, item: Tensor) -> Tensor:
        """The vector of each item, times its prior where the expected choice is ranked by, [B, D]."""
        code_BD = self.item_embedding(item)
        return code_BD if self.config.score == "preference" else self.prior_I[item, None] * code_BD

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """Their inner product; leading dimensions broadcast."""
        return (user_code * item_code).sum(-1)

    def score_catalogue(self, user: Tensor) -> Tensor:
        """The whole catalogue in one product, [V, I]."""
        return self.user_embedding(user) @ self.encode_item(torch.arange(len(self.prior_I), device=user.device)).T

    def exposure(self, user: Tensor, item: Tensor) -> Tensor:
        """p_ui, how likely each user came across an item that they did not choose, [B]."""
        return self.log_odds(self.odds_at_zero(self.prior_I[item]), self.preference(user, item)).sigmoid()

    def preference(self, user: Tensor, item: Tensor) -> Tensor:
        """theta_u . beta_i, near 1 for what is liked once it is seen, [B]."""
        return (self.user_embedding(user) * self.item_embedding(item)).sum(-1)

    def odds_at_zero(self, prior: Tensor) -> Tensor:
        """log(mu N / (1 - mu)) where the score is zero: N is the height of the density."""
        return prior.logit() + self._log_height()

    def log_odds(self, at_zero: Tensor, score: Tensor) -> Tensor:
        """log(mu N / (1 - mu)) of a cell that was not chosen, with N the density of zero around its score."""
        odds = torch.addcmul(at_zero, score, score, value=-0.5 * self.config.click_precision)
        if self.config.constant == "exact":
            return odds
        return torch.logaddexp(odds, at_zero - self._log_height() + math.log(AUTHORS_ADDEND))

    def _log_height(self) -> float:
        precision = self.config.click_precision
        return 0.5 * math.log(precision / (2 * math.pi) if self.config.constant == "exact" else precision * math.pi / 2)

    def side(self, data: Inputs, name: Literal["user", "item"]) -> Side:
        """The training matrix with users, or items, for its rows."""
        user_UD, item_ID, odds_I = self.user_embedding.weight, self.item_embedding.weight, self.odds_at_zero(self.prior_I)
        if name == "user":
            return Side(user_UD, item_ID, data.user_lists, odds_I.expand(len(user_UD), -1))
        return Side(item_ID, user_UD, data.item_lists, odds_I[:, None].expand(-1, len(user_UD)))

    def block(self, side: Side, rows: slice, columns: slice, *, chosen: float) -> Tensor:
        """The log odds that the cells of a block were seen, [R, K], and ``chosen`` where they were chosen."""
        odds_RK = self.log_odds(side.odds[rows, columns], side.own[rows] @ side.other[columns].T)
        entries = slice(int(side.lists.start[rows.start]), int(side.lists.start[rows.stop]))
        owner_T, index_T = side.lists.owner[entries], side.lists.index[entries]
        is_here_T = (index_T >= columns.start) & (index_T < columns.stop)
        odds_RK[owner_T[is_here_T] - rows.start, index_T[is_here_T] - columns.start] = chosen
        return odds_RK

    @torch.no_grad()
    def solve(self, side: Side) -> Tensor:
        """E-step and M-step of all rows of one side, [G, D]; p exists for one block of cells at a time."""
        solved_GD = torch.empty_like(side.own)
        for rows in _slices(len(side.own), _block_shape(self.config.embedding_dim)[0]):
            try:
                solved_GD[rows] = ridge_packed(*self.equations(side, rows, solved_GD.dtype))
            except ConfigError:  # where few rows carry many dimensions, floats round away what the penalty adds
                solved_GD[rows] = ridge_packed(*self.equations(side, rows, torch.float64)).to(solved_GD)
        return solved_GD

    @torch.no_grad()
    def equations(self, side: Side, rows: slice, kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Of some rows the upper triangles of sum_e p_ge v_e v_e', the right sides and the penalties, in one precision."""
        _, columns_at_once, packed = _block_shape(self.config.embedding_dim)
        row_R = torch.arange(rows.start, rows.stop, device=side.own.device)
        normal_RP = torch.zeros(len(row_R), packed, dtype=kind, device=side.own.device)
        for columns in _slices(len(side.other), columns_at_once):
            seen_RK = self.block(side, rows, columns, chosen=math.inf).sigmoid_()
            normal_RP.addmm_(seen_RK.to(kind), outer_products(side.other[columns].to(kind)))
        right_RD = segment_sum(side.other.to(kind), side.lists.take(row_R))
        return normal_RP, right_RD, torch.full_like(normal_RP[:, 0], self.config.l2 / self.config.click_precision)

    @torch.no_grad()
    def expect(self, data: Inputs) -> tuple[Tensor, float]:
        """How many users are expected to have seen each item, float64[I], and the bound, which for this p is the objective."""
        side, precision = self.side(data, "item"), self.config.click_precision
        rows_at_once, columns_at_once, _ = _block_shape(self.config.embedding_dim)
        count_I = side.lists.length.double()
        seen_I, gained = count_I.clone(), 0.0
        for rows in _slices(len(side.own), rows_at_once):
            for columns in _slices(len(side.other), columns_at_once):
                odds_RK = self.block(side, rows, columns, chosen=-math.inf)
                gained += float(functional.softplus(odds_RK).sum(dtype=torch.float64))
                seen_I[rows] += odds_RK.sigmoid_().sum(1, dtype=torch.float64)
        # log(mu N + 1 - mu) = log(1 - mu) + softplus(log odds) where nothing was chosen, log mu + log N elsewhere.
        prior_I = self.prior_I.double()
        at_zero = (len(side.other) - count_I + self.config.prior_b - 1) @ torch.log1p(-prior_I)
        at_one = (count_I + self.config.prior_a - 1) @ prior_I.log()
        lack_T = 1 - inner_products(side.own, side.other, side.lists).double()
        chosen = 0.5 * len(lack_T) * math.log(precision / (2 * math.pi)) - 0.5 * precision * lack_T.square().sum()
        squares = side.own.double().square().sum() + side.other.double().square().sum()
        return seen_I, gained + float(at_zero + at_one + chosen - 0.5 * self.config.l2 * squares)

    def bound(self, data: Inputs) -> float:
        """The objective: the log posterior density of vectors and prior, exposure summed out, but for what is constant."""
        return self.expect(data)[1]

    def fold_in(self, user_history: History) -> Tensor:
        """The vector of each asking list, by rounds of E-step and M-step with all else held, from zero on, [B, D]."""
        return self.solve(self._before_the_last_round(user_history, self.item_embedding.weight, self.prior_I))

    @torch.no_grad()
    def admit(self, item: Tensor, item_history: History) -> None:
        """Give new items vectors in the same way, from who chose them; how likely they are come across stays as it is."""
        side = self._before_the_last_round(item_history, self.user_embedding.weight, self.prior_I[item, None])
        self.item_embedding.weight[item] = self.solve(side)

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry adds to the score of the vector folded in, the sum of A^-1 beta_j, A its last normal matrix, [T]."""
        side = self._before_the_last_round(user_history, self.item_embedding.weight, self.prior_I)
        normal_1P, _, penalty_1 = self.equations(side, slice(0, 1), torch.float64)
        towards_1D = ridge_packed(normal_1P, self.encode_item(item).double(), penalty_1)
        return {"user_history": side.other[side.lists.index] @ towards_1D[0].to(side.other)}

    def _before_the_last_round(self, history: History, other_ED: Tensor, prior: Tensor) -> Side:
        lists = history.lists.take(history.row)
        chosen = Ragged(lists.start, history.distinct[lists.index], len(other_ED))
        begin_BD = other_ED.new_zeros(lists.count, other_ED.shape[1])
        side = Side(begin_BD, other_ED, chosen, self.odds_at_zero(prior).expand(lists.count, len(other_ED)))
        for _ in range(FOLDING_ROUNDS - 1):
            side = side._replace(own=self.solve(side))
        return side

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class EM:
        """Expectation and maximisation, exactly, for users, items and prior in turn; one epoch is one sweep."""

        one_epoch: ClassVar[bool] = False

        @torch.no_grad()
        def epoch(self, model: ExpoMF, data: Inputs, rng: np.random.Generator) -> float:
            """One sweep; returns the bound before its last step, the prior's, per interaction with its sign turned."""
            config = model.config
            model.user_embedding.weight.copy_(model.solve(model.side(data, "user")))
            model.item_embedding.weight.copy_(model.solve(model.side(data, "item")))
            seen_I, bound = model.expect(data)
            if config.prior == "popularity":
                prior_I = (config.prior_a - 1 + seen_I) / (config.prior_a + config.prior_b - 2 + data.sizes.num_users)
                model.prior_I.copy_(prior_I.clamp(SURE, 1 - SURE))
            return -bound / max(len(data.train), 1)

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between sweeps but vectors and prior."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"em": EM}


def _block_shape(dim: int) -> tuple[int, int, int]:
    """R, K and P: how many rows and columns a block has, so that their packed matrices fit, and the size of one of these."""
    packed = dim * (dim + 1) // 2
    rows = max(2, min(MOST_ROWS, BLOCK_FLOATS // packed))
    return rows, rows // 2, packed


def _slices(count: int, size: int) -> Iterator[slice]:
    """0 to count - 1 in runs of at most so many."""
    return (slice(first, min(first + size, count)) for first in range(0, count, size))
