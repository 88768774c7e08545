"""A search: where it starts, what it keeps, what ends it, and what it may not see."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

import attlas
from attlas.data.split import Split
from attlas.errors import ArtefactError, AttlasError, ConfigError, MissingExtra, TooLarge
from attlas.experiment import Experiment
from attlas.runner import run
from attlas.search import loop
from attlas.search.loop import is_behind
from attlas.search.note import read_note
from attlas.search.plan import Plan
from attlas.search.search import Searched, Tried, search
from attlas.telling import Teller
from tests.search.poisoned import Poisoned
from tests.toy import rated_tastes


class Notes(Teller):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        """Keep one sentence."""
        self.sentences.append(sentence)


def of(name: str, **tables: Any) -> Experiment:
    """An experiment with one model, four epochs long."""
    training = {"epochs": 4, **tables.pop("training", {})}
    return Experiment.of({**tables, "model": {"name": name, **tables.get("model", {})}, "training": training})


def seek(experiment: Experiment, split: Split, folder: Path, **options: Any) -> Searched:
    """A search that says nothing."""
    return search(experiment, split, folder=folder, tell=options.pop("tell", Teller()), **options)


def what(searched: Searched) -> list[tuple[Any, ...]]:
    """All that must be the same in every session: the trials without their times."""
    return [
        (one.number, one.settings, one.value, one.epoch, one.state, [epoch.valid for epoch in one.curve])
        for one in searched.tried
    ]


@pytest.fixture(scope="module")
def parts(club: Any) -> Split:
    """The club, split by time."""
    return attlas.split(club.interactions)


@pytest.fixture(scope="module")
def found(parts: Split, tmp_path_factory: pytest.TempPathFactory) -> tuple[Searched, Path]:
    """A search of ten trials of MF, and its folder."""
    folder = tmp_path_factory.mktemp("found")
    return seek(of("mf", model={"embedding_dim": 8}), parts, folder, trials=10), folder


def test_the_first_trial_has_the_settings_of_the_experiment(found: tuple[Searched, Path]) -> None:
    first = found[0].tried[0]
    assert first.settings == {
        "model.embedding_dim": 8,
        "solver.learning_rate": 0.03,
        "solver.l2": 0.005,
        "solver.negatives": 8,
    }
    assert first.number == 0


def test_trials_are_numbered_as_they_began_and_all_differ(found: tuple[Searched, Path]) -> None:
    assert [one.number for one in found[0].tried] == list(range(10))
    assert len({str(one.settings) for one in found[0].tried}) == 10


def test_the_best_is_the_complete_trial_with_the_highest_value(found: tuple[Searched, Path]) -> None:
    complete = [one.value for one in found[0].tried if one.state == "complete"]
    assert found[0].best.state == "complete"
    assert found[0].best.value == max(complete)


def test_a_fit_with_the_experiment_that_was_found_has_the_value_that_was_found(
    found: tuple[Searched, Path], parts: Split
) -> None:
    experiment, best = found[0].experiment, found[0].best
    assert experiment.training.epochs == best.epoch
    assert {f"model.{key}": experiment.model[key] for key in ("embedding_dim",)}.items() <= best.settings.items()
    assert run(experiment, data=parts).card["training"]["valid"] == {
        "metric": "ndcg@10",
        "value": best.value,
        "epoch": best.epoch,
    }


def test_a_curve_has_the_validation_value_of_every_epoch(found: tuple[Searched, Path]) -> None:
    for one in found[0].tried:
        values = [epoch.valid for epoch in one.curve]
        assert max(values) == one.value == values[one.epoch - 1]  # type: ignore[type-var]


def test_optuna_reads_the_same_from_the_study(found: tuple[Searched, Path]) -> None:
    address = f"sqlite:///{found[1] / 'study.db'}"
    study = optuna.load_study(study_name=None, storage=address)
    assert study.best_value == found[0].best.value
    assert study.best_trial.number == found[0].best.number
    assert study.direction.name == "MAXIMIZE"
    assert [trial.params["solver.l2"] for trial in study.trials] == [one.settings["solver.l2"] for one in found[0].tried]
    assert list(study.trials[0].intermediate_values.values()) == [epoch.valid for epoch in found[0].tried[0].curve]


def test_nothing_of_a_trial_stays_but_its_row(found: tuple[Searched, Path]) -> None:
    left = {path.relative_to(found[1]).as_posix() for path in found[1].rglob("*")}
    assert left == {"search.json", "study.db", "trials", "trials/turn.lock"}


def test_a_finished_search_answers_at_once_with_the_same(found: tuple[Searched, Path], parts: Split) -> None:
    again = seek(of("mf", model={"embedding_dim": 8}), parts, found[1], trials=10)
    assert again == found[0]


def test_more_trials_go_on_where_fewer_ended(found: tuple[Searched, Path], parts: Split, tmp_path: Path) -> None:
    mf = of("mf", model={"embedding_dim": 8})
    seek(mf, parts, tmp_path, trials=3)
    assert what(seek(mf, parts, tmp_path, trials=10)) == what(found[0])


def test_another_seed_tries_other_settings(found: tuple[Searched, Path], parts: Split, tmp_path: Path) -> None:
    other = seek(of("mf", model={"embedding_dim": 8}, training={"seed": 2}), parts, tmp_path, trials=2)
    assert other.tried[0].settings == found[0].tried[0].settings
    assert other.tried[1].settings != found[0].tried[1].settings


def test_a_model_of_ratings_is_searched_for_the_smallest_error(tmp_path: Path) -> None:
    rated = attlas.split(rated_tastes().train, "user-ratio")
    searched = seek(of("biased_mf", solver={"learning_rate": 0.1}), rated, tmp_path, trials=4, fixed=["model.embedding_dim"])
    assert searched.best.value == min(one.value for one in searched.tried)  # type: ignore[type-var]
    assert max(one.value for one in searched.tried) > searched.best.value  # type: ignore[operator,type-var]


def test_what_is_fixed_stays_as_it_is(parts: Split, tmp_path: Path) -> None:
    searched = seek(of("slim", model={"l1": 2.0}), parts, tmp_path, trials=3, fixed=["model.l1"])
    assert all(set(one.settings) == {"model.l2"} for one in searched.tried)
    assert searched.experiment.model["l1"] == 2.0


def test_a_model_without_a_search_space_is_tried_once(parts: Split, tmp_path: Path) -> None:
    searched = seek(of("popularity"), parts, tmp_path)
    assert [(one.settings, one.curve) for one in searched.tried] == [({}, ())]
    assert searched.experiment.training.epochs == 4  # it does not learn in epochs


def test_few_choices_are_tried_once_each(parts: Split, tmp_path: Path) -> None:
    everything = ["model.neighbours", "model.shrink", "model.target_power"]
    searched = seek(of("itemknn"), parts, tmp_path, fixed=everything)
    tried = {(one.settings["model.weighting"], one.settings["model.normalise"]) for one in searched.tried}
    assert len(tried) == len(searched.tried) == 6


def test_the_test_part_is_out_of_reach(parts: Split, tmp_path: Path) -> None:
    assert len(seek(of("mf"), Poisoned.of(parts), tmp_path, trials=2).tried) == 2


def test_protocols_of_the_test_part_are_kept_for_the_experiment_that_is_found(parts: Split, tmp_path: Path) -> None:
    searched = seek(of("ease", evaluation={"protocol": ["ncf"]}), parts, tmp_path, trials=2)
    assert searched.experiment.evaluation.protocol == ("ncf",)


def test_each_trial_is_one_sentence(parts: Split, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    notes = Notes()
    seek(of("ease"), parts, tmp_path, trials=2, tell=notes)
    assert len(notes.sentences) == 2
    assert notes.sentences[0].startswith("trial 0 of 2  complete  ndcg@10 0.")
    assert notes.sentences[0].endswith("l2 500")
    said = capfd.readouterr()
    assert said.out + said.err == ""  # Optuna's own logger is silent
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


class Refusing(loop.Trial):
    """Finds every penalty above the first one too large."""

    def fit(self, *given: Any, **options: Any) -> Any:
        """Refuse, or fit."""
        if self.config.l2 > 500:
            raise TooLarge("more than there is")
        return super().fit(*given, **options)


def test_a_trial_that_fails_is_noted_and_the_search_goes_on(
    parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Trial", Refusing)
    searched = seek(of("ease"), parts, tmp_path, trials=8)
    failed = [one for one in searched.tried if one.settings["model.l2"] > 500]
    assert 0 < len(failed) < 8
    assert all((one.state, one.value, one.epoch, one.reason) == ("failed", None, 0, "more than there is") for one in failed)
    assert all(one.state == "complete" for one in searched.tried if one not in failed)


def test_where_every_trial_fails_the_first_reason_is_given(parts: Split, tmp_path: Path) -> None:
    with pytest.raises(AttlasError, match=r"none of 2 trials of slim could be completed: .*max_sweeps = 1;"):
        seek(of("slim", model={"max_sweeps": 1, "l2": 0.5, "tolerance": 1e-9}), parts, tmp_path, trials=2)


def test_an_experiment_that_is_too_large_is_refused_before_anything_begins(parts: Split, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="EASE on"):
        seek(of("ease", training={"memory": "1KB"}), parts, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "number"), [("trials", 0), ("seconds", 0.0), ("workers", -1)])
def test_a_budget_of_nothing_is_refused(name: str, number: float, parts: Split, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{name} = {number} leaves nothing to do"):
        seek(of("ease"), parts, tmp_path, **{name: number})


def test_the_folder_of_another_search_is_refused(found: tuple[Searched, Path], parts: Split) -> None:
    with pytest.raises(ArtefactError, match="holds another search: its experiment differs; choose another folder"):
        seek(of("mf", model={"embedding_dim": 9}), parts, found[1])
    with pytest.raises(ArtefactError, match="its fixed settings differ"):
        seek(of("mf", model={"embedding_dim": 8}), parts, found[1], fixed=["solver.l2"])
    fewer = dataclasses.replace(parts, train=parts.train.take(slice(1, None)))
    with pytest.raises(ArtefactError, match="its training, validation or given rows differ"):
        seek(of("mf", model={"embedding_dim": 8}), fewer, found[1])


def test_where_the_epochs_come_from_makes_no_other_search(found: tuple[Searched, Path], parts: Split) -> None:
    again = seek(of("mf", model={"embedding_dim": 8}, training={"chosen": True}), parts, found[1], trials=10)
    assert what(again) == what(found[0])
    assert "chosen" not in read_note(found[1])["experiment"]["training"]  # so that older folders go on too


def test_a_search_that_an_earlier_version_began_goes_on(parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its note does not know settings that came since; they stand at what they were."""

    def of_earlier(experiment: Experiment) -> dict[str, Any]:
        plain = experiment.to_dict()
        del plain["training"]["chosen"], plain["training"]["start"]
        told: dict[str, Any] = json.loads(json.dumps(plain))
        return told

    monkeypatch.setattr("attlas.search.note._spelled", of_earlier)
    first = seek(of("ease"), parts, tmp_path, trials=1)
    monkeypatch.undo()
    again = seek(of("ease"), parts, tmp_path, trials=2)
    assert again.tried[:1] == first.tried  # its seconds too: it was not run again
    assert len(again.tried) == 2
    assert "start" not in read_note(tmp_path)["experiment"]["training"]


def test_without_optuna_the_message_says_what_to_install(parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"needs optuna, which is not installed; .* pip install 'attlas\[tune\]'"):
        seek(of("ease"), parts, tmp_path)


class TestStorage:
    """A study at an address."""

    def test_folders_share_the_study_of_one_address(self, parts: Split, tmp_path: Path) -> None:
        address = f"sqlite:///{tmp_path / 'shared.db'}"
        first = seek(of("ease"), parts, tmp_path / "a", trials=3, storage=address)
        second = seek(of("ease"), parts, tmp_path / "b", trials=4, storage=address)
        assert second.tried[:3] == first.tried
        assert len(second.tried) == 4
        assert not (tmp_path / "a" / "study.db").exists()

    def test_searches_of_other_data_or_settings_share_an_address_without_mixing(self, parts: Split, tmp_path: Path) -> None:
        address = f"sqlite:///{tmp_path / 'shared.db'}"
        seek(of("ease"), parts, tmp_path / "a", trials=2, storage=address)
        other = seek(of("ease", model={"l2": 50.0}), parts, tmp_path / "b", trials=2, storage=address)
        assert other.tried[0].settings == {"model.l2": 50.0}
        assert len(optuna.get_all_study_names(address)) == 2

    @pytest.mark.parametrize("address", ["study.db", "nosuch://host/name", "sqlite:////nowhere/at/all.db"])
    def test_an_address_that_does_not_open_is_refused(self, address: str, parts: Split, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"write for instance sqlite:///study\.db"):
            seek(of("ease"), parts, tmp_path, storage=address)

    def test_a_password_is_not_written_down(self, parts: Split, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as refused:
            seek(of("ease"), parts, tmp_path, storage="nosuch://me:secret@host/name")
        assert "secret" not in str(refused.value)
        assert "secret" not in (tmp_path / "search.json").read_text()


class TestPruning:
    """When a trial is given up on."""

    def test_below_the_median_of_the_best_so_far_it_is_behind(self) -> None:
        curves = [[level / 10] * 6 for level in (1, 2, 3, 4, 5)]
        assert is_behind([0.29] * 6, curves, is_error=False)
        assert not is_behind([0.30] * 6, curves, is_error=False)
        assert not is_behind([0.31, *[0.1] * 5], curves, is_error=False)  # its best counts

    def test_errors_are_behind_above_the_median(self) -> None:
        curves = [[level / 10] * 6 for level in (1, 2, 3, 4, 5)]
        assert is_behind([0.31] * 6, curves, is_error=True)
        assert not is_behind([0.29] * 6, curves, is_error=True)

    def test_first_epochs_and_first_trials_are_spared(self) -> None:
        assert not is_behind([0.0] * 5, [[0.5] * 6] * 5, is_error=False)
        assert not is_behind([0.0] * 6, [[0.5] * 6] * 4, is_error=False)
        assert is_behind([0.0] * 6, [[0.5] * 6] * 5, is_error=False)

    def test_a_trial_that_ended_earlier_is_held_against_with_the_best_it_had(self) -> None:
        ended = [[0.2, level / 10, 0.1] for level in (1, 2, 3, 4, 5)]
        assert is_behind([0.29] * 9, ended, is_error=False)
        assert not is_behind([0.30] * 9, ended, is_error=False)

    def test_it_is_spared_until_it_has_had_half_as_many_epochs_as_the_best_needed(self) -> None:
        slow = [*[0.1] * 13, 0.9, 0.2]  # best at the fourteenth
        assert not is_behind([0.0] * 7, [[0.5] * 15] * 5 + [slow], is_error=False)
        assert is_behind([0.0] * 8, [[0.5] * 15] * 5 + [slow], is_error=False)
        assert not is_behind([1.0] * 7, [[0.5] * 15] * 5 + [[1 - value for value in slow]], is_error=True)

    def test_what_is_pruned_stopped_before_its_epochs_were_over_and_is_not_the_best(self, parts: Split, tmp_path: Path) -> None:
        searched = seek(of("ials", training={"epochs": 12, "patience": 12}), parts, tmp_path, trials=14)
        pruned = [one for one in searched.tried if one.state == "pruned"]
        assert pruned
        assert all(5 < len(one.curve) < 12 for one in pruned)
        assert min(one.number for one in pruned) >= 5
        assert searched.best not in pruned


def clock(step: float) -> Callable[[Plan], float]:
    """Time that passes whenever somebody asks."""
    now = itertools.count(step, step)
    return lambda plan: plan.earlier + next(now)


class TestTime:
    """What a limit of time ends."""

    def test_the_first_trial_is_done_although_there_is_no_time(self, parts: Split, tmp_path: Path) -> None:
        searched = seek(of("mf"), parts, tmp_path, seconds=1e-9)
        assert [(one.number, one.state, one.epoch, len(one.settings)) for one in searched.tried] == [(0, "complete", 1, 4)]

    def test_a_running_trial_ends_after_the_epoch_in_which_time_runs_out(
        self, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Plan, "spent", clock(1.0))
        searched = seek(of("mf", training={"epochs": 50, "patience": 50}), parts, tmp_path, seconds=4.0)
        assert [one.state for one in searched.tried] == ["complete"]
        assert len(searched.tried[0].curve) == 3  # the clock says 1 at its beginning, and 2, 3, 4 after its epochs

    def test_no_trial_begins_that_is_predicted_not_to_fit(
        self, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timed = loop.run_trial

        def of_ten_seconds(*given: Any) -> Tried:
            return dataclasses.replace(timed(*given), seconds=10.0)

        monkeypatch.setattr(loop, "run_trial", of_ten_seconds)
        monkeypatch.setattr(Plan, "is_late", lambda plan: False)
        monkeypatch.setattr(Plan, "spent", clock(4.0))  # asked at the beginning, at the end, and before each but the first
        searched = seek(of("ease"), parts, tmp_path, seconds=30.0)
        assert len(searched.tried) == 2  # after 8 seconds ten fit, begun at 12; after 24 they do not

    def test_seconds_of_earlier_sessions_count(self, parts: Split, tmp_path: Path) -> None:
        first = seek(of("ease"), parts, tmp_path, trials=2)
        again = seek(of("ease"), parts, tmp_path, trials=9, seconds=first.seconds)
        assert len(again.tried) == 2
        assert again.seconds == first.seconds
        assert len(seek(of("ease"), parts, tmp_path, trials=3).tried) == 3

    def test_the_seconds_of_a_search_hold_those_of_its_trials(self, found: tuple[Searched, Path]) -> None:
        assert found[0].seconds >= sum(one.seconds for one in found[0].tried)
