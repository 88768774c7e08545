"""The last fit of a run: anew on all rows, once everything is decided and nothing is left to measure."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from attlas.artefact import read_card
from attlas.data.examples import Examples
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.errors import ArtefactError, ConfigError
from attlas.experiment import Experiment, recall, remember
from attlas.loading import DataConfig, load_examples, load_rows, load_split
from attlas.recommender import Recommender
from attlas.telling import Teller, default_teller
from attlas.trial import Trial, kept, refuse_in_use, refuse_other_data, together


def fit_final(run: str | Path, *, data: Any = None, out: str | Path | None = None, tell: Teller | None = None) -> Recommender:
    """Train anew on all rows of a run's data, with its settings and its best number of epochs.

    All rows are those of training, validation and test, and those that the split left aside as cold; a Split or a folder of
    given files holds no such rows. Nothing is validated and nothing is measured: the numbers in the new card are the old
    run's, and ``card["final"]`` says so.

    Args:
        run: the folder of a finished run; it is not changed.
        data: where the data are now, or the data; None means where they were.
        out: the new run folder; None means beside the old one, with ``-final`` after its name. A fit that was stopped there
            is resumed as any other.
        tell: who hears about it; None tells a terminal.

    Raises:
        ArtefactError: no whole run, one that is final already, other data than it was made with, or a folder in use.
        TooLarge: fitting is predicted to exceed the memory it was given.
    """
    run, tell = Path(run), tell or default_teller()
    folder = Path(out) if out else final_folder(run)
    card = read_card(run)
    if "final" in card:
        raise ArtefactError(f"{run} was trained on all rows already, after {card['final']['of']}; there is nothing to add")
    refuse_in_use(folder)
    experiment, data = Experiment.of(card["experiment"]).with_data(data)
    split, rows = _everything(experiment.data, data, tell)
    refuse_other_data(split, card, run)
    valid = card["training"]["valid"]
    epochs = valid["epoch"] if valid else card["training"]["epochs"]
    note = {"of": str(run), "epochs": epochs, "valid": valid, "reports": card["reports"]}
    trial = _trial(experiment, split, rows, folder, tell)
    remember(folder, experiment, rows.fingerprint, final=note)
    return kept(folder, _finish(trial, note))


def final_folder(run: Path) -> Path:
    """Where a final fit goes when nobody says."""
    named = run if run.name not in ("", "..") else run.resolve()
    return named.with_name(f"{named.name}-final")


def resume_final(folder: Path, *, data: Any, tell: Teller) -> Recommender:
    """Go on with a final fit that was begun in a folder.

    Args:
        data: where the data are now, or the data; None means where they were.

    Raises:
        ArtefactError: the data have changed since.
    """
    begun = recall(folder)
    assert begun.final is not None
    experiment, data = begun.experiment.with_data(data)
    split, rows = _everything(experiment.data, data, tell)
    if rows.fingerprint != begun.fingerprint:
        raise ArtefactError(f"the training data are not those that the fit in {folder} was begun with; fit anew")
    return kept(folder, _finish(_trial(experiment, split, rows, folder, tell), begun.final))


def _everything(config: DataConfig, data: Any, tell: Teller) -> tuple[Split, Interactions | Examples]:
    """The split that the run was made with, and all rows."""
    if data is None and not config.source:
        raise ConfigError("that run was made from data in memory, which attlas did not keep; pass them again as data")
    rows = None if config.label is not None else load_rows(config, data)
    split, said = load_split(config, data if rows is None else rows)
    for sentence in said:
        tell.say(sentence)
    if config.label is not None:
        return split, load_examples(config, data)
    if rows is None:
        rows = together(split.train, split.valid, split.given, split.test).without_repeats()
    return split, rows


def _trial(experiment: Experiment, split: Split, rows: Interactions | Examples, folder: Path, tell: Teller) -> Trial:
    nothing = rows.take(np.zeros(0, np.int64))
    parts: dict[str, Any] = {"train": rows, "valid": None, "test": nothing, "given": None}
    return Trial(experiment, dataclasses.replace(split, **parts), folder, tell)


def _finish(trial: Trial, note: dict[str, Any]) -> Recommender:
    rows, epochs = trial.split.train, note["epochs"]
    trial.tell.say(f"final fit after {note['of']}: all {len(rows):,} rows, {epochs} epochs, nothing is measured")
    started = time.perf_counter()
    model, inputs, losses, _ = trial.fit("final", rows, epochs)
    card = trial.card(inputs, losses, note["valid"], time.perf_counter() - started, note["reports"])
    card["final"] = {"of": note["of"], "metrics_are_of": note["of"]}
    return Recommender(model, inputs, card=card)
