"""DELF's epoch beside the same four towers fed plain embeddings in place of the history summaries; EASE's fit.

ATTLAS_DATA=... python benchmarks/fit.py
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record
from torch import Tensor, nn

from attlas.data.inputs import Inputs, Sizes
from attlas.data.split import read_split
from attlas.models.delf import DELF
from attlas.models.ease import EASE
from attlas.models.layers import embedding
from attlas.training.fit import Descent
from attlas.training.objectives import Pointwise

ROUNDS, BATCHES = 5, 40


class PlainTowers(DELF):
    """The rival: a second plain embedding of user and item where DELF has a summary of their histories."""

    def __init__(self, sizes: Sizes, config: Any):
        super().__init__(sizes, config)
        del self.history_item, self.history_user, self.user_attention, self.item_attention
        self.second_user = embedding(sizes.num_users, config.embedding_dim)
        self.second_item = embedding(sizes.num_items, config.embedding_dim)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:  # type: ignore[override]
        """The same four pairings, the second view being an embedding."""
        p, m = self.user_embedding(user), self.second_user(user)
        q, n = self.item_embedding(item), self.second_item(item)
        users = [tower.user_half(view) for tower, view in zip(self._towers, (p, m, p, m), strict=True)]
        items = [tower.item_half(view) for tower, view in zip(self._towers, (q, n, n, q), strict=True)]
        return self.match(torch.cat(users, dim=-1), torch.cat(items, dim=-1))


class Some(Pointwise):
    """The first batches of an epoch only."""

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Any:
        """As many as are timed."""
        for number, batch in enumerate(super().batches(data, model, rng)):
            if number == BATCHES:
                return
            yield batch


def seconds_of(model: nn.Module, inputs: Inputs, batch_size: int) -> Spell:
    """Time the first batches of an epoch."""
    solver = Descent(model, Some(batch_size=batch_size))
    with Spell() as spell:
        solver.epoch(model, inputs, np.random.default_rng(1))
    return spell


def delf_beside_plain(inputs: Inputs, batch_size: int) -> dict[str, Any]:
    """Rounds of ours and the rival in turn; the ratio is the median over rounds."""
    torch.manual_seed(1)
    ours, plain = DELF(inputs.sizes), PlainTowers(inputs.sizes, DELF.Config())
    share = Pointwise(batch_size=batch_size).count(inputs) / BATCHES
    seconds_of(ours, inputs, batch_size), seconds_of(plain, inputs, batch_size)
    pairs = [(seconds_of(ours, inputs, batch_size), seconds_of(plain, inputs, batch_size)) for _ in range(ROUNDS)]
    middle = sorted(pairs, key=lambda pair: pair[0].wall)[len(pairs) // 2]
    return {
        "what": f"DELF epoch, embedding 64, four towers 128-64-32, 4 negatives, batch {batch_size:,}",
        "epoch_s": round(middle[0].wall * share, 2),
        "plain_epoch_s": round(middle[1].wall * share, 2),
        "ratio": round(statistics.median(a.wall / b.wall for a, b in pairs), 3),
        "ratio_cpu": round(statistics.median(a.cpu / b.cpu for a, b in pairs), 3),
        "ours": middle[0].facts(),
        "plain": middle[1].facts(),
        "peak_mib": peak_mib(),
    }


def ease_fit(inputs: Inputs) -> dict[str, Any]:
    """EASE's closed form, best of three after one that compiles."""
    spells = []
    for _ in range(4):
        fresh, model = Inputs(inputs.train), EASE(inputs.sizes, EASE.Config(l2=1000.0))
        with Spell() as spell:
            EASE.ClosedForm().epoch(model, fresh, np.random.default_rng(1))
        spells.append(spell)
    best = min(spells[1:], key=lambda spell: spell.wall)
    matrix = torch.randn(inputs.sizes.num_items, inputs.sizes.num_items)
    with Spell() as inverse:
        torch.linalg.inv(matrix)
    return {"what": "EASE fit", "fit": best.facts(), "inverse_alone": inverse.facts(), "peak_mib": peak_mib()}


def main() -> None:
    """All lines for ml-1m-ncf."""
    split = read_split(data_folder() / "ml-1m-ncf", validation="none")
    inputs = Inputs(split.train)
    lines = [delf_beside_plain(inputs, size) for size in (8192, 16384)]
    record("fit", [{"data": "ml-1m-ncf", **line} for line in [*lines, ease_fit(inputs)]])


if __name__ == "__main__":
    main()
