"""The last fit: anew on all rows, with a run's settings and best number of epochs, and without numbers of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attlas
from attlas.artefact import read_card
from attlas.errors import ArtefactError, ConfigError
from attlas.experiment import Experiment
from attlas.final import final_folder, fit_final
from attlas.runner import evaluate_run, run
from attlas.telling import Teller
from attlas.training import journal
from attlas.trial import Trial
from tests.toy import chosen_by

TINY = {"embedding_dim": 8, "attention_dim": 8, "layers": [8]}


class Stopped(BaseException):
    """Whatever ends a process."""


def delf(**training: Any) -> Experiment:
    """A small DELF."""
    tables = {"model": {"name": "delf", **TINY}, "solver": {"learning_rate": 0.05}, "training": {"epochs": 6, **training}}
    return Experiment.of(tables)


@pytest.fixture(scope="module")
def measured(club: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of DELF on the club, whose best epoch is not its last."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    run(delf(patience=2), data=club.interactions, out=folder)
    return folder


@pytest.fixture(scope="module")
def final(measured: Path, club: Any) -> Any:
    """The same, trained anew on all rows."""
    return fit_final(measured, data=club.interactions)


def test_it_trains_on_every_row_for_the_best_number_of_epochs(measured: Path, final: Any, club: Any) -> None:
    best = read_card(measured)["training"]["valid"]["epoch"]
    assert (len(final.inputs.train), len(final.seen)) == (900, 0)
    assert final.inputs.train.fingerprint == club.interactions.fingerprint
    assert final.card["training"]["epochs"] == len(final.card["training"]["losses"]) == best
    assert final.card["data"]["train_rows"] == 900


def test_it_is_the_model_that_a_fit_of_all_rows_for_so_many_epochs_would_be(measured: Path, final: Any, club: Any) -> None:
    epochs = final.card["training"]["epochs"]
    everything = attlas.Split(club.interactions, None, club.interactions.take([]), "all")
    model, *_ = Trial(delf(), everything, None, Teller()).fit("fit", club.interactions, epochs)
    assert all(tensor.equal(model.state_dict()[name]) for name, tensor in final.model.state_dict().items())


def test_its_numbers_are_those_of_the_run_and_its_card_says_so(measured: Path, final: Any) -> None:
    before, after = read_card(measured), read_card(measured.with_name("run-final"))
    assert after["reports"] == before["reports"]
    assert after["training"]["valid"] == before["training"]["valid"]
    assert after["final"] == {"of": str(measured), "metrics_are_of": str(measured)}
    assert "final" not in before


def test_it_stands_beside_the_run_and_answers_as_any_other(measured: Path, final: Any) -> None:
    loaded = attlas.load(measured.with_name("run-final"))
    assert loaded.recommend(["m17"], 3).equals(final.recommend(["m17"], 3))
    names = {path.name for path in measured.with_name("run-final").iterdir()}
    assert names == {path.name for path in measured.iterdir()}


def test_it_cannot_be_measured_on_rows_it_was_trained_on(measured: Path, final: Any, club: Any) -> None:
    with pytest.raises(ArtefactError, match=f"was trained on all rows, its test rows too, .*; evaluate {measured}$"):
        evaluate_run(measured.with_name("run-final"), data=club.interactions)


def test_there_is_no_final_fit_of_a_final_fit(measured: Path, final: Any, club: Any) -> None:
    with pytest.raises(ArtefactError, match="was trained on all rows already"):
        fit_final(measured.with_name("run-final"), data=club.interactions)


def test_other_data_than_the_runs_are_refused_before_a_folder_is_made(measured: Path, club: Any, tmp_path: Path) -> None:
    fewer = club.interactions.take(range(800))
    with pytest.raises(ArtefactError, match=r"the training data are not those that .* was trained on; point --data to where"):
        fit_final(measured, data=fewer, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_left_as_it_is(measured: Path, final: Any, club: Any) -> None:
    with pytest.raises(ArtefactError, match="run-final is not empty; choose another --out"):
        fit_final(measured, data=club.interactions)


def test_stopped_it_goes_on_and_ends_with_the_same_weights(
    measured: Path, final: Any, club: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, epoch: int, loss: float) -> None:
        if epoch == 2:
            raise Stopped

    assert final.card["training"]["epochs"] > 2
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "__call__", stop)
        with pytest.raises(Stopped):
            fit_final(measured, data=club.interactions, out=tmp_path / "new")
    assert (tmp_path / "new" / "final.checkpoint").is_file()
    with pytest.raises(ArtefactError, match="begun with; fit anew"):
        run(Experiment.of({}), data=club.interactions.take(range(899)), out=tmp_path / "new", resume=True)
    made = run(Experiment.of({}), data=club.interactions, out=tmp_path / "new", resume=True)
    assert made.card["final"] == final.card["final"]
    assert made.card["training"]["losses"] == final.card["training"]["losses"]
    assert all(tensor.equal(final.model.state_dict()[name]) for name, tensor in made.model.state_dict().items())
    assert not (tmp_path / "new" / "final.checkpoint").exists()


def test_rows_that_the_split_dropped_as_cold_are_trained_on(tmp_path: Path) -> None:
    rows = attlas.Interactions.of(list("aabbcc"), list("xyyxxz"), time=range(6))
    tables = {"model": {"name": "popularity"}, "data": {"split": "leave-last-out"}}
    made = run(Experiment.of(tables), data=rows, out=tmp_path / "run")
    assert made.model.count_I.tolist() == [2, 1, 0]
    assert fit_final(tmp_path / "run", data=rows).model.count_I.tolist() == [3, 2, 1]


def test_of_a_split_that_came_as_files_all_parts_are_trained_on(given_files: Path, tmp_path: Path) -> None:
    made = run(Experiment.of({"data": {"source": str(given_files)}}), out=tmp_path / "run")
    final = fit_final(tmp_path / "run")
    assert (len(made.inputs.train), len(final.inputs.train)) == (9, 16)
    assert [report["protocol"] for report in final.card["reports"]] == ["full", "ncf"]


def test_a_pair_that_stands_in_two_parts_of_a_split_is_trained_on_once(tmp_path: Path) -> None:
    parts = attlas.Split(chosen_by([[0, 1], [2]], 4), None, chosen_by([[1, 3], []], 4), "by-hand")
    run(Experiment.of({}), data=parts, out=tmp_path / "run")
    assert len(fit_final(tmp_path / "run", data=parts).inputs.train) == 4


def test_of_users_that_were_held_out_whole_all_rows_are_trained_on(club: Any, tmp_path: Path) -> None:
    tables = {"model": {"name": "popularity"}, "data": {"split": "held-out-users"}}
    run(Experiment.of(tables), data=club.interactions, out=tmp_path / "run")
    assert int(fit_final(tmp_path / "run", data=club.interactions).model.count_I.sum()) == 900


def test_a_run_that_is_named_by_a_dot_gets_its_final_fit_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    assert final_folder(Path(".")) == tmp_path.resolve() / "run-final"
    assert final_folder(Path("below")) == Path("below-final")


# On the command line.


def test_the_command_says_on_which_run_its_numbers_were_measured(runs: Path, command: Callable, tmp_path: Path) -> None:
    said = command("fit", "--final", runs / "delf", "--out", tmp_path / "new")
    assert said.code == 0
    assert f"delf, measured on {runs / 'delf'} before it was trained anew on all rows: protocol full" in " ".join(
        said.out.split()
    )
    assert "all 900 rows" in said.err
    assert f"the final model is in {tmp_path / 'new'}" in said.err
    refused = command("evaluate", tmp_path / "new")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "its test rows too" in refused.err


def test_data_that_were_moved_are_found_by_the_command(runs: Path, command: Callable, tmp_path: Path) -> None:
    moved = tmp_path / "moved.csv"
    moved.write_bytes((runs / "ratings.csv").read_bytes())
    words = ("--data", moved, "--out", tmp_path / "new", "--json")
    card = command("fit", "--final", runs / "ease", *words).json
    assert card["experiment"]["data"]["source"] == str(moved)
    assert card["final"]["of"] == str(runs / "ease")
    assert json.loads((tmp_path / "new" / "run.json").read_text())["final"] == card["final"]


@pytest.mark.parametrize("words", [["--model", "ease"], ["--epochs", "3"], ["--set", "model.l2=3"], ["--split", "user-ratio"]])
def test_other_settings_than_the_runs_do_not_go_with_it(words: list[str], runs: Path, command: Callable) -> None:
    said = command("fit", "--final", runs / "ease", *words)
    assert (said.code, said.out) == (2, "")
    assert "--final takes the settings noted in the run; only --data and --out go with it" in said.err


def test_a_run_on_data_in_memory_says_that_it_needs_them(measured: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="made from data in memory, which attlas did not keep"):
        fit_final(measured, out=tmp_path / "new")
