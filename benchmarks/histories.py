"""FISM's, NAIS's and NeuMF's epoch and full ranking beside RecBole; the first two beside plain versions that batch by user.

ATTLAS_DATA=... python benchmarks/histories.py [--recbole PYTHON] [--data ml-1m-ncf|amazon-cds] [--share 1.0] [MODEL ...]

The plain versions and RecBole take targets out of positives only, so that ours are timed with leave_out = "remove"; an epoch
with their default stands beside it. The plain versions run some users only, RecBole some batches; both are scaled up. PYTHON is
that of an environment with RecBole 1.2.1, as for ``rivals.py``. With a share below 1 only that part of the users is kept: to
try the script.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import numpy as np
import torch
from machine import Spell, data_folder, peak_mib, record
from plain_histories import PlainFISM, PlainNAIS, learn, rank
from torch import nn

from attlas.data.inputs import Inputs
from attlas.data.negatives import draw_negatives
from attlas.data.split import read_split
from attlas.models.fism import FISM
from attlas.models.nais import NAIS
from attlas.models.neumf import NeuMF
from attlas.ops.topk import top_k
from attlas.scoring import Scorer
from attlas.training.fit import Descent
from attlas.training.objectives import Pointwise

DIM, SMOOTHING, NEGATIVES, RATE, ROUNDS = 64, 0.5, 4, 1e-3, 3
NEUMF_BATCH, NEUMF_RATE = 32768, 0.005  # curves.py: no worse after as many epochs as RecBole's batch of 2,048
WHAT = {
    "fism": f"FISM, embedding {DIM}, leave_out remove as in RecBole",
    "nais": f"NAIS, product, {DIM} and {DIM}, beta {SMOOTHING}, leave_out remove as in RecBole",
    "neumf": "NeuMF 8, 32 to 32 to 16 to 8",
}
PLAIN_USERS = {"fism": 600, "nais": 24}


@dataclass(frozen=True)
class Contender:
    """A model of ours, the plain version of it where there is one, and what is timed of RecBole's."""

    ours: Callable[[Inputs], nn.Module]
    plain: Callable[[Inputs], PlainFISM] | None
    theirs: str
    batches: int | None  # of an epoch of ours, timed and scaled up by pairs; None for all of them
    their_batches: int = 20
    their_users: int = 3  # 0: all, by RecBole's own evaluation
    batch_size: int | None = None  # of ours
    rate: float = RATE
    default: Callable[[Inputs], nn.Module] | None = None  # ours with its own leave_out, where that is not the others'


CONTENDERS = {
    "fism": Contender(
        lambda inputs: FISM(inputs.sizes, FISM.Config(embedding_dim=DIM, leave_out="remove")),
        lambda inputs: PlainFISM(inputs.sizes.num_items, DIM),
        "FISM",
        None,
        default=lambda inputs: FISM(inputs.sizes, FISM.Config(embedding_dim=DIM)),
    ),
    "nais": Contender(
        lambda inputs: NAIS(inputs.sizes, NAIS.Config(embedding_dim=DIM, attention_dim=DIM, leave_out="remove")),
        lambda inputs: PlainNAIS(inputs.sizes.num_items, DIM, DIM, SMOOTHING),
        "NAIS",
        60,
        default=lambda inputs: NAIS(inputs.sizes, NAIS.Config(embedding_dim=DIM, attention_dim=DIM)),
    ),
    "neumf": Contender(
        lambda inputs: NeuMF(inputs.sizes),
        None,
        "NeuMF",
        None,
        their_batches=300,
        their_users=0,
        batch_size=NEUMF_BATCH,
        rate=NEUMF_RATE,
    ),
}


class Some(Pointwise):
    """The first batches of an epoch only; counts the pairs in them."""

    def __init__(self, count: int | None, batch_size: int | None):
        super().__init__(negatives=NEGATIVES, batch_size=batch_size)
        object.__setattr__(self, "most", count)
        object.__setattr__(self, "pairs", 0)

    def batches(self, data: Inputs, model: nn.Module, rng: np.random.Generator) -> Iterator[Any]:
        """As many as are timed."""
        for number, batch in enumerate(super().batches(data, model, rng)):
            if number == self.most:
                return
            object.__setattr__(self, "pairs", self.pairs + len(batch.label))
            yield batch


def our_epoch(contender: Contender, make: Callable[[Inputs], nn.Module], inputs: Inputs) -> dict[str, Any]:
    """The quickest of some epochs after one that compiles, negatives and optimizer steps included."""
    torch.manual_seed(1)
    model = make(inputs)
    spells = []
    for seed in range(ROUNDS + 1):
        objective = Some(contender.batches if seed else 2, contender.batch_size)
        with Spell() as spell:
            Descent(model, objective, learning_rate=contender.rate).epoch(model, inputs, np.random.default_rng(seed))
        share = objective.pairs / (len(inputs.train) * (1 + NEGATIVES))
        spells.append((spell.wall / share, spell.cpu / share, spell.others))
    wall, cpu, others = min(spells[1:])
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "others": round(others, 3), "peak_mib": peak_mib()}


def our_ranking(contender: Contender, inputs: Inputs) -> dict[str, Any]:
    """The ten best unseen items of every user, the quickest of some after one that compiles."""
    torch.manual_seed(1)
    model, seen = contender.ours(inputs).eval(), inputs.train.by_user
    spells = []
    for _ in range(ROUNDS + 1):
        scorer, users = Scorer(model, inputs), np.arange(inputs.sizes.num_users)
        with Spell() as spell:
            for first in range(0, len(users), scorer.users_at_once):
                rows = seen[users[first : first + scorer.users_at_once]]
                scores = scorer.score_all(users[first : first + scorer.users_at_once])
                top_k(scores, 10, rows.indptr.astype(np.int64), rows.indices.astype(np.int64))
        spells.append(spell)
    return {**min(spells[1:], key=lambda spell: spell.wall).facts(), "peak_mib": peak_mib()}


def plain(name: str, inputs: Inputs) -> tuple[dict[str, Any], dict[str, Any]]:
    """Epoch and ranking of some random users by the plain version, scaled up by the work that all users are.

    NAIS's work on a user grows with pairs times entries, FISM's with pairs; in the ranking with entries, or not at all.
    """
    rng, matrix = np.random.default_rng(1), inputs.train.by_user
    length_U = np.diff(matrix.indptr).astype(np.float64)
    chosen = rng.permutation(np.flatnonzero((length_U > 0) & (length_U < inputs.sizes.num_items)))[: PLAIN_USERS[name]]
    users = []
    for user in chosen:
        listed = matrix[[user]].indices.astype(np.int64)
        drawn = draw_negatives(matrix, np.full(len(listed), user), NEGATIVES, rng).ravel()
        label = torch.zeros(len(listed) + len(drawn))
        label[: len(listed)] = 1.0
        users.append((torch.from_numpy(listed), torch.from_numpy(np.concatenate([listed, drawn])), label))
    torch.manual_seed(1)
    make = CONTENDERS[name].plain
    assert make is not None
    model = make(inputs)
    learn(model, users[:2], RATE, 1)
    pairs_a_step = len(inputs.train) * (1 + NEGATIVES) // Pointwise(negatives=NEGATIVES).count(inputs)
    with Spell() as epoch:
        learn(model, users, RATE, pairs_a_step)
    with Spell() as ranking:
        rank(model, [history for history, _, _ in users])
    power = 2 if name == "nais" else 1
    return tuple(  # type: ignore[return-value]
        {
            "wall_s": round(spell.wall * float((length_U**p).sum() / (length_U[chosen] ** p).sum()), 2),
            "cpu_s": round(spell.cpu * float((length_U**p).sum() / (length_U[chosen] ** p).sum()), 2),
            "others": round(spell.others, 3),
            "users": len(chosen),
            "extrapolated": True,
        }
        for spell, p in ((epoch, power), (ranking, power - 1))
    )


def recbole(python: str, contender: Contender, inputs: Inputs) -> dict[str, Any]:
    """What RecBole says of itself, run in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.npz"
        np.savez(pairs, pairs=np.stack([inputs.train.user, inputs.train.item], 1))
        script = Path(__file__).parent / "peers" / "recbole_histories.py"
        counts = [str(contender.their_batches), str(contender.their_users)]
        command = [python, str(script), contender.theirs, str(pairs), *counts]
        said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout
    return json.loads(said.splitlines()[-1])


def line_of(name: str, inputs: Inputs, python: str | None) -> dict[str, Any]:
    """Ours, the plain version and RecBole, one after the other."""
    contender = CONTENDERS[name]
    epoch, ranking = our_epoch(contender, contender.ours, inputs), our_ranking(contender, inputs)
    line: dict[str, Any] = {"what": f"{WHAT[name]}, {NEGATIVES} negatives", "epoch": epoch, "ranking": ranking}
    if contender.default:
        line["default_epoch"] = our_epoch(contender, contender.default, inputs)
    if contender.plain:
        plain_epoch, plain_ranking = plain(name, inputs)
        line |= {
            "plain_epoch": plain_epoch,
            "plain_over_ours": round(plain_epoch["wall_s"] / epoch["wall_s"], 1),
            "plain_ranking": plain_ranking,
            "plain_ranking_over_ours": round(plain_ranking["wall_s"] / ranking["wall_s"], 1),
        }
    if python:
        theirs = recbole(python, contender, inputs)
        line |= {"recbole": theirs, "recbole_over_ours": round(theirs["epoch_s"] / epoch["wall_s"], 1)}
        line["recbole_ranking_over_ours"] = round(theirs["ranking_s"] / ranking["wall_s"], 1)
    return line


def main() -> None:
    """A line for each model that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recbole", help="the Python of RecBole's environment")
    parser.add_argument("--data", default="ml-1m-ncf")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=list(CONTENDERS), help=f"of {', '.join(CONTENDERS)}")
    asked = parser.parse_args()
    train = read_split(data_folder() / asked.data, validation="none").train
    train = train.take(np.flatnonzero(train.user < asked.share * len(train.users)))
    inputs = Inputs(train)
    lines = [{"data": asked.data, **line_of(name, inputs, asked.recbole)} for name in asked.models]
    if asked.share < 1:
        print(json.dumps(lines, indent=1))
    else:
        record("histories", lines)


if __name__ == "__main__":
    main()
