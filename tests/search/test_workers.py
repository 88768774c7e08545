"""Several processes on one study; real ones, since what a kill does to them is the question."""

from __future__ import annotations

import multiprocessing
import os
import signal
import struct
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pytest

import attlas
from attlas.data.split import Split
from attlas.errors import AttlasError
from attlas.experiment import Experiment
from attlas.search.locks import claim
from attlas.search.search import Searched, search
from attlas.search.workers import _listen
from attlas.telling import Teller
from tests.search.poisoned import Poisoned

MF = {"model": {"name": "mf", "embedding_dim": 8}, "training": {"epochs": 4}}


class Watch(Teller):
    """Does something as soon as the first trial has ended."""

    def __init__(self, deed: Any = None):
        self.deed, self.sentences = deed, list[str]()

    def say(self, sentence: str) -> None:
        """Keep it; after the first, do the deed."""
        self.sentences.append(sentence)
        if self.deed and len(self.sentences) == 1:
            self.deed()


@pytest.fixture(scope="module")
def parts(club: Any) -> Split:
    """The club, split by time."""
    return attlas.split(club.interactions)


def seek(parts: Split, folder: Path, tell: Teller, trials: int = 8, **changes: Any) -> Searched:
    """A search by two workers."""
    return search(Experiment.of({**MF, **changes}), parts, folder=folder, trials=trials, workers=2, tell=tell)


def kill_one() -> None:
    """End one of the workers as a machine out of memory would."""
    process = multiprocessing.active_children()[0]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)


def assert_whole(found: Searched, folder: Path, tell: Watch) -> None:
    """Every trial was begun once, ended once and told once; nothing else is left."""
    assert [one.number for one in found.tried] == list(range(8))
    assert len({str(one.settings) for one in found.tried}) == 8
    assert sorted(sentence.split()[1] for sentence in tell.sentences) == [str(number) for number in range(8)]
    assert {path.name for path in (folder / "trials").iterdir()} == {"turn.lock"}


def test_two_workers_share_the_trials_of_one_study_without_the_test_part(parts: Split, tmp_path: Path) -> None:
    tell = Watch()
    found = seek(Poisoned.of(parts), tmp_path, tell)
    assert_whole(found, tmp_path, tell)
    assert found.tried[0].settings["solver.learning_rate"] == 0.03
    assert not multiprocessing.active_children()


def test_two_workers_share_a_study_at_an_address(parts: Split, tmp_path: Path) -> None:
    folder, address = tmp_path / "tuned", f"sqlite:///{tmp_path / 'shared.db'}"
    found = search(Experiment.of(MF), parts, folder=folder, trials=4, storage=address, workers=2, tell=Teller())
    assert [one.number for one in found.tried] == list(range(4))
    assert len({str(one.settings) for one in found.tried}) == 4
    assert len(optuna.get_all_study_names(address)) == 1
    assert not (folder / "study.db").exists()


def test_a_killed_worker_spoils_nothing(parts: Split, tmp_path: Path) -> None:
    tell = Watch(kill_one)
    found = seek(parts, tmp_path, tell)
    assert [one.number for one in found.tried] == list(range(8))
    assert all(one.state in ("complete", "pruned") for one in found.tried)


def test_ctrl_c_stops_the_workers_and_the_search_goes_on_later(parts: Split, tmp_path: Path) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seek(parts, tmp_path, Watch(press))
    assert not multiprocessing.active_children()
    found = search(Experiment.of(MF), parts, folder=tmp_path, trials=8, tell=Teller())
    assert [one.number for one in found.tried] == list(range(8))


def test_what_stops_a_worker_is_raised_where_the_search_began(parts: Split, tmp_path: Path) -> None:
    def spoil() -> None:
        (tmp_path / "trials" / "12").write_text("in the way of a trial's folder")

    with pytest.raises((AttlasError, OSError)):
        seek(parts, tmp_path, Watch(spoil), trials=40)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("deed", ["create_new_trial", "set_trial_state_values", "get_all_trials"])
def test_nobody_else_looks_for_work_while_a_trial_begins_or_ends(
    deed: str, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, is_held = getattr(optuna.storages.RDBStorage, deed), []

    def watched(*given: Any, **options: Any) -> Any:
        free = claim(tmp_path / "trials" / "turn.lock")
        is_held.append(free is None)
        if free:
            free.close()
        return done(*given, **options)

    monkeypatch.setattr(optuna.storages.RDBStorage, deed, watched)
    search(Experiment.of({"model": {"name": "ease"}}), parts, folder=tmp_path, trials=3, tell=Teller())
    assert sum(is_held) >= 3
    assert all(is_held) or deed == "get_all_trials"  # finished trials may be read at any time


def test_half_a_sentence_of_a_killed_worker_is_left_unheard_and_others_are_heard() -> None:
    (heard, spoken), (other_heard, other_spoken) = (multiprocessing.Pipe(duplex=False) for _ in range(2))
    os.write(spoken.fileno(), struct.pack("!i", 100) + b"half of it")
    other_spoken.send((3, "epoch 1"))
    spoken.close()
    other_spoken.close()
    listener = Mock()
    _listen([heard, other_heard], 1, listener)
    listener.note.assert_called_once_with(3, "epoch 1")
    heard.close()
    other_heard.close()
