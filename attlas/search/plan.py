"""What a search is to do, as every process that works on it is told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from attlas.data.split import Split
from attlas.evaluation.metrics import ERRORS
from attlas.experiment import Experiment
from attlas.spaces import Choice, Span


@dataclass(frozen=True)
class Plan:
    """One search.

    Attributes:
        experiment: where it starts.
        split: without its test part.
        folder: of the trials that run, and of locks.
        space: what is searched.
        trials: at most so many.
        seconds: of wall time, earlier sessions included; None for as long as it takes.
        storage: the address of the Optuna storage.
        study: its name there.
        home: a word that tells the trials of this folder from those of others that work on the same study.
        began: when this session began, by the clock ``time.monotonic``, which all processes share.
        earlier: wall seconds of earlier sessions.
    """

    experiment: Experiment
    split: Split
    folder: Path
    space: dict[str, Span | Choice]
    trials: int
    seconds: float | None
    storage: str
    study: str
    home: str
    began: float
    earlier: float = 0.0

    @property
    def is_error(self) -> bool:
        """Whether lower values are better."""
        return self.experiment.metric in ERRORS

    def spent(self) -> float:
        """Wall seconds of all sessions until now."""
        return self.earlier + time.monotonic() - self.began

    def is_late(self) -> bool:
        """Whether the time is spent."""
        return self.seconds is not None and self.spent() >= self.seconds

    def trial_folder(self, number: int) -> Path:
        """Where a trial keeps its progress while it runs."""
        return self.folder / "trials" / str(number)

    def lock(self, number: int) -> Path:
        """What the process that runs a trial holds."""
        return self.folder / "trials" / f"{number}.lock"
