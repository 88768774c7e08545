"""What an epoch leaves behind: a bar while it runs, then one line for people and one in ``metrics.jsonl``."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

from attlas.errors import ArtefactError
from attlas.telling import Bar, Teller
from attlas.training.checkpoint import Checkpoint, write_whole
from attlas.training.fit import Moment
from attlas.training.patience import Patience


class View:
    """Turns moments of training into a bar."""

    def __init__(self, bar: Bar, epochs: int):
        self.bar, self.epochs = bar, epochs
        self.began, self.metric = time.perf_counter(), ""
        self.pairs = 0

    def batch(self, moment: Moment) -> None:
        """Show where the epoch stands."""
        if moment.batch == 1:
            self.began = time.perf_counter()
        seconds = max(time.perf_counter() - self.began, 1e-9)
        self.pairs = moment.pairs
        done = (moment.epoch - 1) * moment.batches + moment.batch
        note = (
            f"epoch {moment.epoch} of {self.epochs}  loss {moment.loss:.4f}  {self.metric}{moment.pairs / seconds:,.0f} pairs/s"
        )
        self.bar.update(done, note, total=self.epochs * moment.batches)


class Journal:
    """One line per epoch, for people and in ``metrics.jsonl``."""

    def __init__(self, path: Path | None, stage: str, metric: str, patience: Patience | None, view: View, tell: Teller):
        self.path, self.stage, self.metric = path, stage, metric
        self.patience, self.view, self.tell = patience, view, tell
        self.began = time.perf_counter()

    def keep_until(self, checkpoint: Checkpoint | None) -> None:
        """Drop what was logged after the latest checkpoint: it will be done again."""
        if self.path is None or not self.path.exists():
            return
        progress = checkpoint.load() if checkpoint else None
        done = progress.epoch if progress else 0
        lines = [line for line in self.path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in lines if (row := json.loads(line))["stage"] != self.stage or row["epoch"] <= done]
        write_whole(self.path, "".join(f"{line}\n" for line in kept).encode())

    def __call__(self, epoch: int, loss: float) -> None:
        """Note one finished epoch.

        Raises:
            ArtefactError: the line cannot be written, for instance since the disk is full.
        """
        seconds, self.began = time.perf_counter() - self.began, time.perf_counter()
        row: dict[str, Any] = {"stage": self.stage, "epoch": epoch, "loss": None if math.isnan(loss) else loss}
        said = f"{self.stage} epoch {epoch}" + ("" if math.isnan(loss) else f"  loss {loss:.4f}")
        if self.patience:
            row[f"valid {self.metric}"] = self.patience.values[-1]
            self.view.metric = f"valid {self.metric} {self.patience.values[-1]:.4f}  "
            said += f"  valid {self.metric} {self.patience.values[-1]:.4f}" + (
                " best" if self.patience.best_epoch == epoch else ""
            )
        row |= {"seconds": round(seconds, 3), "pairs": self.view.pairs}
        self.tell.say(f"{said}  {seconds:.1f} s")
        if self.path:
            _append(self.path, json.dumps(row) + "\n")


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise ArtefactError(f"could not write {path}: {error}; epochs up to the last checkpoint are kept") from error


class Epoch(NamedTuple):
    """One epoch of a fit; a value that was not measured is None."""

    number: int
    loss: float | None
    valid: float | None
    seconds: float


def read_curve(folder: Path, metric: str) -> tuple[Epoch, ...]:
    """The epochs noted in a run folder; empty if the model did not learn in epochs."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    fitted = [row for row in rows if row["stage"] == "fit"]
    if len(fitted) < 2:
        return ()
    return tuple(Epoch(row["epoch"], row["loss"], row.get(f"valid {metric}"), row["seconds"]) for row in fitted)
