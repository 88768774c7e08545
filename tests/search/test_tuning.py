"""attlas tune and attlas.tune: from a table to settings that attlas fit takes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attlas
from attlas.errors import ArtefactError
from attlas.experiment import Experiment
from attlas.search import tuning
from attlas.search.toml import to_toml
from tests.search.poisoned import Looked, Poisoned

WORDS = ("--model", "mf", "--epochs", "4", "--set", "model.embedding_dim=8")


@pytest.fixture(scope="module")
def tuned(club_files: Path, process: Callable, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with four trials of MF, and what the command answered."""
    folder = tmp_path_factory.mktemp("tuned") / "mf"
    return folder, process("tune", "--data", club_files / "ratings.csv", *WORDS, "--trials", "4", "--out", folder)


def test_it_shows_every_trial_and_says_the_next_command(tuned: tuple[Path, Any]) -> None:
    folder, said = tuned
    assert said.code == 0, said.err
    assert said.err.count("\ntrial ") == 4
    best = json.loads((folder / "trials.json").read_text())["best"]["number"]
    assert "mf: 4 trials in " in said.out
    assert re.findall(r"\d best ", said.out) == [f"{best} best "]
    assert f"fit with: attlas fit {folder / 'best.toml'} --out RUN" in said.out


def test_the_folder_holds_the_best_settings_and_every_trial(tuned: tuple[Path, Any]) -> None:
    folder, _ = tuned
    found = json.loads((folder / "trials.json").read_text())
    best = max((one for one in found["tried"] if one["state"] == "complete"), key=lambda one: one["value"])
    assert found["best"] == best
    assert found["metric"] == "ndcg@10"
    assert [one["number"] for one in found["tried"]] == [0, 1, 2, 3]
    written = tomllib.loads((folder / "best.toml").read_text())
    assert {f"solver.{name}": value for name, value in written["solver"].items()} == best["settings"]
    assert written["model"]["embedding_dim"] == 8
    assert written["training"]["epochs"] == best["epoch"]
    assert written["training"]["chosen"] is True


def test_the_next_command_works_and_finds_the_same_value(tuned: tuple[Path, Any], command: Callable) -> None:
    folder, _ = tuned
    card = command("fit", folder / "best.toml", "--json").json
    assert card["training"]["valid"]["value"] == json.loads((folder / "trials.json").read_text())["best"]["value"]


def test_it_goes_on_with_more_trials_and_answers_in_json(tuned: tuple[Path, Any], command: Callable) -> None:
    folder, _ = tuned
    before = json.loads((folder / "trials.json").read_text())
    said = command("tune", "--resume", folder, "--trials", "5", "--json")
    assert said.json["out"] == str(folder)
    assert said.json["tried"][:4] == before["tried"]
    assert len(said.json["tried"]) == 5
    assert command("tune", "--resume", folder, "--json").json == said.json  # the budget is noted


MISTAKES = {
    "no folder": ("tune --data {csv} --model ease", "nowhere to keep the trials; name a folder: --out"),
    "no model": ("tune --data {csv} --out {new}", "no model was named; give --model NAME"),
    "a folder in use": ("tune --data {csv} --model ease --out {files}", "is not empty; choose another --out, or delete it"),
    "a folder with a search": (
        "tune --data {csv} --model ease --out {tuned}",
        "holds a search; go on with: attlas tune --resume",
    ),
    "resume where nothing is": ("tune --resume {new}", "holds no search to resume; begin one with: attlas tune --data FILE"),
    "resume with settings": ("tune --resume {tuned} --epochs 3", "--resume takes the settings noted there; only --trials"),
    "no duration": (
        "tune --data {csv} --model ease --out {new} --budget soon",
        "'soon' is no duration; write for",
    ),
    "no validation part": (
        "tune --data {csv} --model ease --out {new} --validation none",
        "came without a validation part, and settings are never chosen on the test part",
    ),
    "an unknown setting": ("tune --data {csv} --model ease --out {new} --set model.l3=1", r"\[model\] has no setting 'l3'"),
    "a storage that is none": (
        "tune --data {csv} --model ease --out {new} --storage here",
        "'here' is no address",
    ),
    "too little memory": ("tune --data {csv} --model ease --out {new} --memory 1KB", "EASE on .* needs"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_code_2(
    mistake: str, tuned: tuple[Path, Any], club_files: Path, command: Callable, tmp_path: Path
) -> None:
    words, message = MISTAKES[mistake]
    places = {"csv": club_files / "ratings.csv", "new": tmp_path / "new", "files": club_files, "tuned": tuned[0]}
    said = command(*(word.format(**places) for word in words.split()))
    assert said.code == 2
    assert re.search(message, said.err.splitlines()[-1])


def test_the_command_never_looks_at_the_test_part(
    club: Any, club_files: Path, command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Poisoned] = []

    def poisoned(*given: Any) -> tuple[Poisoned, list[str]]:
        read.append(Poisoned.of(attlas.split(club.interactions)))
        return read[-1], []

    monkeypatch.setattr(tuning, "load_split", poisoned)
    said = command("tune", "--data", club_files / "ratings.csv", *WORDS, "--trials", "2", "--out", tmp_path / "mf")
    assert said.code == 0, said.err
    assert len(read) == 1
    with pytest.raises(Looked):
        read[0].test  # noqa: B018


def test_ctrl_c_says_how_to_go_on_and_that_works(club_files: Path, command: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "mf"
    words = ["tune", "--data", str(club_files / "ratings.csv"), *WORDS, "--trials", "500", "--out", str(folder)]
    with subprocess.Popen([sys.executable, "-m", "attlas", *words], stderr=subprocess.PIPE, text=True) as made:
        assert made.stderr
        for line in made.stderr:
            if line.startswith("trial 1 of"):
                break
        made.send_signal(signal.SIGINT)
        said = made.stderr.read()
        assert made.wait(30) == 130
    assert said.splitlines()[-1] == f"attlas: stopped; finished trials are kept; go on with: attlas tune --resume {folder}"
    again = command("tune", "--resume", folder, "--trials", "2", "--json")
    assert again.code == 0, again.err
    assert len(again.json["tried"]) >= 2


def test_a_limit_of_time_ends_it(club_files: Path, command: Callable, tmp_path: Path) -> None:
    began = time.monotonic()
    words = ["--data", club_files / "ratings.csv", "--model", "ease", "--trials", "100000", "--budget", "1s"]
    said = command("tune", *words, "--out", tmp_path / "ease", "--json")
    assert said.code == 0, said.err
    assert 1 <= len(said.json["tried"]) < 1000
    assert time.monotonic() - began < 30


def test_from_python_it_needs_no_folder(club: Any) -> None:
    found = attlas.tune(club.interactions, "ease", config={"l2": 50.0}, trials=3)
    assert found.tried[0].settings == {"model.l2": 50.0}
    assert len(found.tried) == 3
    fitted = attlas.fit(club.interactions, "ease", config={"l2": found.best.settings["model.l2"]})
    assert fitted.card["training"]["valid"]["value"] == found.best.value


def test_from_python_the_same_call_goes_on_in_its_folder(club: Any, tmp_path: Path) -> None:
    first = attlas.tune(club.interactions, "ease", trials=2, out=tmp_path / "ease")
    assert attlas.tune(club.interactions, "ease", trials=3, out=tmp_path / "ease").tried[:2] == first.tried
    with pytest.raises(ArtefactError, match="holds another search: its experiment differs"):
        attlas.tune(club.interactions, "ease", config={"l2": 50.0}, out=tmp_path / "ease")


def test_the_public_name_stays_a_function_whatever_was_imported_before() -> None:
    code = "import attlas.search.search, attlas; assert callable(attlas.tune); print(attlas.tune.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "attlas.search.tuning\n"


@pytest.mark.parametrize("word", ["plain", 'quo"te', "back\\slash", "tab\tand\nline", "é 𝄞", "\x7f\x01", ""])
def test_words_survive_toml(word: str) -> None:
    assert tomllib.loads(to_toml({"data": {"source": word}})) == {"data": {"source": word}}


def test_numbers_lists_and_booleans_survive_toml_and_none_is_left_out() -> None:
    table = {"a": 1, "b": 1e-7, "c": 0.1 + 0.2, "d": True, "e": [64, 32], "f": ["x", "y"], "g": 1e22, "h": -0.0}
    assert tomllib.loads(to_toml({"model": {**table, "none": None}, "empty": {}})) == {"model": table, "empty": {}}


def test_an_experiment_survives_toml() -> None:
    tables = {"model": {"name": "delf", "layers": [8, 4]}, "solver": {"learning_rate": 0.01}, "data": {"min_user": 2}}
    written = Experiment.of(tables).to_dict()
    assert Experiment.of(tomllib.loads(to_toml(written))).to_dict() == written
