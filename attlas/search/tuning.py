"""What one calls: tune a model on a table or an experiment, in a folder of its own.

Beside what the search goes on from (``search.json``, ``study.db``, ``trials/``) the folder holds, when it is done:

    best.toml      the best settings, as a configuration that ``attlas fit`` takes
    trials.json    every trial
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from attlas.errors import ArtefactError, ConfigError
from attlas.experiment import Experiment
from attlas.loading import label_of, load_split
from attlas.search.blind import without_test
from attlas.search.note import NOTE, Budget, read_note
from attlas.search.search import Searched, search
from attlas.search.toml import to_toml
from attlas.telling import Teller, default_teller
from attlas.training.checkpoint import write_whole

USUAL = Budget(trials=20, seconds=None, workers=1)
BEGINNING = {f".{NOTE}.part"}  # all that a kill leaves which falls before a search has begun


def tune(
    data: Any,
    model: str = "ease",
    *,
    config: Mapping[str, Any] | None = None,
    solver: Mapping[str, Any] | None = None,
    fixed: Collection[str] = (),
    trials: int = 20,
    seconds: float | None = None,
    workers: int = 1,
    storage: str | None = None,
    out: str | Path | None = None,
    split: str = "auto",
    **training: Any,
) -> Searched:
    """Search for the settings under which a model does best on the validation part; the test part is never seen.

    Args:
        data: the path of a table or of a folder of given files, Interactions, Examples, a Split, or a frame.
        model: one of ``attlas models``.
        config, solver: settings of the model and of its training to start from.
        fixed: settings that stay as they are, such as ``model.embedding_dim``.
        trials, seconds: at most so many, and so many seconds of wall time.
        workers: processes that search together; a script that wants more than one begins under ``__name__ == "__main__"``.
        storage: the address of an Optuna storage; None keeps the study in ``out``.
        out: a folder, in which the same call goes on with what was begun; without it nothing is kept.
        split: how to hold out: a code of ``attlas.split``.
        training: epochs, patience, metric, seed, device or memory; see ``TrainingConfig``.

    Raises:
        ConfigError: an unknown setting, or no validation part.
        TooLarge: the first settings are predicted to exceed the memory they were given.
    """
    source, data = (str(data), None) if isinstance(data, str | Path) else ("", data)
    given = {"source": source, "split": split} | label_of(data)
    tables = {"data": given, "model": {"name": model, **(config or {})}, "solver": solver or {}}
    experiment, budget = Experiment.of({**tables, "training": training}), Budget(trials, seconds, workers)
    with nullcontext(out) if out else tempfile.TemporaryDirectory() as folder:
        return tune_experiment(experiment, Path(folder), data=data, budget=budget, storage=storage, fixed=fixed)


def tune_experiment(
    experiment: Experiment,
    folder: Path,
    *,
    data: Any = None,
    budget: Budget,
    storage: str | None = None,
    fixed: Collection[str] = (),
    tell: Teller | None = None,
) -> Searched:
    """Search in a folder from an experiment on, or go on there; and write down what was found.

    Args:
        data: a Split, Interactions or a frame, instead of ``[data] source``.

    Raises:
        ArtefactError: the folder is somebody's, or holds another search.
    """
    tell = tell or default_teller()
    if not (folder / NOTE).is_file():
        _refuse_in_use(folder)
    split, said = load_split(experiment.data, data)
    for sentence in said:
        tell.say(sentence)
    split = without_test(split)
    found = search(experiment, split, folder=folder, **budget._asdict(), storage=storage, fixed=fixed, tell=tell)
    write_whole(folder / "trials.json", (json.dumps(found.to_dict(), indent=2) + "\n").encode())
    write_whole(folder / "best.toml", to_toml(found.experiment.to_dict()).encode())
    return found


def _refuse_in_use(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or {child.name for child in folder.iterdir()} - BEGINNING):
        raise ArtefactError(f"{folder} is not empty; choose another --out, or delete it")


def resume(
    folder: Path, *, data: Any = None, changes: Mapping[str, Any], storage: str | None = None, tell: Teller | None = None
) -> Searched:
    """Go on with what is noted in a folder.

    Args:
        changes: to the budget noted there: trials, seconds, workers.

    Raises:
        ArtefactError: there is no search.
        ConfigError: its study is behind a password, and no address was given.
    """
    note = read_note(folder)
    storage = storage or note["storage"]
    if storage and "***" in storage:
        raise ConfigError(f"the study of {folder} is in {storage}; give the address with its password: --storage ADDRESS")
    budget = Budget(**note["budget"])._replace(**changes)
    experiment = Experiment.of(note["experiment"])
    return tune_experiment(experiment, folder, data=data, budget=budget, storage=storage, fixed=note["fixed"], tell=tell)
