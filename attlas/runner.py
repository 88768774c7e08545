"""What one calls: run an experiment or resume it, fit a table in one call, measure a run again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attlas.artefact import MANIFEST, refuse_replacing, write_anew
from attlas.data.split import Split
from attlas.errors import ArtefactError, ConfigError
from attlas.evaluation.metrics import BY_ROW
from attlas.evaluation.protocols import with_full
from attlas.evaluation.report import Report, RowReport
from attlas.experiment import Experiment, recall, remember
from attlas.final import resume_final
from attlas.loading import label_of, load_split
from attlas.recommender import Recommender, load
from attlas.telling import Teller, default_teller
from attlas.trial import Trial, kept, measure, refuse_in_use, refuse_other_data, tidied


def run(
    experiment: Experiment,
    *,
    data: Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    tell: Teller | None = None,
) -> Recommender:
    """Run one experiment; with ``out``, into a run folder that a kill at any moment leaves resumable.

    Args:
        data: a Split, Interactions, Examples, a frame or a path, instead of ``[data] source``.
        resume: go on with the fit that was begun in ``out``, with the settings noted there.
        tell: who hears about it; None tells a terminal.

    Raises:
        ArtefactError: the folder is in use, or holds nothing to resume, or the data have changed since.
        TooLarge: fitting is predicted to exceed the memory it was given.
    """
    tell, folder = tell or default_teller(), Path(out) if out else None
    if resume:
        if folder is None:
            raise ConfigError("resume goes on in a run folder; name it: out='runs/delf'")
        begun = recall(folder)
        if (folder / MANIFEST).is_file():
            tell.say(f"{folder} is finished; there is nothing left to do")
            return tidied(folder, load(folder))
        if begun.final:
            return resume_final(folder, data=data, tell=tell)
        experiment = begun.experiment
    elif folder:
        refuse_in_use(folder)
    experiment, data = experiment.with_data(data)
    split, said = load_split(experiment.data, data)
    for sentence in said:
        tell.say(sentence)
    trial = Trial(experiment, split, folder, tell)
    if folder:
        _enter(folder, experiment, split, resume=resume)
    return kept(folder, trial.finish()) if folder else trial.finish()


def _enter(folder: Path, experiment: Experiment, split: Split, *, resume: bool) -> None:
    if not resume:
        remember(folder, experiment, split.train.fingerprint)
    elif recall(folder).fingerprint != split.train.fingerprint:
        raise ArtefactError(f"the training data are not those that the fit in {folder} was begun with; fit anew")


def fit(
    data: Any,
    model: str = "ease",
    *,
    config: Mapping[str, Any] | None = None,
    solver: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    split: str = "auto",
    **training: Any,
) -> Recommender:
    """Split, train with early stopping, evaluate: a Recommender from a table in one call.

    Args:
        data: the path of a table or of a folder of given files, Interactions, Examples, a Split, or a frame.
        model: one of ``attlas models``.
        config: the model's own settings, such as ``{"embedding_dim": 32}``.
        solver: how it is trained, such as ``{"learning_rate": 0.002, "negatives": 8}``.
        out: a run folder; without it nothing is written.
        resume: go on with the fit that was begun in ``out``, with the model and the settings noted there, not with those given
            here; other rows than those it was begun with are refused. What is finished is loaded.
        split: how to hold out: a code of ``attlas.split``.
        training: epochs, patience, metric, refit, seed, device, memory or start; see ``TrainingConfig``.

    Raises:
        ConfigError: an unknown setting; the message names the nearest known one.
        DataError: the data cannot be understood.
        TooLarge: fitting is predicted to exceed the memory it was given.
    """
    is_path = isinstance(data, str | Path)
    tables = {
        "data": {"source": str(data) if is_path else "", "split": split} | label_of(data),
        "model": {"name": model, **(config or {})},
        "solver": dict(solver or {}),
        "training": training,
    }
    return run(Experiment.of(tables), data=data if resume or not is_path else None, out=out, resume=resume)


def update_run(
    folder: str | Path, events: Any, *, out: str | Path | None = None, tell: Teller | None = None, **columns: Any
) -> Recommender:
    """Take new rows into a saved run; see ``Recommender.update``.

    Args:
        folder: a run folder.
        events: the new rows, or where they are.
        out: where the updated run goes; None writes it over the old one, once it is whole.
        tell: shows a bar.
        columns: what differs from how the first rows were read.

    Raises:
        ArtefactError: no whole run, ``out`` is in use, or what would be replaced is more than a run.
        DataError: no row came, or what came cannot be understood.
        ConfigError: there is no such setting, or the model cannot take the rows in.
    """
    before, folder, place = load(folder), Path(folder), Path(out or folder)
    if out is not None:
        refuse_in_use(place)
    refuse_replacing(place)  # before anything is computed
    updated = before.update(events, tell=tell, **columns)

    def write(staged: Path) -> None:
        for name in () if out else ("experiment.json", "metrics.jsonl"):
            if (folder / name).is_file():
                shutil.copy2(folder / name, staged / name)
        updated.write_into(staged)

    write_anew(place, write, overwrite=out is None)
    return updated


def evaluate_run(
    folder: str | Path,
    *,
    data: Any = None,
    protocols: Sequence[str] = (),
    k: Sequence[int] = (10,),
    tell: Teller | None = None,
) -> list[Report | RowReport]:
    """Measure a saved run on the rows that were held out from it.

    Args:
        folder: a run folder.
        data: where the data are now, or the data; None means where they were.
        protocols: codes; none means full, or rating for a model of ratings. A sampled protocol brings full along.
        k: cut-offs.
        tell: shows bars.

    Raises:
        ArtefactError: no whole run, one that was trained on its test rows or updated since, or the data are not those it was
            trained on.
    """
    recommender = load(folder)
    _refuse_learned(recommender, folder)
    experiment, data = Experiment.of(recommender.card["experiment"]).with_data(data)
    split, _ = load_split(experiment.data, data)
    refuse_other_data(split, recommender.card, Path(folder))
    task = experiment.task
    codes = with_full(protocols) or ["full" if task == "ranking" else task]
    for code in codes:
        if code in BY_ROW and code != task:
            raise ConfigError(f"protocol {code!r} does not measure {folder}; use {'full' if task == 'ranking' else task!r}")
        experiment.check_protocol(code)
    beyond, tell = experiment.evaluation.beyond, tell or Teller()
    return [measure(recommender.scorer, split, code, tuple(k), tell, beyond=beyond) for code in codes]


def _refuse_learned(recommender: Recommender, folder: str | Path) -> None:
    """Refuse a run that may have learned from the rows that it would be measured on."""
    if "final" in recommender.card:
        of = recommender.card["final"]["metrics_are_of"]
        raise ArtefactError(
            f"{folder} was trained on all rows, its test rows too, and cannot be measured on them; evaluate {of}"
        )
    if "updates" in recommender.card:
        raise ArtefactError(
            f"{folder} has taken rows in since it was measured, perhaps those it would be measured on; evaluate the run it was "
            "made from, or fit anew"
        )
