"""SLIM: a sparse item-item linear model with non-negative weights and a zero diagonal (Ning and Karypis, ICDM 2011).

paper        here           shape
A            observed       U x I    the binary matrix of who chose what
A'A          gram_II        I x I
W            weight_II      I x I    W_ij: what having chosen i adds to the score of j
lambda       l1
beta         l2

Shapes: B pairs, U users, I items, T history entries.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError
from attlas.memory import readable_bytes
from attlas.models.layers import sum_chosen
from attlas.ops.elastic import elastic_net
from attlas.ops.gram import cooccurrence
from attlas.spaces import Space, Span


class SLIM(nn.Module):
    """The score of an item is the sum of its weights from everything the user has chosen; most weights are zero."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The penalties, on the scale of counts: each column's squared error is summed over users, not averaged.

        A library that averages over its n users and takes alpha and l1_ratio means l1 = n alpha l1_ratio and
        l2 = n alpha (1 - l1_ratio).

        Attributes:
            l1: lambda, the penalty on absolute weights; an item that l1 users or fewer share with the target weighs zero.
            l2: beta, the penalty on squared weights; larger data with longer histories want more.
            neighbours: how many weights each target keeps, the largest, once they are fitted; None keeps all.
            non_negative: whether no weight may be negative, as in the paper.
            tolerance: how far a weight may be from its optimality condition, as a share of the target's count.
            max_sweeps: passes of coordinate descent after which a column that is not within the tolerance fails the fit.
        """

        l1: float = Field(default=1.0, ge=0)
        l2: float = Field(default=500.0, ge=0)
        neighbours: int | None = Field(default=None, ge=1)
        non_negative: bool = True
        tolerance: float = Field(default=1e-5, gt=0)
        max_sweeps: int = Field(default=10_000, ge=1)

    search_space: ClassVar[Space] = {
        "model.l1": Span(0.1, 30.0, log=True),
        "model.l2": Span(1.0, 2_000.0, log=True),
    }

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config or SLIM.Config()
        self.weight_II: Tensor
        self.register_buffer("weight_II", torch.zeros(sizes.num_items, sizes.num_items))

    def forward(self, item: Tensor, user_history: History) -> Tensor:
        """score(u, j) = sum over i in R_u of W_ij, [B]; the target adds nothing to itself, since W_jj = 0."""
        row_R, place_B = user_history.row.unique(return_inverse=True)
        return sum_chosen(self.weight_II, user_history, row_R)[place_B, item]

    def score_catalogue(self, user_history: History) -> Tensor:
        """A_u W for each asking row, [B, I]."""
        return sum_chosen(self.weight_II, user_history, user_history.row)

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry adds to the score of the one item: exact contributions, [T]."""
        return {"user_history": self.weight_II[user_history.distinct[user_history.index], item[0]]}

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """The Gram matrix, the weights as they are solved for, a row per target, and the model's."""
        matrix = 4 * sizes.num_items**2
        return {f"3 matrices of {sizes.num_items:,} x {sizes.num_items:,} ({readable_bytes(matrix)} each)": 3 * matrix}

    class CoordinateDescent:
        """Solves every column to its optimum; one epoch is all there is."""

        one_epoch: ClassVar[bool] = True

        def epoch(self, model: SLIM, data: Inputs, rng: np.random.Generator) -> float:
            """Minimise 1/2 ||A - A W||^2 + beta/2 ||W||^2 + lambda ||W||_1, W >= 0, diag(W) = 0; returns what is reached."""
            config = model.config
            weight_II, objective_I, violation_I = elastic_net(
                cooccurrence(data.user_lists, data.item_lists).cpu().numpy(),
                l1=config.l1,
                l2=config.l2,
                non_negative=config.non_negative,
                tolerance=config.tolerance,
                max_sweeps=config.max_sweeps,
            )
            unsolved = int((violation_I > config.tolerance).sum())
            if unsolved:
                raise ConfigError(
                    f"[model] {unsolved:,} of {len(violation_I):,} columns are not solved to tolerance = {config.tolerance} "
                    f"after max_sweeps = {config.max_sweeps}; raise either of the two, or l2"
                )
            if config.neighbours:
                _keep_largest(weight_II, config.neighbours)
            model.weight_II.copy_(torch.from_numpy(weight_II).T)
            return float(objective_I.sum())

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between epochs."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"coordinate-descent": CoordinateDescent}


def _keep_largest(weight_II: np.ndarray, count: int) -> None:
    """Set all but the largest weights of each row to zero, in place."""
    for weight_I in weight_II:
        if np.count_nonzero(weight_I) > count:
            weight_I[np.argpartition(-np.abs(weight_I), count)[count:]] = 0.0
