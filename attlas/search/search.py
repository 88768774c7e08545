"""Search over the settings of a model: many fits on the training part, held against each other on the validation part."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from attlas.data.split import Split
from attlas.errors import AttlasError, ConfigError
from attlas.evaluation.metrics import ERRORS
from attlas.experiment import EvaluationConfig, Experiment
from attlas.search.blind import without_test
from attlas.search.loop import sentence, work
from attlas.search.note import Budget, described, noted
from attlas.search.plan import Plan
from attlas.search.space import count, learns_in_epochs, space_of, with_settings
from attlas.search.study import Study, quiet, study_file, without_password
from attlas.search.tried import Searched as Searched
from attlas.search.tried import Tried as Tried
from attlas.search.workers import work_together
from attlas.telling import Bar, Teller
from attlas.trial import Trial


def search(
    experiment: Experiment,
    split: Split,
    *,
    folder: Path,
    trials: int = 20,
    seconds: float | None = None,
    storage: str | None = None,
    fixed: Collection[str] = (),
    workers: int = 1,
    tell: Teller,
) -> Searched:
    """Find the settings under which a model does best on the validation part; the test part is out of reach.

    The first trial has the experiment's own settings. The same folder goes on with what was begun there: a killed search ends
    with the same trials as one that was not, if one worker does it on a CPU without a limit of time.

    Args:
        experiment: where to start; its model's ``search_space`` says what is searched.
        folder: of this search: the study, and the progress of trials that run.
        trials: at most so many, earlier sessions included.
        seconds: of wall time, earlier sessions included. No trial but the first begins that is predicted not to fit; one that
            runs stops after the epoch in which they run out.
        storage: the address of an Optuna storage; None keeps the study in the folder.
        fixed: settings that stay as they are, such as ``model.embedding_dim``.
        workers: processes that search together.

    Raises:
        ConfigError: no validation part, settings that do not fit, or a budget of nothing.
        TooLarge: the experiment's own settings are predicted to exceed the memory they were given.
        ArtefactError: the folder holds another search.
        AttlasError: every trial failed.
    """
    _refuse_nothing(trials=trials, seconds=seconds, workers=workers)
    seen = without_test(split)
    sought = dataclasses.replace(experiment, evaluation=EvaluationConfig())  # protocols are about the test part
    Trial(sought, seen, None, tell)  # what fails with the experiment's own settings, memory too, fails now
    with quiet():
        plan = _planned(experiment, sought, seen, folder, Budget(trials, seconds, workers), storage, fixed)
        return _gathered(experiment, *_session(plan, workers, tell))


def _planned(
    experiment: Experiment,
    sought: Experiment,
    seen: Split,
    folder: Path,
    budget: Budget,
    storage: str | None,
    fixed: Collection[str],
) -> Plan:
    space = space_of(sought, fixed)
    what = described(experiment, seen, space, fixed, without_password(storage) if storage else None)
    home, study = noted(folder, what, budget)
    return Plan(
        experiment=sought,
        split=seen,
        folder=folder,
        space=space,
        trials=int(min(budget.trials, count(space))),
        seconds=budget.seconds,
        storage=storage or study_file(folder / "study.db"),
        study=study,
        home=home,
        began=time.monotonic(),
    )


def _refuse_nothing(**given: float | None) -> None:
    for name, number in given.items():
        if number is not None and number <= 0:
            raise ConfigError(f"{name} = {number} leaves nothing to do; expected a number above zero")


def _session(plan: Plan, workers: int, tell: Teller) -> tuple[tuple[Tried, ...], float]:
    """Run what is left of a plan; all that was tried so far, and the wall seconds of all sessions."""
    with closing(Study(plan)) as study, tell.bar(f"tune {plan.experiment.model['name']}", total=plan.trials) as bar:
        plan = study.plan = dataclasses.replace(plan, earlier=study.seconds())
        listener = _Telling(len(study.tried()), plan.experiment.metric, bar, tell)
        if workers > 1:
            work_together(plan, workers, listener)
        work(plan, study, listener)  # alone, or what a killed worker left
        return study.tried(), study.seconds()


class _Telling:
    """Turns what is heard into one bar and one sentence per trial."""

    def __init__(self, done: int, metric: str, bar: Bar, tell: Teller):
        self.done, self.metric, self.bar, self.tell = done, metric, bar, tell

    def note(self, number: int, text: str) -> None:
        """Beside the bar."""
        self.bar.update(self.done, f"trial {number}: {text}")

    def ended(self, tried: Tried, of: int) -> None:
        """One sentence."""
        self.done += 1
        self.bar.update(self.done)
        self.tell.say(sentence(tried, of, self.metric))


def _gathered(experiment: Experiment, tried: tuple[Tried, ...], seconds: float) -> Searched:
    complete = [trial for trial in tried if trial.state == "complete"]
    if not complete:
        why = tried[0].reason if tried else "another process runs them"
        raise AttlasError(f"none of {len(tried)} trials of {experiment.model['name']} could be completed: {why}")
    sign = 1 if experiment.metric in ERRORS else -1
    best = min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))
    found = with_settings(experiment, best.settings)
    if learns_in_epochs(found):
        found = dataclasses.replace(found, training=dataclasses.replace(found.training, epochs=best.epoch, chosen=True))
    return Searched(tried, best, found, seconds)
