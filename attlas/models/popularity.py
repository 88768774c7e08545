"""Item popularity: everybody is recommended what most have chosen.

The floor under every claim: a model that does not beat it has learnt nothing about anybody.

Shapes: B pairs, U users, I items.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from attlas.data.inputs import History, Inputs, Sizes


class Popularity(nn.Module):
    """An item's score is the number of users who have chosen it."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """Popularity has nothing to set."""

    def __init__(self, sizes: Sizes, config: Config | None = None):
        super().__init__()
        self.config = config or Popularity.Config()
        self.count_I: Tensor
        self.register_buffer("count_I", torch.zeros(sizes.num_items))

    def forward(self, item: Tensor) -> Tensor:
        """The count of each item, [B]."""
        return self.count_I[item]

    def score_catalogue(self, user_history: History) -> Tensor:
        """The same counts for everybody, [U, I]."""
        return self.count_I.expand(len(user_history.row), -1)

    class Count:
        """Counts the users of each item; one epoch is all there is."""

        one_epoch: ClassVar[bool] = True

        def epoch(self, model: Popularity, data: Inputs, rng: np.random.Generator) -> float:
            """Count; there is no loss."""
            model.count_I.copy_(data.item_lists.length)
            return float("nan")

        def state(self) -> dict[str, Tensor]:
            """Nothing lives on between epochs."""
            return {}

        def restore(self, state: dict[str, Tensor]) -> None:
            """Nothing to restore."""

    Solvers: ClassVar[dict[str, Any]] = {"count": Count}
