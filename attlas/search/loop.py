"""Trials one after the other, until there is nothing left to try or no time for it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch

from attlas.durations import readable_seconds
from attlas.errors import ArtefactError, AttlasError, Interrupted, MissingExtra
from attlas.search.plan import Plan
from attlas.search.space import with_settings
from attlas.search.study import Begun, Study, seconds_in
from attlas.search.tried import Tried
from attlas.telling import Bar, Teller
from attlas.training.journal import read_curve
from attlas.trial import Trial

SPARED_EPOCHS = 5  # of every trial: what learns slowly at first may still be the best
SPARED_TRIALS = 5  # the first ones, against which later ones are held


class Listener(Protocol):
    """Whoever hears how a search goes: the process that began it, or a pipe that leads there."""

    def note(self, number: int, text: str) -> None:
        """What a trial is doing now."""
        ...

    def ended(self, tried: Tried, of: int) -> None:
        """A trial has ended, one of so many."""
        ...


def work(plan: Plan, study: Study, listener: Listener) -> None:
    """Run trials until none may begin."""
    while (begun := study.begin()) is not None:
        with begun.lock:
            tried = run_trial(plan, study, begun, listener)
            study.end(begun, tried)
        listener.ended(tried, plan.trials)


def run_trial(plan: Plan, study: Study, begun: Begun, listener: Listener) -> Tried:
    """Fit once with the settings of a trial, from where it was left if it was begun before.

    Raises:
        ArtefactError: its progress cannot be written.
    """
    folder, started = plan.trial_folder(begun.number), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    before, experiment = seconds_in(folder), with_settings(plan.experiment, begun.settings)
    curves = study.curves()

    found: dict[str, Any]

    def halt(values: list[float]) -> str:
        study.report(begun.row, len(values), values[-1])
        if plan.is_late():
            return "late"
        is_last = len(values) == experiment.training.epochs
        return "pruned" if not is_last and is_behind(values, curves, is_error=plan.is_error) else ""

    try:
        trial = Trial(experiment, plan.split, folder, _Whisper(begun.number, listener))
        _, _, _, patience = trial.fit("fit", plan.split.train, experiment.training.epochs, halt=halt)
        assert patience is not None
        if not math.isfinite(patience.best):
            raise AttlasError(f"{experiment.metric} was never finite; the steps may be too large")
        state = "pruned" if patience.halted == "pruned" else "complete"
        curve = read_curve(folder, experiment.metric)
        found = {"value": patience.best, "epoch": patience.best_epoch, "state": state, "curve": curve}
    except (ArtefactError, Interrupted, MissingExtra):
        raise
    except (AttlasError, MemoryError, torch.cuda.OutOfMemoryError) as error:
        found = {"value": None, "epoch": 0, "state": "failed", "reason": str(error) or type(error).__name__}
    return Tried(begun.number, begun.settings, seconds=before + time.monotonic() - started, **found)


def is_behind(values: list[float], curves: list[list[float]], *, is_error: bool) -> bool:
    """Whether the best of a trial's values so far is worse than half of the completed trials had reached by the same epoch.

    It is not judged before it has had half as many epochs as the best of the completed ones needed: small steps learn slowly
    and often end higher.

    Args:
        values: of every epoch so far.
        curves: the values of completed trials; one that ended earlier has what it ended with.
    """
    epoch, best = len(values), min if is_error else max
    if len(curves) < SPARED_TRIALS:
        return False
    reached = [best(curve[:epoch]) for curve in curves]
    leading = best(curves, key=best)
    if epoch <= max(SPARED_EPOCHS, (leading.index(best(leading)) + 1) // 2):
        return False
    median = float(np.median(reached))
    return best(values) > median if is_error else best(values) < median


def sentence(tried: Tried, of: int, metric: str) -> str:
    """What a trial found, in one line."""
    settings = ", ".join(f"{key.partition('.')[2]} {_short(value)}" for key, value in tried.settings.items())
    found = f"{metric} {tried.value:.4f}" if tried.value is not None else tried.reason
    epochs = f" at epoch {tried.epoch} of {len(tried.curve)}" if tried.curve else ""
    return f"trial {tried.number} of {of}  {tried.state}  {found}{epochs}  {readable_seconds(tried.seconds)}  {settings}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class _Whisper(Teller):
    """Passes on what a fit says beside its bar, a few times a second, and leaves its sentences out."""

    def __init__(self, number: int, listener: Listener):
        self.number, self.listener = number, listener

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """A bar whose notes are passed on."""
        yield _Passing(self.number, self.listener)


class _Passing(Bar):
    def __init__(self, number: int, listener: Listener):
        self.number, self.listener, self.latest = number, listener, -math.inf

    def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """Pass the note on, if the last one is old enough."""
        if time.monotonic() - self.latest > 0.25:
            self.latest = time.monotonic()
            self.listener.note(self.number, note)
