"""One experiment from its split to a Recommender with Reports: fit, early stopping, refit, evaluation, artefact.

In a run folder, while it is not finished:

    experiment.json         what is being run, and the fingerprint of its data
    metrics.jsonl           one line per epoch
    fit.checkpoint          the latest progress; refit.checkpoint likewise
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from attlas.artefact import MANIFEST, is_unfinished
from attlas.data.inputs import Inputs, Sizes, find_device
from attlas.data.interactions import FACTS, Interactions
from attlas.data.split import Split
from attlas.errors import ArtefactError, ConfigError
from attlas.evaluation.evaluate import evaluate
from attlas.evaluation.protocols import find_protocol
from attlas.evaluation.report import Report
from attlas.experiment import Experiment, load_split, recall, remember, versions
from attlas.memory import refuse_too_large
from attlas.models import model_class
from attlas.models.protocol import Sized
from attlas.recommender import Recommender, load
from attlas.scoring import Scorer
from attlas.telling import Teller, default_teller
from attlas.training.checkpoint import Checkpoint
from attlas.training.fit import fit as train_model
from attlas.training.journal import Journal, View
from attlas.training.patience import Patience
from attlas.training.solvers import make_solver

BEGINNING = ".experiment.json.part"  # all that a kill leaves which falls before a fit has begun


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
        data: a Split, Interactions or a frame, instead of ``[data] source``.
        resume: go on with the fit that was begun in ``out``, with the settings noted there.
        tell: who hears about it; None tells a terminal.

    Raises:
        ArtefactError: the folder is in use, or holds nothing to resume, or the data have changed since.
        TooLarge: fitting is predicted to exceed the memory it was given.
    """
    tell = tell or default_teller()
    folder = Path(out) if out else None
    if resume:
        if folder is None:
            raise ConfigError("resume goes on in a run folder; name it: out='runs/delf'")
        experiment, _ = recall(folder)
        if (folder / MANIFEST).is_file():
            tell.say(f"{folder} is finished; there is nothing left to do")
            return _tidied(folder, load(folder))
    elif folder:
        _refuse_in_use(folder)
    split, said = load_split(experiment.data, data)
    for sentence in said:
        tell.say(sentence)
    work = _Work(experiment, split, folder, tell)
    if folder:
        _enter(folder, experiment, split, resume=resume)
    recommender = work.finish()
    return _kept(folder, recommender) if folder else recommender


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
        data: the path of a table or of a folder of given files, Interactions, a Split, or a frame.
        model: one of ``attlas models``.
        config: the model's own settings, such as ``{"embedding_dim": 32}``.
        solver: how it is trained, such as ``{"learning_rate": 0.002, "negatives": 8}``.
        out: a run folder; without it nothing is written.
        resume: go on with the fit that was begun in ``out``.
        split: how to hold out: a code of ``attlas.split``.
        training: epochs, patience, metric, refit, seed, device or memory; see ``TrainingConfig``.

    Raises:
        ConfigError: an unknown setting; the message names the nearest known one.
        DataError: the data cannot be understood.
        TooLarge: fitting is predicted to exceed the memory it was given.
    """
    is_path = isinstance(data, str | Path)
    tables = {
        "data": {"source": str(data) if is_path else "", "split": split},
        "model": {"name": model, **(config or {})},
        "solver": dict(solver or {}),
        "training": training,
    }
    return run(Experiment.of(tables), data=None if is_path else data, out=out, resume=resume)


def evaluate_run(
    folder: str | Path,
    *,
    data: Any = None,
    protocols: Sequence[str] = ("full",),
    k: Sequence[int] = (10,),
    tell: Teller | None = None,
) -> list[Report]:
    """Measure a saved run on the rows that were held out from it.

    Args:
        folder: a run folder.
        data: where the data are now, or the data; None means where they were.
        protocols: codes.
        k: cut-offs.
        tell: shows bars.

    Raises:
        ArtefactError: no whole run, or the data are not those it was trained on.
    """
    recommender = load(folder)
    experiment = Experiment.of(recommender.card["experiment"])
    is_path = isinstance(data, str | Path)
    config = dataclasses.replace(experiment.data, source=str(data)) if is_path else experiment.data
    split, _ = load_split(config, None if is_path else data)
    if split.train.fingerprint != recommender.card["data"]["fingerprint"]:
        raise ArtefactError(f"the training data are not those that {folder} was trained on; point --data to where they are")
    if split.test.fingerprint != recommender.card["data"]["test_fingerprint"]:
        raise ArtefactError(f"the test rows are not those that {folder} was measured on; point --data to where they are")
    return [_evaluate(recommender.scorer, split, code, tuple(k), tell or Teller()) for code in protocols]


def _evaluate(scorer: Scorer, split: Split, code: str, k: tuple[int, ...], tell: Teller) -> Report:
    with tell.bar(f"evaluate {code}", total=1) as bar:
        return evaluate(scorer, split, code, k=k, watch=lambda done, total: bar.update(done, total=total))


def _enter(folder: Path, experiment: Experiment, split: Split, *, resume: bool) -> None:
    if resume:
        _, fingerprint = recall(folder)
        if fingerprint != split.train.fingerprint:
            raise ArtefactError(f"the training data are not those that the fit in {folder} was begun with; fit anew")
        return
    remember(folder, experiment, split.train.fingerprint)


def _refuse_in_use(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(child.name != BEGINNING for child in folder.iterdir())):
        hint = f"go on with: attlas fit --resume {folder}" if is_unfinished(folder) else "choose another --out"
        raise ArtefactError(f"{folder} is not empty; {hint}, or delete it")


def _kept(folder: Path, recommender: Recommender) -> Recommender:
    recommender.write_into(folder)
    return _tidied(folder, recommender)


def _tidied(folder: Path, recommender: Recommender) -> Recommender:
    for name in ("fit.checkpoint", "refit.checkpoint"):
        Checkpoint(folder / name).delete()
    return recommender


class _Work:
    """What lives while one experiment runs."""

    def __init__(self, experiment: Experiment, split: Split, folder: Path | None, tell: Teller):
        self.experiment, self.split, self.folder, self.tell = experiment, split, folder, tell
        self.config = experiment.model_config()
        self.device = find_device(experiment.training.device)
        self.name = experiment.model["name"]
        self._refuse_too_large()
        self._refuse_unfit()

    def _refuse_too_large(self) -> None:
        chosen, train = model_class(self.name), self.split.train
        sizes = Sizes(len(train.users), len(train.items))
        if isinstance(chosen, Sized):
            what = f"{chosen.__name__} on {sizes.num_users:,} users and {sizes.num_items:,} items"
            needs = chosen.memory(sizes, self.config)
            refuse_too_large(what, needs, self.experiment.training.memory_bytes())

    def _refuse_unfit(self) -> None:
        """Whatever would fail only after hours of training fails now."""
        make_solver(model_class(self.name)(Sizes(1, 1), self.config), self.experiment.solver)
        for code in self.experiment.evaluation.protocol:
            if find_protocol(code).against == "candidates" and self.split.candidates is None:
                raise ConfigError(f"protocol {code!r} ranks against given candidates, and this split came without them")

    def finish(self) -> Recommender:
        """Fit, refit if asked, evaluate, and put it all together."""
        settings = self.experiment.training
        started = time.perf_counter()
        model, inputs, losses, patience = self._fit("fit", self.split.train, settings.epochs)
        epochs = patience.best_epoch if patience and patience.best_epoch else len(losses)
        valid = {"metric": settings.metric, "value": patience.best, "epoch": epochs} if patience else None
        if settings.refit and self.split.valid is not None:
            del model, inputs, patience  # the second fit needs the memory of the first
            self.tell.say(f"refit on training and validation for {epochs} epochs")
            model, inputs, losses, _ = self._fit("refit", _together(self.split.train, self.split.valid), epochs)
        seconds = time.perf_counter() - started
        wanted = self.experiment.evaluation
        codes = wanted.protocol or (("full",) if self.split.candidates is None else ("full", "ncf"))
        reports = [_evaluate(Scorer(model, inputs), self.split, code, wanted.k, self.tell) for code in codes]
        card = self._card(inputs, losses, valid, seconds, reports)
        seen = _together(self.split.valid, self.split.test) if self.split.valid else self.split.test
        return Recommender(model, inputs, card=card, seen=seen, reports=reports)

    def _fit(self, stage: str, train: Interactions, epochs: int) -> tuple[nn.Module, Inputs, list[float], Patience | None]:
        settings = self.experiment.training
        inputs = Inputs(train, device=self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            made: Any = model_class(self.name)
            model = made(inputs.sizes, self.config).to(self.device)
        is_long = not make_solver(model, self.experiment.solver).one_epoch
        checkpoint = Checkpoint(self.folder / f"{stage}.checkpoint") if self.folder and is_long else None
        with self.tell.bar(f"{self.name} {stage}", total=1) as bar:
            view = View(bar, epochs)
            solver = make_solver(model, self.experiment.solver, watch=view.batch)
            patience = None
            if stage == "fit" and self.split.valid is not None:
                patience = Patience(model, lambda: self._validate(model, inputs), epochs=settings.patience, remembers=is_long)
            log = Journal(
                self.folder / "metrics.jsonl" if self.folder else None, stage, settings.metric, patience, view, self.tell
            )
            log.keep_until(checkpoint)
            losses = train_model(
                model, solver, inputs, epochs=epochs, seed=settings.seed, after_epoch=patience, checkpoint=checkpoint, log=log
            )
        return model, inputs, losses, patience

    def _validate(self, model: nn.Module, inputs: Inputs) -> float:
        metric, _, cut = self.experiment.training.metric.partition("@")
        report = evaluate(Scorer(model.eval(), inputs), self.split, "full", k=int(cut or 10), part="valid", metrics=[metric])
        return report.mean(self.experiment.training.metric)

    def _card(
        self, inputs: Inputs, losses: list[float], valid: dict[str, Any] | None, seconds: float, reports: list[Report]
    ) -> dict[str, Any]:
        train = inputs.train
        return {
            "model": {"name": self.name, "config": dataclasses.asdict(self.config)},
            "experiment": self.experiment.to_dict(),
            "data": {
                "fingerprint": self.split.train.fingerprint,
                "source": train.origin.source,
                "split": self.split.code,
                "users": len(train.users),
                "items": len(train.items),
                "train_rows": len(train),
                "test_rows": len(self.split.test),
                "test_fingerprint": self.split.test.fingerprint,
            },
            "training": {
                "epochs": len(losses),
                "losses": [None if math.isnan(loss) else loss for loss in losses],
                "valid": valid,
                "refit": self.experiment.training.refit,
                "seconds": seconds,
            },
            "reports": [report.to_dict() for report in reports],
            "versions": versions(),
        }


def _together(one: Interactions, other: Interactions) -> Interactions:
    def both(name: str) -> Any:
        values = getattr(one, name), getattr(other, name)
        return None if any(value is None for value in values) else np.concatenate(values)

    return dataclasses.replace(one, user=both("user"), item=both("item"), **{name: both(name) for name in FACTS})
