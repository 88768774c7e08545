"""A comparison from a table to its files: who takes part, what is kept, and that a kill changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attlas
from attlas.comparing.cell import run_cell
from attlas.comparing.compare import recall_plan, run_plan
from attlas.comparing.plan import LADDER, Plan
from attlas.data.simulate import simulate
from attlas.errors import ArtefactError, ConfigError, MissingExtra
from attlas.evaluation.comparison import Comparison
from attlas.experiment import Experiment
from attlas.search.locks import claim
from attlas.telling import Teller

TABLES: dict[str, Any] = {
    "compare": {"models": (), "without": ("slim", "ials", "itemknn"), "trials": 3, "seeds": 2, "epochs": 4},
}
TIMES = {"seconds", "search_seconds", "fit_seconds"}


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("club") / "ratings.csv"
    simulate(120, 60, seed=3).interactions.to_frame().write_csv(path)
    return path


@pytest.fixture(scope="module")
def found(ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    folder = tmp_path_factory.mktemp("compared") / "club"
    return run_plan(Plan.of({**TABLES, "data": {"source": str(ratings)}}), out=folder), folder


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in TIMES and "seconds" not in name}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def test_every_model_stands_there_with_its_trials_and_seeds(found: tuple[Comparison, Path]) -> None:
    comparison, _ = found
    seen = {each.name: (len(each.tried), each.seeds) for each in comparison.contenders}
    assert seen == {"popularity": (1, (1,)), "ease": (3, (1,)), "mf": (3, (1, 2))}
    assert len(comparison.pairs) == 3


def test_the_winner_is_whom_validation_chose_and_its_run_answers(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    assert comparison.winner == max(comparison.contenders, key=lambda each: each.valid["value"]).name
    winner = attlas.load(folder / "winner")
    assert winner.card["model"]["name"] == comparison.winner
    assert len(winner.recommend(["m1"], k=5)) == 5


def test_the_runs_were_fitted_on_training_and_validation_with_the_settings_that_won(found: tuple[Comparison, Path]) -> None:
    comparison, _ = found
    mf = next(each for each in comparison.contenders if each.name == "mf")
    run = attlas.load(mf.run)
    assert len(run.inputs.train) == comparison.data["train"] + comparison.data["valid"]
    assert run.card["training"]["epochs"] == mf.valid["epoch"]
    best = max((each for each in mf.tried if each["state"] == "complete"), key=lambda each: each["value"])
    assert best["value"] == mf.valid["value"]
    assert mf.experiment["model"] | {key.partition(".")[2]: value for key, value in best["settings"].items() if
            key.startswith("model.")} == mf.experiment["model"]  # fmt: skip


def test_what_is_reported_is_what_the_kept_run_reaches(found: tuple[Comparison, Path]) -> None:
    comparison, _ = found
    ease = next(each for each in comparison.contenders if each.name == "ease")
    noted = attlas.load(ease.run).card["reports"][0]["means"]["ndcg@10"]
    assert ease.pooled("full").mean("ndcg@10") == noted


def test_a_second_call_does_nothing_again_and_says_the_same(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*.safetensors")}
    again = run_plan(recall_plan(folder), out=folder)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*.safetensors")} == before
    for one, other in zip(comparison.contenders, again.contenders, strict=True):
        np.testing.assert_array_equal(one.values("full", "ndcg@10"), other.values("full", "ndcg@10"))


def test_other_settings_or_data_are_refused_in_the_same_folder(found: tuple[Comparison, Path], ratings: Path) -> None:
    _, folder = found
    plan = Plan.of({"data": {"source": str(ratings)}, "compare": {**TABLES["compare"], "trials": 4}})
    with pytest.raises(ArtefactError, match="with other settings; go on with it: attlas compare --resume"):
        run_plan(plan, out=folder)
    with pytest.raises(ArtefactError, match="not those that the comparison"):
        run_plan(recall_plan(folder), out=folder, data=simulate(120, 60, seed=4).interactions)


def test_a_comparison_that_an_earlier_version_began_goes_on(found: tuple[Comparison, Path], tmp_path: Path) -> None:
    """Its plan does not know settings that came since; they stand at what they were."""
    shutil.copytree(found[1], tmp_path / "club")
    noted = json.loads((tmp_path / "club/plan.json").read_text())
    del noted["plan"]["compare"]["objective"]
    (tmp_path / "club/plan.json").write_text(json.dumps(noted))
    again = run_plan(recall_plan(tmp_path / "club"), out=tmp_path / "club")
    assert [each.name for each in again.contenders] == [each.name for each in found[0].contenders]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, ratings: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtefactError, match="not empty and holds no comparison"):
        run_plan(Plan.of({**TABLES, "data": {"source": str(ratings)}}), out=tmp_path)


def test_what_was_found_to_fit_is_not_refused_when_memory_is_short_later(
    found: tuple[Comparison, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, folder = found
    monkeypatch.setattr("attlas.memory.available_bytes", lambda device: 1)
    again = run_plan(recall_plan(folder), out=folder)
    assert [each.name for each in again.contenders] == [each.name for each in comparison.contenders]


def test_a_missing_library_is_not_noted_as_the_models_fault(
    ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*args: Any, **options: Any) -> None:
        raise MissingExtra("searching needs optuna")

    monkeypatch.setattr("attlas.comparing.compare.run_cell", missing)
    with pytest.raises(MissingExtra):
        run_plan(Plan.of({**TABLES, "data": {"source": str(ratings)}}), out=tmp_path / "club")
    assert not list(tmp_path.glob("club/*/skipped.json"))


def test_other_validation_rows_or_candidates_are_other_data(tmp_path: Path) -> None:
    data = simulate(60, 40, seed=3).interactions
    made = attlas.split(data, "user-ratio")
    plan = Plan.of({"compare": {**TABLES["compare"], "without": ("slim", "ials", "itemknn", "mf", "ease")}})
    run_plan(plan, data=made, out=tmp_path / "club")
    changed = [replace(made, valid=made.valid.take(np.arange(5))), replace(made, candidates=np.zeros((len(made.test), 3), int))]
    for other in changed:
        with pytest.raises(ArtefactError, match="not those that the comparison"):
            run_plan(plan, data=other, out=tmp_path / "club")


def test_a_folder_that_another_process_works_on_is_refused(found: tuple[Comparison, Path]) -> None:
    _, folder = found
    lock = claim(folder / ".lock")
    assert lock
    with lock, pytest.raises(ArtefactError, match="another process works on"):
        run_plan(recall_plan(folder), out=folder)


def test_a_first_run_that_was_deleted_is_made_anew(ratings: Path, tmp_path: Path) -> None:
    plan = Plan.of({**TABLES, "data": {"source": str(ratings)}, "compare": {**TABLES["compare"], "without": ("slim", "mf")}})
    one = run_plan(plan, out=tmp_path / "club")
    shutil.rmtree(tmp_path / "club" / "ease" / "run")
    other = run_plan(plan, out=tmp_path / "club")
    for made, again in zip(one.contenders, other.contenders, strict=True):
        np.testing.assert_array_equal(made.values("full", "ndcg@10"), again.values("full", "ndcg@10"))
    assert (tmp_path / "club" / "ease" / "run" / "run.json").is_file()


@pytest.mark.parametrize("metric", ["ndcg@50", "auc"])
def test_any_metric_may_lead(metric: str, ratings: Path, tmp_path: Path) -> None:
    config = {**TABLES["compare"], "without": ("slim", "ials", "itemknn", "mf"), "metric": metric, "trials": 1, "k": (5,)}
    comparison = run_plan(Plan.of({"data": {"source": str(ratings)}, "compare": config}), out=tmp_path / "club")
    assert comparison.pairs[0].metric == metric
    assert (tmp_path / "club" / "report.html").is_file()


def test_without_validation_nothing_can_be_chosen(tmp_path: Path, ratings: Path) -> None:
    plan = Plan.of({**TABLES, "data": {"source": str(ratings), "validation": "none"}})
    with pytest.raises(ConfigError, match="without a validation part"):
        run_plan(plan, out=tmp_path / "club")


def test_what_does_not_fit_is_skipped_by_name_with_the_figure(tmp_path: Path, ratings: Path) -> None:
    tables = {"data": {"source": str(ratings)}, "compare": {**TABLES["compare"], "memory": "20kB"}}
    comparison = run_plan(Plan.of(tables), out=tmp_path / "club")
    assert [each.name for each in comparison.skipped] == ["ease"]
    assert "needs 0.0432 MB" in comparison.skipped[0].reason
    again = run_plan(Plan.of(tables), out=tmp_path / "club")
    assert again.skipped == comparison.skipped


def test_one_command_without_settings_holds_delf_against_the_ladder_within_its_budget_and_goes_on(
    tmp_path: Path, ratings: Path, command: Callable[..., Any]
) -> None:
    folder = tmp_path / "club"
    budget = ["--budget", "4s", "--trials", "1000", "--seeds", "1"]
    said = command("compare", "--data", ratings, *budget, "--out", folder, "--json")
    assert said.code == 0, said.err
    found = said.json
    assert sorted(each["name"] for each in found["contenders"] + found["skipped"]) == sorted((*LADDER, "delf"))
    assert all(0 < len(each["trials"]) < 1000 for each in found["contenders"])
    assert {"report.html", "comparison.json", "table.md", "table.tex"} <= {path.name for path in folder.iterdir()}
    assert attlas.load(folder / "winner").card["model"]["name"] == found["winner"]
    again = command("compare", "--resume", folder, "--json")
    assert again.code == 0, again.err
    assert without_times(again.json["contenders"]) == without_times(found["contenders"])
    told = command("compare", "--resume", folder, "--trials", "3")
    assert (told.code, told.err) == (2, "attlas: --resume takes the settings noted in the comparison; give it alone\n")


def test_a_comparison_of_nothing_says_what_to_give(command: Callable[..., Any]) -> None:
    said = command("compare")
    assert (said.code, said.err) == (2, "attlas: nothing to compare on; give --data ratings.csv, or a TOML file\n")


def test_seeds_that_time_did_not_allow_are_not_fitted_by_a_later_call(tmp_path: Path) -> None:
    split = attlas.split(simulate(120, 60, seed=3).interactions)
    experiment = Experiment.of({"model": {"name": "mf", "embedding_dim": 4}, "training": {"epochs": 2, "refit": True}})
    how: dict[str, Any] = {"folder": tmp_path / "mf", "trials": 1, "seeds": 3, "name": "mf", "tell": Teller()}
    first = run_cell(experiment, split, seconds=1e-6, **how)
    again = run_cell(experiment, split, seconds=1e6, **how)
    assert (first.seeds, again.seeds) == ((1,), (1,))


def test_fits_that_are_there_are_kept_whatever_time_is_left(tmp_path: Path) -> None:
    split = attlas.split(simulate(120, 60, seed=3).interactions)
    experiment = Experiment.of({"model": {"name": "mf", "embedding_dim": 4}, "training": {"epochs": 2, "refit": True}})
    how: dict[str, Any] = {"folder": tmp_path / "mf", "trials": 1, "name": "mf", "tell": Teller()}
    run_cell(experiment, split, seconds=None, seeds=2, **how)
    assert run_cell(experiment, split, seconds=1e-6, seeds=3, **how).seeds == (1, 2)


def test_killed_three_times_it_ends_with_the_same_table(found: tuple[Comparison, Path], ratings: Path, tmp_path: Path) -> None:
    _, finished = found
    folder = tmp_path / "club"
    words = [sys.executable, "-m", "attlas", "compare", str(_toml(ratings, tmp_path)), "--out", str(folder)]
    for event in ("mf/search/study.db", "mf/seed-1.safetensors", "winner"):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and not (folder / event).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (folder / event).exists()
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    one, other = (json.loads((each / "comparison.json").read_text()) for each in (finished, folder))
    for made in (one, other):
        for contender in made["contenders"]:
            contender.pop("run", None)
    assert without_times(one) == without_times(other)


def _toml(ratings: Path, folder: Path) -> Path:
    path = folder / "compare.toml"
    path.write_text(
        f'[data]\nsource = "{ratings}"\n[compare]\nmodels = []\nwithout = ["slim", "ials", "itemknn"]\n'
        "trials = 3\nseeds = 2\nepochs = 4\n"
    )
    return path
