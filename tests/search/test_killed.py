"""A search that is killed at any moment goes on and ends with the same trials as one that never was."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import attlas
from attlas.data.split import Split
from attlas.experiment import Experiment
from attlas.search import loop
from attlas.search.search import Searched, search
from attlas.search.study import Study
from attlas.telling import Teller
from tests.search.test_search import what

TABLES: dict[str, Any] = {"model": {"name": "ials", "embedding_dim": 8}, "training": {"epochs": 8, "patience": 8}}
TRIALS = 9

# A process with everything imported, which forks for each search one that is killed: imports take longer than the search.
NURSERY = """
import os, sys
from pathlib import Path
import attlas, optuna, sqlalchemy.dialects.sqlite, alembic, torch._dynamo
from attlas.experiment import Experiment
from attlas.search.search import search
from attlas.telling import Teller
import attlas.models.ials

split = attlas.split(attlas.simulate(80, 40, seed=3, num_interactions=900).interactions)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            search(Experiment.of({tables}), split, folder=Path(line.strip()), trials={trials}, tell=Teller())
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def parts(club: Any) -> Split:
    """The club, split by time."""
    return attlas.split(club.interactions)


def seek(parts: Split, folder: Path, **changes: Any) -> Searched:
    """The search in this process."""
    experiment = Experiment.of({**TABLES, **changes})
    return search(experiment, parts, folder=folder, trials=TRIALS, tell=Teller())


@pytest.fixture(scope="module")
def untouched(parts: Split, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A search that was never killed."""
    return seek(parts, tmp_path_factory.mktemp("untouched"))


@pytest.fixture(scope="module")
def begin() -> Iterator[Callable[[Path, float], int]]:
    """Begins or goes on in a folder, and kills after so many seconds; the exit code, -9 if it was killed."""
    code = NURSERY.format(tables=TABLES, trials=TRIALS)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, bufsize=1, **pipes) as nursery:  # type: ignore[call-overload]

        def do(folder: Path, seconds: float) -> int:
            nursery.stdin.write(f"{folder}\n")
            child = int(nursery.stdout.readline())
            end = time.monotonic() + seconds
            while time.monotonic() < end and os.path.exists(f"/proc/{child}/fd/0"):
                time.sleep(0.001)
            os.kill(child, signal.SIGKILL)
            return int(nursery.stdout.readline())

        assert nursery.stdout.readline() == "ready\n"
        yield do
        nursery.stdin.close()


def test_the_search_that_killed_ones_are_held_against_prunes_and_completes(untouched: Searched) -> None:
    states = [one.state for one in untouched.tried]
    assert len(states) == TRIALS
    assert {"complete", "pruned"} == set(states)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="whether a process still runs is read from /proc")
def test_killed_at_random_moments_it_ends_with_the_same_trials(
    begin: Callable[[Path, float], int], parts: Split, untouched: Searched, tmp_path: Path
) -> None:
    rng, kills, chain = random.Random(4), 0, 0
    began = time.monotonic()
    assert begin(tmp_path / "whole", 60.0) == 0
    seconds = time.monotonic() - began
    assert what(seek(parts, tmp_path / "whole")) == what(untouched)
    while kills < 4:  # where the machine has less to do by now, a search ends after few of them
        folder = tmp_path / str(chain)
        while begin(folder, rng.uniform(0.02, 0.5) * seconds if kills < 8 else 60.0):
            kills += 1
        assert what(seek(parts, folder)) == what(untouched)
        study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")
        assert len(study.trials) == TRIALS  # a kill leaves no row behind
        chain += 1


class Killed(BaseException):
    """What a kill is to the code that it falls into."""


class Reaper:
    """Counts every step by which a search leaves something behind, and kills before or after one of them."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int):
        self.steps, self.at = 0, at
        storage = optuna.storages.RDBStorage
        for name in ("create_new_study", "create_new_trial", "set_trial_intermediate_value", "set_trial_state_values"):
            self._guard(patch, storage, name)
        self._guard(patch, storage, "set_trial_user_attr")
        for owner, name in ((Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
            self._guard(patch, owner, name)

    def _guard(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        deed = getattr(owner, name)

        def guarded(*given: Any, **options: Any) -> Any:
            self._step()
            done = deed(*given, **options)
            self._step()
            return done

        patch.setattr(owner, name, guarded)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise Killed


def is_killed(parts: Split, folder: Path, at: int) -> bool:
    """Begin or go on, killed at a step; whether it came to that."""
    experiment = Experiment.of({**TABLES, "training": {"epochs": 2}})
    with pytest.MonkeyPatch.context() as patch:
        Reaper(patch, at)
        try:
            search(experiment, parts, folder=folder, trials=3, tell=Teller())
        except Killed:
            return True
    return False


def test_killed_one_step_later_each_time_it_ends_with_the_same_trials(parts: Split, tmp_path: Path) -> None:
    at = 1
    while is_killed(parts, tmp_path / "killed", at):
        at += 1
    experiment = Experiment.of({**TABLES, "training": {"epochs": 2}})
    killed, whole = (search(experiment, parts, folder=tmp_path / name, trials=3, tell=Teller()) for name in ("killed", "whole"))
    assert what(killed) == what(whole)
    assert at > 8
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {"search.json", "study.db", "trials"}


def test_killed_before_or_after_every_seventh_step_it_ends_with_the_same_trials(parts: Split, tmp_path: Path) -> None:
    at, experiment = 1, Experiment.of({**TABLES, "training": {"epochs": 2}})
    whole = search(experiment, parts, folder=tmp_path / "whole", trials=3, tell=Teller())
    while is_killed(parts, tmp_path / str(at), at):
        assert not is_killed(parts, tmp_path / str(at), 0)
        assert what(search(experiment, parts, folder=tmp_path / str(at), trials=3, tell=Teller())) == what(whole)
        at += 7
    assert at > 60


def test_a_trial_that_is_taken_up_does_not_repeat_the_epochs_that_were_kept(
    parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[int] = []
    report = Study.report

    def counted(study: Study, row: int, epoch: int, value: float) -> None:
        report(study, row, epoch, value)
        reports.append(epoch)
        if len(reports) == 5:
            raise Killed

    monkeypatch.setattr(Study, "report", counted)
    with pytest.raises(Killed):
        seek(parts, tmp_path)
    seek(parts, tmp_path)
    assert reports[:9] == [1, 2, 3, 4, 5, 5, 6, 7, 8]  # the fifth was not kept yet


def test_the_seconds_of_a_killed_session_count(parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying(loop.Trial):
        """Dies once it has fitted."""

        def fit(self, *given: Any, **options: Any) -> Any:
            """Fit, and die."""
            super().fit(*given, **options)
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "Trial", Dying)
        with pytest.raises(Killed):
            seek(parts, tmp_path)
    found = search(Experiment.of(TABLES), parts, folder=tmp_path, trials=1, tell=Teller())
    kept = sum(epoch.seconds for epoch in found.tried[0].curve)
    assert 0 < kept <= found.tried[0].seconds
    assert kept <= found.seconds
