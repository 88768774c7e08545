"""An epoch of the models on histories beside their towers fed plain embeddings, and beside the literal form, pair by pair.

ATTLAS_DATA=... python benchmarks/towers.py [--data ml-1m-ncf] [MODEL ...]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record
from torch import Tensor, nn

from attlas.data.inputs import History, Inputs, Sizes
from attlas.experiment import Experiment
from attlas.loading import load_split
from attlas.models import MODELS, model_class
from attlas.models.layers import embedding
from attlas.ops.ragged import Ragged
from attlas.training.fit import Descent
from attlas.training.objectives import Batch, Pointwise

ROUNDS, BATCHES = 5, 30
LITERAL_PAIRS, LITERAL_BATCHES = 256, 6  # what the papers name as a batch


class Tower(NamedTuple):
    """What a tower reads, and the sizes of its input and of its layers."""

    reads: Literal["both", "product", "user", "item"]
    width: int
    layers: tuple[int, ...]


def towers_of(name: str, config: Any) -> list[Tower]:
    """The towers of a model on histories."""
    match name:
        case "delf":
            return 4 * [Tower("both", 2 * config.embedding_dim, config.layers)]
        case "drnet":
            width, layers = config.association_dim or config.embedding_dim, config.association_layers or config.layers
            return [Tower("product", config.embedding_dim, config.layers), Tower("product", width, layers)]
        case "deepcf":
            sides = [Tower("user", config.rl_user_dim, config.rl_layers), Tower("item", config.rl_item_dim, config.rl_layers)]
            return [*sides, Tower("both", 2 * config.ml_dim, config.ml_layers)]
        case "dacr":
            width, layers = 2 * config.representation_dim, config.representation_layers
            sides = [Tower("user", width, layers), Tower("item", width, layers)]
            return [*sides, Tower("both", 4 * config.matching_dim, config.matching_layers)]
    raise SystemExit(f"{name} has no towers on histories; there are {', '.join(WITH_TOWERS)}")


WITH_TOWERS = ("delf", "drnet", "deepcf", "dacr")


class PlainTowers(nn.Module):
    """The rival: the same towers on embeddings of the user and the item, each a plain sequence of layers."""

    def __init__(self, sizes: Sizes, towers: list[Tower]):
        super().__init__()
        self.reads = [tower.reads for tower in towers]
        halves = [tower.width // 2 if tower.reads == "both" else tower.width for tower in towers]
        self.user_tables = nn.ModuleList(embedding(sizes.num_users, half) for half in halves)
        self.item_tables = nn.ModuleList(embedding(sizes.num_items, half) for half in halves)
        self.towers = nn.ModuleList(
            nn.Sequential(
                *itertools.chain(*((nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise((t.width, *t.layers))))
            )
            for t in towers
        )
        outputs = [tower.layers[-1] for tower in towers if tower.reads != "item"]  # the item's meets the user's in a product
        self.prediction = nn.Linear(sum(outputs), 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """The logit of each pair, [B]."""
        said: list[Tensor] = []
        for reads, users, items, tower in zip(self.reads, self.user_tables, self.item_tables, self.towers, strict=True):
            if reads == "both":
                said.append(tower(torch.cat([users(user), items(item)], dim=-1)))
            elif reads == "product":
                said.append(tower(users(user) * items(item)))
            elif reads == "user":
                said.append(tower(users(user)))
            else:
                said[-1] = said[-1] * tower(items(item))
        return self.prediction(torch.cat(said, dim=-1)).squeeze(-1)


class Some(Pointwise):
    """The first batches of an epoch only."""

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Any:
        """As many as are timed."""
        yield from itertools.islice(super().batches(data, model, rng), BATCHES)


def spelled_out(inputs: dict[str, Any]) -> dict[str, Any]:
    """The same inputs with a list of its own for every pair, and every entry of every list a place of its own."""
    return {name: _spelled_out(given) if isinstance(given, History) else given for name, given in inputs.items()}


def _spelled_out(history: History) -> History:
    own = history.lists.take(history.row)
    place = torch.arange(len(own.index))
    moved = history.left_out - history.lists.start[history.row] + own.start[:-1]
    left_out = torch.where(history.left_out >= 0, moved, -1)
    return History(history.distinct[own.index], Ragged(own.start, place, len(place)), torch.arange(own.count), left_out)


def seconds_of(model: nn.Module, inputs: Inputs) -> tuple[Spell, int]:
    """Time the first batches of an epoch; and the pairs that were in them."""
    shown = [0]
    solver = Descent(model, Some(), watch=lambda moment: shown.__setitem__(0, moment.pairs))
    with Spell() as spell:
        solver.epoch(model, inputs, np.random.default_rng(1))
    return spell, shown[0]


def literal_seconds(model: nn.Module, inputs: Inputs) -> tuple[Spell, int, float]:
    """Time some small batches pair by pair; the pairs in them, and how far their scores lie from those of the fast form."""
    optimizer, objective, pairs, apart = torch.optim.Adam(model.parameters()), Pointwise(batch_size=LITERAL_PAIRS), 0, 0.0
    batches = itertools.islice(objective.batches(inputs, model, np.random.default_rng(2)), LITERAL_BATCHES)
    given = [(batch, Batch(spelled_out(batch.inputs), batch.label)) for batch in batches]
    with torch.no_grad():
        apart = max(float((model(**fast.inputs) - model(**slow.inputs)).abs().max()) for fast, slow in given)
    with Spell() as spell:
        for _, slow in given:
            loss = nn.functional.binary_cross_entropy_with_logits(model(**slow.inputs), slow.label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pairs += len(slow.label)
    return spell, pairs, apart


def beside(name: str, inputs: Inputs) -> dict[str, Any]:
    """Rounds of ours and the rival in turn; the ratio is the median over rounds. Then the literal form."""
    chosen: Any = model_class(name)
    torch.manual_seed(1)
    ours = chosen(inputs.sizes)
    towers = towers_of(name, ours.config)
    plain = PlainTowers(inputs.sizes, towers)
    seconds_of(ours, inputs), seconds_of(plain, inputs)
    rounds = [(*seconds_of(ours, inputs), *seconds_of(plain, inputs)) for _ in range(ROUNDS)]
    our, our_pairs, their, their_pairs = sorted(rounds, key=lambda each: each[0].wall)[ROUNDS // 2]
    peak = peak_mib()  # before the literal form, which holds a history for every pair
    slow, slow_pairs, apart = literal_seconds(ours, inputs)
    whole = len(inputs.train) * 5
    epoch, literal = our.wall / our_pairs * whole, slow.wall / slow_pairs * whole
    return {
        "what": f"{MODELS[name]} epoch, 4 negatives, towers {[(t.reads, t.width, *t.layers) for t in towers]}",
        "epoch_s": round(epoch, 2),
        "plain_epoch_s": round(their.wall / their_pairs * whole, 2),
        "ratio": round(statistics.median(a.wall / n * m / b.wall for a, n, b, m in rounds), 3),
        "ratio_cpu": round(statistics.median(a.cpu / n * m / b.cpu for a, n, b, m in rounds), 3),
        "literal_epoch_s": round(literal),
        "literal_ratio": round(literal / epoch, 1),
        "literal_apart": apart,
        "ours": our.facts(),
        "plain": their.facts(),
        "literal": slow.facts(),
        "peak_mib": peak,
    }


def main() -> None:
    """A line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(WITH_TOWERS)}; without a word all")
    parser.add_argument("--data", default="ml-1m-ncf")
    words = parser.parse_args()
    experiment = Experiment.of({"data": {"source": str(data_folder() / words.data)}, "model": {"name": "delf"}, "solver": {}})
    split, _ = load_split(experiment.data)
    inputs = Inputs(split.train)
    names = words.models or [name for name in WITH_TOWERS if name in MODELS]
    record("towers", [{"data": words.data, **beside(name, inputs)} for name in names])


if __name__ == "__main__":
    main()
