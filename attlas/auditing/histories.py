"""What a model reads off its histories that it should not: the target itself, or the label from how long they are.

Taking the target out of the histories of positives only makes these one entry shorter than those of negatives. A model that
sees length learns that shorter means chosen; and where an item has one user, that empty means chosen, which then holds for
every item nobody has chosen.

Shapes: B pairs, P pairs of training, N pairs that nobody chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from attlas.auditing.finding import Finding, Severity, percent
from attlas.auditing.measuring import Bench
from attlas.data.inputs import LeaveOut
from attlas.data.negatives import draw_negatives
from attlas.evaluation.naming import counted
from attlas.models.protocol import asked_by
from attlas.scoring import Scorer
from attlas.training.objectives import left_out_by

SAMPLE = 2_000  # training pairs looked at, and a few unseen ones for each
UNSEEN = 5
AT_ONCE = 4_096  # pairs
READ = 0.5  # of the spread of a user's scores; what moves a score so far decides ranks
GAIN = 0.03  # of the AUC
EMPTIED = 0.5  # of the spread


def of_histories(bench: Bench) -> Iterator[Finding]:
    """Own targets that are read, and labels that show in the length of a history or in its being empty."""
    assert isinstance(bench.scorer, Scorer)
    model = bench.scorer.model
    names: list[str] = [name for name in ("user_history", "item_history") if name in asked_by(model)]
    if not names:
        return
    probe = Probe(bench.scorer)
    if not len(probe.unseen[0]) or probe.spread == 0:
        return
    yield from _own_target(bench, probe, getattr(getattr(model, "config", None), "leave_out", None))
    if left_out_by(model) == "remove" and getattr(getattr(model, "config", None), "leave_out", None):
        yield from _length(bench, probe, names)
        yield from _emptied(bench, probe, names)


@dataclass(frozen=True, eq=False)
class Probe:
    """Scores of some training pairs and of pairs that nobody chose, with this or that taken out of their histories."""

    scorer: Scorer

    @cached_property
    def chosen(self) -> tuple[np.ndarray, np.ndarray]:
        """Users and items of some training pairs, [P] each, in the order of the users."""
        train, rng = self.scorer.train, np.random.default_rng(0)
        can = np.flatnonzero(np.diff(train.by_user.indptr)[train.user] < len(train.items))
        rows = rng.permutation(can)[:SAMPLE]
        return train.user[rows], train.item[rows]

    @cached_property
    def unseen(self) -> tuple[np.ndarray, np.ndarray]:
        """Users and items of pairs that nobody chose, a few for each training pair, of items that somebody has chosen."""
        train, user = self.scorer.train, np.repeat(self.chosen[0], UNSEEN)
        item = draw_negatives(train.by_user, user, 1, np.random.default_rng(1))[:, 0]
        is_trained = np.diff(train.by_item.indptr)[item] > 0
        return user[is_trained], item[is_trained]

    @cached_property
    def spread(self) -> float:
        """The standard deviation of unseen pairs' scores within a user, the root of its mean square."""
        return within_deviation(self.unseen[0], self.score(self.unseen, "keep"))

    @torch.inference_mode()
    def score(self, pairs: tuple[np.ndarray, np.ndarray], leave_out: LeaveOut, *, only: str = "") -> np.ndarray:
        """One score per pair, float64[B].

        Args:
            pairs: users and items.
            leave_out: what is taken out of the histories; see ``Inputs.gather``.
            only: the one history that it is taken out of; "" takes it out of both.
        """
        scorer, rng, parts = self.scorer, np.random.default_rng(2), []
        for first in range(0, len(pairs[0]), AT_ONCE):
            user, item = (side[first : first + AT_ONCE] for side in pairs)
            made: dict[str, Any] = scorer.inputs.gather(scorer.names, user, item, leave_out=leave_out, rng=rng)
            if only:
                kept = scorer.inputs.gather(scorer.names, user, item, leave_out="keep")
                made = {**kept, only: made[only]}
            parts.append(scorer.model(**made).double().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(0)

    def above(self, chosen: np.ndarray, unseen: np.ndarray) -> float:
        """How often a training pair stands above an unseen pair of anybody, as an AUC in 0..1; equal scores count half."""
        ordered = np.sort(unseen)
        below = np.searchsorted(ordered, chosen, side="left") + np.searchsorted(ordered, chosen, side="right")
        return float(below.mean() / (2 * len(ordered)))


def within_deviation(group: np.ndarray, value: np.ndarray) -> float:
    """The standard deviation around each group's mean."""
    _, place, size = np.unique(group, return_inverse=True, return_counts=True)
    mean = np.bincount(place, weights=value) / size
    return float(np.sqrt(np.mean((value - mean[place]) ** 2)))


def _own_target(bench: Bench, probe: Probe, setting: str | None) -> Iterator[Finding]:
    with_own, without = probe.score(probe.chosen, "keep"), probe.score(probe.chosen, "remove")
    unseen = probe.score(probe.unseen, "keep")
    shift = float((with_own - without).mean()) / probe.spread
    told = probe.above(with_own, unseen), probe.above(without, unseen)
    is_read = shift > READ and told[0] - told[1] > GAIN
    if setting == "keep" or (setting is None and is_read):
        yield Finding(
            "own-target",
            "warning",
            bench.name,
            f"in training a pair is part of its own histories ({'leave_out = keep' if setting else 'nothing takes it out'}): "
            f"there it adds {shift:+.2f} of the spread of a user's scores to its own",
            shift,
            f"training pairs stand above unseen ones {told[0]:.3f} -> {told[1]:.3f} (AUC) without themselves, as in the test",
            'train with leave_out = "remove", or "matched" where histories are summed',
        )


def _length(bench: Bench, probe: Probe, names: list[str]) -> Iterator[Finding]:
    """Whether one entry less, whichever it is, makes a pair look chosen."""
    whole, positive = probe.score(probe.unseen, "keep"), probe.score(probe.chosen, "remove")
    shifts = {name: float((probe.score(probe.unseen, "matched", only=name) - whole).mean()) / probe.spread for name in names}
    matched = probe.score(probe.unseen, "matched")
    shift = float((matched - whole).mean()) / probe.spread
    told = probe.above(positive, whole), probe.above(positive, matched)
    severity: Severity = "warning" if shift > READ / 2 and told[0] - told[1] > GAIN else "info"
    where = ", ".join(f"{value:+.2f} in {name}" for name, value in shifts.items())
    yield Finding(
        "label-from-length",
        severity,
        bench.name,
        f"one random entry less in its histories moves an unseen pair by {shift:+.2f} of the spread of a user's "
        f"scores ({where})",
        shift,
        f"training pairs stand above unseen ones {told[0]:.3f} -> {told[1]:.3f} (AUC) once these lose an entry too",
        'train with leave_out = "matched", so that positives and negatives have histories of one length'
        if severity != "info"
        else "nothing: length tells little here",
    )


def _emptied(bench: Bench, probe: Probe, names: list[str]) -> Iterator[Finding]:
    """Whether an empty history, which in training only positives have, makes a pair look chosen."""
    train, rng = probe.scorer.train, np.random.default_rng(3)
    sides = {"user_history": ("item", "user", train.by_user), "item_history": ("user", "item", train.by_item)}
    for name in names:
        other, noun, lists = sides[name]
        lonely = np.flatnonzero(np.diff(lists.indptr) == 1)
        if not len(lonely):
            continue
        share = len(lonely) / int((np.diff(lists.indptr) > 0).sum())
        asked = rng.choice(lonely, min(SAMPLE, UNSEEN * len(lonely)))
        owner = lists.indices[lists.indptr[asked]].astype(np.int64)
        stranger = rng.integers(lists.shape[1], size=len(asked))
        asked, owner, stranger = (values[stranger != owner] for values in (asked, owner, stranger))
        if not len(asked):
            continue
        shift = _shift_when_emptied(probe.scorer, name, asked, owner, stranger) / probe.spread
        severity: Severity = "warning" if shift > EMPTIED and share >= 0.02 else "info"
        yield Finding(
            "emptied-histories",
            severity,
            bench.name,
            f"{counted(len(lonely), noun)} ({percent(share)}) have one {other} in training, and see their {name} empty as a "
            f"positive only; emptying it moves an unseen pair by {shift:+.2f} of the spread of a user's scores",
            shift,
            f"what is said of an empty {name} holds for every {noun} that was never trained on: see untrained-items"
            if severity != "info"
            else None,
            f'train with leave_out = "matched", or keep {noun}s with two {other}s: --min-{noun} 2',
        )


@torch.inference_mode()
def _shift_when_emptied(scorer: Scorer, name: str, asked: np.ndarray, owner: np.ndarray, stranger: np.ndarray) -> float:
    """The mean change of the scores of (asked, stranger) when the one entry of the asked history is taken out."""

    def gathered(other: np.ndarray, names: tuple[str, ...], leave_out: LeaveOut) -> dict[str, Any]:
        user, item = (asked, other) if name == "user_history" else (other, asked)
        return scorer.inputs.gather(names, user, item, leave_out=leave_out)

    whole = gathered(stranger, scorer.names, "keep")
    emptied = {**whole, name: gathered(owner, (name,), "remove")[name]}
    return float((scorer.model(**emptied).double() - scorer.model(**whole).double()).mean())
