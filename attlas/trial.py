"""One experiment while it runs: fit with early stopping, refit, evaluation; and the folder in which it does.

In a run folder, while it is not finished:
    experiment.json         what is being run, and the fingerprint of its data
    metrics.jsonl           one line per epoch
    fit.checkpoint          the latest progress; refit.checkpoint and final.checkpoint likewise
"""

from __future__ import annotations

import dataclasses
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from attlas.artefact import is_unfinished, put_back
from attlas.data.examples import Examples, inputs_of
from attlas.data.inputs import Inputs, Sizes, find_device
from attlas.data.interactions import FACTS, Interactions
from attlas.data.split import Split
from attlas.errors import ArtefactError, ConfigError
from attlas.evaluation.codes import rows_of
from attlas.evaluation.evaluate import evaluate, evaluate_rows
from attlas.evaluation.metrics import BY_ROW, ERRORS
from attlas.evaluation.naming import find_metric
from attlas.evaluation.protocols import find_protocol, with_full
from attlas.evaluation.report import Report, RowReport
from attlas.experiment import Experiment, versions
from attlas.memory import refuse_too_large
from attlas.models import model_class
from attlas.models.protocol import Sized
from attlas.recommender import Recommender
from attlas.scoring import Scorer
from attlas.starting import start
from attlas.telling import Teller, typed
from attlas.training.checkpoint import Checkpoint
from attlas.training.fit import fit as train_model
from attlas.training.journal import Journal, View
from attlas.training.patience import Halt, Patience
from attlas.training.solvers import make_solver

BEGINNING = ".experiment.json.part"  # all that a kill leaves which falls before a fit has begun
STAGES = ("fit", "refit", "final")


class Trial:
    """What lives while one experiment runs.

    Args:
        experiment: what is asked for.
        split: of its data.
        folder: where progress is kept; None keeps none.
        tell: who hears about it.

    Raises:
        ConfigError: whatever would fail only after hours of training.
        TooLarge: fitting is predicted to exceed the memory it was given.
    """

    def __init__(self, experiment: Experiment, split: Split, folder: Path | None, tell: Teller):
        self.experiment, self.split, self.folder, self.tell = experiment, split, folder, tell
        self.config = experiment.model_config()
        self.device = find_device(experiment.training.device)
        self.name = experiment.model["name"]
        self._refuse_too_large()
        self._refuse_unfit()

    def _refuse_too_large(self) -> None:
        chosen, train = model_class(self.name), self.split.train
        if isinstance(chosen, Sized):
            sizes = inputs_of(train).sizes
            what = f"{chosen.__name__} on {sizes.num_users:,} users and {sizes.num_items:,} items"
            needs = chosen.memory(sizes, self.config)
            refuse_too_large(what, needs, self.experiment.training.memory_bytes(), device=str(self.device))

    def _refuse_unfit(self) -> None:
        """Whatever would fail only after hours of training fails now."""
        make_solver(model_class(self.name)(Sizes(1, 1), self.config), self.experiment.solver)
        if self.experiment.task == "rating":
            if self.split.train.rating is None:
                raise ConfigError(f"{self.name} learns from ratings, and these data have none; name their column with --rating")
            if self.split.given is not None:
                raise ConfigError(
                    f"{self.name} predicts ratings of users it was trained on, and split {self.split.code!r} holds users out "
                    "whole; split another way: global-ratio or user-ratio"
                )
        for code in self.experiment.evaluation.protocol:
            if code != self.experiment.task and find_protocol(code).against == "candidates" and self.split.candidates is None:
                raise ConfigError(f"protocol {code!r} ranks against given candidates, and this split came without them")

    def finish(self) -> Recommender:
        """Fit, refit if asked, evaluate, and put it all together; what is reported is the test part either way."""
        settings = self.experiment.training
        started = time.perf_counter()
        model, inputs, losses, patience = self.fit("fit", self.split.train, settings.epochs)
        epochs = patience.best_epoch if patience and patience.best_epoch else len(losses)
        valid = {"metric": self.experiment.metric, "value": patience.best, "epoch": epochs} if patience else None
        if settings.refit and self.split.valid is not None:
            del model, inputs, patience  # the second fit needs the memory of the first
            self.tell.say(f"refit on training and validation for {epochs} epochs")
            model, inputs, losses, _ = self.fit("refit", self._all_but_test(), epochs)
        return self._measured(model, inputs, losses, valid, time.perf_counter() - started)

    def repeat(self, valid: dict[str, Any]) -> Recommender:
        """Fit for the epochs that a validation elsewhere chose, and evaluate.

        Args:
            valid: its ``metric``, ``value`` and ``epoch``.
        """
        started = time.perf_counter()
        is_refit = self.experiment.training.refit and self.split.valid is not None
        rows = self._all_but_test() if is_refit else self.split.train
        model, inputs, losses, _ = self.fit("refit", rows, valid["epoch"])
        return self._measured(model, inputs, losses, valid, time.perf_counter() - started, chosen=True)

    def _all_but_test(self) -> Interactions:
        """Training and validation; of validation users that were held out whole, also the rows that were given."""
        split = self.split
        assert split.valid is not None
        given = split.given.take(np.isin(split.given.user, split.valid.user)) if split.given else None
        return together(split.train, split.valid, given)

    def _measured(
        self,
        model: nn.Module,
        inputs: Inputs,
        losses: list[float],
        valid: dict[str, Any] | None,
        seconds: float,
        *,
        chosen: bool = False,
    ) -> Recommender:
        wanted, split = self.experiment.evaluation, self.split
        codes = with_full(wanted.protocol) or self._usual_protocols()
        reports = [measure(Scorer(model, inputs), split, code, wanted.k, self.tell, beyond=wanted.beyond) for code in codes]
        card = self.card(inputs, losses, valid, seconds, [report.to_dict() for report in reports])
        card["training"]["chosen"] |= chosen
        held = together(split.test, split.valid, split.given)
        seen = held.chosen if isinstance(held, Examples) else held
        return Recommender(model, inputs, card=card, seen=seen, reports=reports)

    def fit(
        self, stage: str, train: Interactions, epochs: int, *, halt: Halt | None = None
    ) -> tuple[nn.Module, Inputs, list[float], Patience | None]:
        """One of the STAGES: a fresh model trained on the rows; in the stage ``fit`` it stops early, or when ``halt`` says."""
        settings = self.experiment.training
        inputs = inputs_of(train, device=self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            made: Any = model_class(self.name)
            model = made(inputs.sizes, self.config)
        if settings.start:
            start(model, settings.start, inputs.train)
        model.to(self.device)
        is_long = not make_solver(model, self.experiment.solver).one_epoch
        checkpoint = Checkpoint(self.folder / f"{stage}.checkpoint") if self.folder and is_long else None
        with self.tell.bar(f"{self.name} {stage}", total=1) as bar:
            view = View(bar, epochs)
            solver = make_solver(model, self.experiment.solver, watch=view.batch)
            patience = None
            if stage == "fit" and self.split.valid is not None:
                is_error = self.experiment.metric in ERRORS
                value = partial(self._validate, model, inputs)
                patience = Patience(model, value, epochs=settings.patience, is_error=is_error, remembers=is_long, halt=halt)
            path = self.folder / "metrics.jsonl" if self.folder else None
            log = Journal(path, stage, self.experiment.metric, patience, view, self.tell)
            log.keep_until(checkpoint)
            losses = train_model(
                model, solver, inputs, epochs=epochs, seed=settings.seed, after_epoch=patience, checkpoint=checkpoint, log=log
            )
        return model, inputs, losses, patience

    def _validate(self, model: nn.Module, inputs: Inputs) -> float:
        task, code = self.experiment.task, self.experiment.metric
        name, cut = find_metric(code, task)
        scorer = Scorer(model.eval(), inputs)
        if task != "ranking":
            return evaluate_rows(scorer, self.split.valid, task).mean(name)
        return evaluate(scorer, self.split, "full", k=cut or 10, part="valid", metrics=[name]).mean(code)

    def _usual_protocols(self) -> tuple[str, ...]:
        if self.experiment.task != "ranking":
            return (self.experiment.task,)
        return ("full",) if self.split.candidates is None else ("full", "ncf")

    def card(
        self, inputs: Inputs, losses: list[float], valid: dict[str, Any] | None, seconds: float, reports: list[Any]
    ) -> dict[str, Any]:
        """What is known of the run, ready for JSON."""
        train = inputs.data
        return {
            "model": {"name": self.name, "config": dataclasses.asdict(self.config)},
            "experiment": self.experiment.to_dict(),
            "data": {
                "source": train.origin.source,
                "split": self.split.code,
                "users": len(train.users),
                "items": len(train.items),
                "train_rows": len(train),
                "test_rows": len(self.split.test),
                **fingerprints(self.split),
            },
            "training": {
                "epochs": len(losses),
                "losses": [None if math.isnan(loss) else loss for loss in losses],
                "valid": valid,
                "refit": self.experiment.training.refit,
                "chosen": self.experiment.training.chosen,
                "seconds": seconds,
            },
            "reports": reports,
            "versions": versions(),
        }


def measure(
    scorer: Scorer, split: Split, code: str, k: tuple[int, ...], tell: Teller, *, beyond: bool = False
) -> Report | RowReport:
    """Evaluate under one protocol, with a bar; under ``rating``, ``label`` or ``target``, how far predictions are off.

    Args:
        beyond: describe the lists too, under protocols that make any.
    """
    if code in BY_ROW:
        found = evaluate_rows(scorer, split.test, code, by_user=True)
        return dataclasses.replace(found, split=split.code, rows=rows_of(split))
    beyond = beyond and find_protocol(code).against == "catalogue"
    with tell.bar(f"evaluate {code}", total=1) as bar:
        return evaluate(scorer, split, code, k=k, beyond=beyond, watch=lambda done, total: bar.update(done, total=total))


def fingerprints(split: Split) -> dict[str, str]:
    """By what the parts of a split are known again, under their names in a card."""
    parts = {"fingerprint": split.train, "test_fingerprint": split.test, "given_fingerprint": split.given}
    return {name: part.fingerprint for name, part in parts.items() if part is not None}


def refuse_other_data(split: Split, card: dict[str, Any], folder: Path) -> None:
    """Refuse a split that is not the one a run was made with.

    Raises:
        ArtefactError: which part is another, or that the run has taken rows in, which no split of its data holds.
    """
    if "updates" in card:
        raise ArtefactError(f"{folder} has taken rows in since it was fitted; take the run that it was made from, or fit anew")
    found, known = fingerprints(split), card["data"]
    said = {
        "fingerprint": f"the training data are not those that {folder} was trained on",
        "test_fingerprint": f"the test rows are not those that {folder} was measured on",
        "given_fingerprint": f"the given rows are not those that {folder} was measured with",
    }
    for name, sentence in said.items():
        if found.get(name) != known.get(name):
            raise ArtefactError(f"{sentence}; point --data to where they are")


def refuse_in_use(folder: Path) -> None:
    """Refuse a folder that may be somebody's.

    Raises:
        ArtefactError: it is not empty; a fit that was begun there can be resumed.
    """
    put_back(folder)
    if folder.exists() and (not folder.is_dir() or any(child.name != BEGINNING for child in folder.iterdir())):
        hint = f"go on with: attlas fit --resume {typed(folder)}" if is_unfinished(folder) else "choose another --out"
        raise ArtefactError(f"{folder} is not empty; {hint}, or delete it")


def kept(folder: Path, recommender: Recommender) -> Recommender:
    """The same recommender, once it is written into its folder and its progress is no longer needed."""
    recommender.write_into(folder)
    return tidied(folder, recommender)


def tidied(folder: Path, recommender: Recommender) -> Recommender:
    """The same recommender, once its folder holds no progress, and nothing that a kill left half-written."""
    for stage in STAGES:
        Checkpoint(folder / f"{stage}.checkpoint").delete()
    for staged in folder.glob(".tmp*"):  # what safetensors wrote beside its file when a kill came
        staged.unlink()
    return recommender


def together(*parts: Any) -> Any:
    """The rows of several parts of one data set, one part after another; a fact that one of them lacks is left out."""
    there = [part for part in parts if part is not None]
    if isinstance(there[0], Examples):
        return there[0].joined(*there[1:])

    def all_of(name: str) -> Any:
        values = [getattr(part, name) for part in there]
        return None if any(value is None for value in values) else np.concatenate(values)

    return dataclasses.replace(there[0], **{name: all_of(name) for name in ("user", "item", *FACTS)})
