"""What a search leaves behind: each trial, the best of them, and the experiment it makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from attlas.experiment import Experiment
from attlas.training.journal import Epoch

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes:
        number: from 0, which has the experiment's own settings, in the order in which they began.
        settings: what was searched, by table and name, such as ``model.l2``.
        value: the best value on the validation part; None if it failed.
        epoch: of that value, counted from 1; 0 if it failed.
        seconds: wall time, sessions that were killed included as far as their epochs were kept.
        state: ``pruned`` if it was given up on for its epochs so far, ``failed`` if it could not be fitted or scored.
        curve: its epochs; empty for models that are solved in one.
        reason: why it failed.
    """

    number: int
    settings: dict[str, Any]
    value: float | None
    epoch: int
    seconds: float
    state: State
    curve: tuple[Epoch, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {**asdict(self), "curve": [epoch._asdict() for epoch in self.curve]}


@dataclass(frozen=True)
class Searched:
    """A finished search.

    Attributes:
        tried: every trial, by number.
        best: the complete trial with the best value; of equals the first.
        experiment: the one given, with the best settings in it; ``training.epochs`` is the best epoch where it learns in
            epochs.
        seconds: wall time of all sessions until the last trial ended.
    """

    tried: tuple[Tried, ...]
    best: Tried
    experiment: Experiment
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "metric": self.experiment.metric,
            "best": self.best.to_dict(),
            "experiment": self.experiment.to_dict(),
            "tried": [trial.to_dict() for trial in self.tried],
            "seconds": self.seconds,
        }
