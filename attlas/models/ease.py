"""EASE: an item-item linear model with a zero diagonal, solved in closed form (Steck, WWW 2019).

paper        here           shape
X            observed       U x I    the binary matrix of who chose what
G = X'X      gram           I x I
lambda       l2
P            inverse        I x I    (G + lambda I)^-1
B            weight_II      I x I    B_ij = -P_ij / P_jj, B_jj = 0

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
from attlas.ops.gram import cooccurrence
from attlas.spaces import Space, Span


class EASE(nn.Module):
    """The score of an item is the sum of its weights from everything the user has chosen."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """The one hyper-parameter.

        Attributes:
            l2: lambda, the penalty on squared weights; larger data with longer histories want more.
        """

        l2: float = Field(default=500.0, gt=0)

    search_space: ClassVar[Space] = {"model.l2": Span(10.0, 10_000.0, log=True)}

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config or EASE.Config()
        self.weight_II: Tensor
        self.register_buffer("weight_II", torch.zeros(sizes.num_items, sizes.num_items))

    def forward(self, item: Tensor, user_history: History) -> Tensor:
        """score(u, i) = sum over j in R_u of B_ji, [B]; the target adds nothing to itself, since B_ii = 0."""
        row_R, place_B = user_history.row.unique(return_inverse=True)
        return sum_chosen(self.weight_II, user_history, row_R)[place_B, item]

    def score_catalogue(self, user_history: History) -> Tensor:
        """X_u B for each asking row, [B, I]."""
        return sum_chosen(self.weight_II, user_history, user_history.row)

    def attention(self, item: Tensor, user_history: History) -> dict[str, Tensor]:
        """What each entry adds to the score of the one item: exact contributions, [T]."""
        return {"user_history": self.weight_II[user_history.distinct[user_history.index], item[0]]}

    @staticmethod
    def memory(sizes: Sizes, config: Any) -> dict[str, int]:
        """The Gram matrix or the weights' copy on the way, its factor, and the weights."""
        matrix = 4 * sizes.num_items**2
        return {f"3 matrices of {sizes.num_items:,} x {sizes.num_items:,} ({readable_bytes(matrix)} each)": 3 * matrix}

    class ClosedForm:
        """Solves for all weights at once; one epoch is all there is."""

        one_epoch: ClassVar[bool] = True

        def epoch(self, model: EASE, data: Inputs, rng: np.random.Generator) -> float:
            """B = I - P diag(1 / P_jj) with P = (X'X + lambda I)^-1, by Cholesky."""
            gram_II = cooccurrence(data.user_lists, data.item_lists)
            gram_II.diagonal().add_(model.config.l2)
            factor_II, failed = torch.linalg.cholesky_ex(gram_II)
            if failed:
                raise ConfigError(
                    f"[model] l2 = {model.config.l2} is too small: X'X + l2 I cannot be inverted in floats; raise it"
                )
            del gram_II  # never more than three matrices at once: see memory
            weight_II = torch.cholesky_inverse(factor_II, out=model.weight_II)
            weight_II.div_(-weight_II.diagonal().clone())
            weight_II.fill_diagonal_(0.0)
            return float("nan")

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between epochs."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"closed-form": ClosedForm}
