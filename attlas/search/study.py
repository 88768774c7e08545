"""The trials of one search in an Optuna storage, and what to try next.

A trial is a row of the storage from its beginning. Whoever runs it holds its lock; a trial that is still running while nobody
holds its lock was left by a kill, and the next who asks for work goes on with it. So a kill leaves no trace in the study.

What to try next is asked of a fresh sampler, seeded by the number of the trial, over a copy of the trials there are: with one
process the answer depends on nothing but the seed and what was found before, however often it was interrupted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from attlas.errors import ArtefactError, ConfigError, require
from attlas.search.locks import claim, turn
from attlas.search.plan import Plan
from attlas.search.space import distributions, from_parameters, settings_of, to_parameters
from attlas.search.tried import Tried
from attlas.training.checkpoint import write_whole
from attlas.training.journal import Epoch

RANDOM_TRIALS = 6  # at first; then the tree-structured Parzen estimator has something to go by
DRAWS = 20  # for settings that were not tried before
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


class Begun(NamedTuple):
    """A trial to run: its row in the storage, its number, its settings and the lock that goes with it."""

    row: int
    number: int
    settings: dict[str, Any]
    lock: IO[str]


class Study:
    """The trials of a plan."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.optuna: Any = _optuna()
        self.distributions = distributions(plan.space)
        self.direction = "minimize" if plan.is_error else "maximize"
        self.storage = _opened(plan.storage)
        self.optuna.create_study(
            storage=self.storage,
            study_name=plan.study,
            direction=self.direction,
            load_if_exists=True,
            sampler=self._sampler(0, 0),
        )
        self.study = self.storage.get_study_id_from_name(plan.study)

    def close(self) -> None:
        """Let go of the storage."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def begin(self) -> Begun | None:
        """The next trial, or one that a kill left; None if there is nothing to do or no time for it.

        Processes ask one after the other, so that none sees the trials of another half begun.
        """
        with self._turn():
            trials = self.rows()
            for left in (trial for trial in trials if self._is_ours_and_runs(trial)):
                lock = claim(self.plan.lock(left.number))
                if lock:
                    return Begun(left._trial_id, left.number, from_parameters(self.plan.space, left.params), lock)
            return self._new(trials) if self._may_begin(trials) else None

    def _is_ours_and_runs(self, trial: Any) -> bool:
        return trial.state.name == "RUNNING" and trial.user_attrs["home"] == self.plan.home

    def _may_begin(self, trials: list[Any]) -> bool:
        """Whether trials are left, and time for one as long as the mean of those before; the first always may."""
        if len(trials) >= self.plan.trials:
            return False
        if not trials or self.plan.seconds is None:
            return True
        took = [trial.user_attrs["tried"]["seconds"] for trial in trials if trial.state.is_finished()]
        left = self.plan.seconds - self.plan.spent()
        return left > 0 and (not took or float(np.mean(took)) <= left)

    def _new(self, trials: list[Any]) -> Begun:
        parameters = self._next(trials) if trials else self._own()
        template = self.optuna.trial.create_trial(
            state=self.optuna.trial.TrialState.RUNNING,
            params=parameters,
            distributions=self.distributions,
            user_attrs={"home": self.plan.home, "began": self.plan.spent()},
        )
        row = self.storage.create_new_trial(self.study, template_trial=template)
        number = self.storage.get_trial(row).number
        lock = claim(self.plan.lock(number))
        if lock is None:
            raise ArtefactError(f"{self.plan.lock(number)} is held by another process; end it, or choose another folder")
        return Begun(row, number, from_parameters(self.plan.space, parameters), lock)

    def _own(self) -> dict[str, Any]:
        known = settings_of(self.plan.experiment)
        return to_parameters(self.plan.space, {key: known[key] for key in self.plan.space})

    def _next(self, trials: list[Any]) -> dict[str, Any]:
        """Settings that were not tried before, if so many draws find any."""
        for draw in range(DRAWS):
            scratch = self.optuna.create_study(direction=self.direction, sampler=self._sampler(len(trials), draw))
            scratch.add_trials(trials)
            found: dict[str, Any] = scratch.ask(self.distributions).params
            if found not in [trial.params for trial in trials]:
                break
        return found

    def _sampler(self, number: int, draw: int) -> Any:
        seed = np.random.SeedSequence([self.plan.experiment.training.seed, number, draw]).generate_state(1)[0]
        return self.optuna.samplers.TPESampler(seed=int(seed), n_startup_trials=RANDOM_TRIALS)

    def rows(self) -> list[Any]:
        """Optuna's trials that a search of ours began, by number."""
        found = self.storage.get_all_trials(self.study)
        return sorted((trial for trial in found if "home" in trial.user_attrs), key=lambda trial: trial.number)

    def report(self, row: int, epoch: int, value: float) -> None:
        """Note the validation value of an epoch."""
        self.storage.set_trial_intermediate_value(row, epoch, value)

    def curves(self) -> list[list[float]]:
        """The validation values, by epoch, of every trial that was completed."""
        done = [trial.intermediate_values for trial in self.rows() if trial.state.name == "COMPLETE"]
        return [[values[epoch] for epoch in sorted(values)] for values in done]

    def end(self, begun: Begun, tried: Tried) -> None:
        """Note what a trial found, and forget its progress; in turn, lest others take it for one that was left."""
        state = self.optuna.trial.TrialState[STATES[tried.state]]
        with self._turn():
            self.storage.set_trial_user_attr(begun.row, "tried", {**tried.to_dict(), "ended": self.plan.spent()})
            self.storage.set_trial_state_values(begun.row, state, None if tried.value is None else [tried.value])
            shutil.rmtree(self.plan.trial_folder(begun.number), ignore_errors=True)
            self.plan.lock(begun.number).unlink(missing_ok=True)

    def _turn(self) -> AbstractContextManager[None]:
        return turn(self.plan.folder / "trials" / "turn.lock")

    def tried(self) -> tuple[Tried, ...]:
        """What every finished trial found."""
        return tuple(_told(trial, self.plan) for trial in self.rows() if trial.state.is_finished())

    def seconds(self) -> float:
        """Wall seconds of all sessions until the last trial ended, or as far as epochs of one that runs were kept."""
        ends = [0.0]
        for trial in self.rows():
            told = trial.user_attrs.get("tried")
            if told:
                ends.append(told["ended"])
            elif trial.user_attrs["home"] == self.plan.home:
                ends.append(trial.user_attrs["began"] + seconds_in(self.plan.trial_folder(trial.number)))
        return max(ends)


def _told(trial: Any, plan: Plan) -> Tried:
    told = {key: value for key, value in trial.user_attrs["tried"].items() if key != "ended"}
    told["curve"] = tuple(Epoch(**epoch) for epoch in told["curve"])
    return Tried(**{**told, "number": trial.number, "settings": from_parameters(plan.space, trial.params)})


def seconds_in(folder: Path) -> float:
    """The seconds of all epochs noted in the folder of a trial."""
    path = folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return float(sum(json.loads(line)["seconds"] for line in lines if line.endswith("}")))


def study_file(path: Path) -> str:
    """The address of a study in a file of its own, which is made if it is not there."""
    sqlalchemy: Any = require("sqlalchemy", extra="tune", purpose="keeping a study")

    def address(place: Path) -> str:
        made: str = sqlalchemy.engine.URL.create("sqlite", database=str(place.absolute())).render_as_string()
        return made

    def create(staged: Path) -> None:
        staged.unlink(missing_ok=True)
        storage = _opened(address(staged))
        storage.remove_session()
        storage.engine.dispose()

    with turn(path.with_name("trials") / "turn.lock"):
        if not path.exists():
            write_whole(path, create)
    return address(path)


def without_password(address: str) -> str:
    """The address of a storage as it may be written down.

    Raises:
        ConfigError: it is no address.
    """
    sqlalchemy: Any = require("sqlalchemy", extra="tune", purpose="keeping a study")
    try:
        shown: str = sqlalchemy.engine.make_url(address).render_as_string(hide_password=True)
        return shown
    except sqlalchemy.exc.ArgumentError as error:
        raise ConfigError(f"{address!r} is no address of a storage; {_EXAMPLE}") from error


_EXAMPLE = "write for instance sqlite:///study.db or postgresql://user:password@host/name"


def _opened(address: str) -> Any:
    optuna, sqlalchemy = _optuna(), require("sqlalchemy", extra="tune", purpose="keeping a study")
    waits = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(address, engine_kwargs=waits)
    except (ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"the storage {without_password(address)} cannot be opened: {said}; {_EXAMPLE}") from error


def _optuna() -> Any:
    return require("optuna", extra="tune", purpose="searching for settings")


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing in the meantime, and a storage that goes away is an error of ours."""
    optuna, sqlalchemy = _optuna(), require("sqlalchemy", extra="tune", purpose="keeping a study")
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    except (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
        said = str(error).splitlines()[0]
        raise ArtefactError(f"the study could not be read or written: {said}; finished trials are kept, go on later") from error
    finally:
        optuna.logging.set_verbosity(before)
