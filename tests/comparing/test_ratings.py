"""A comparison of models of ratings: who takes part, what is written, and who is told apart from whom."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attlas.comparing.compare import recall_plan, run_plan
from attlas.comparing.plan import Plan
from attlas.comparing.tables import rows, sentences
from attlas.data.interactions import Interactions
from attlas.evaluation.comparison import Comparison
from attlas.evaluation.metrics import rmse
from attlas.loading import load_split
from attlas.recommender import load

TABLES: dict[str, Any] = {
    "data": {"split": "global-ratio"},
    "compare": {"models": (), "trials": 2, "seeds": 2, "epochs": 4},
    "contenders": {"small": {"model": {"name": "biased_mf", "embedding_dim": 2}}},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Ratings that are the sum of what the user gives, what the item gets, and noise."""
    draw = np.random.default_rng(1)
    user, item = (index.ravel() for index in np.meshgrid(np.arange(40), np.arange(20), indexing="ij"))
    rating = (3 + draw.normal(0, 0.7, 40)[user] + draw.normal(0, 0.7, 20)[item] + draw.normal(0, 0.3, 800)).round(1)
    path = tmp_path_factory.mktemp("club") / "ratings.csv"
    Interactions.of(user.tolist(), item.tolist(), rating=rating).to_frame().write_csv(path)
    return Plan.of({**TABLES, "data": {**TABLES["data"], "source": str(path)}})


@pytest.fixture(scope="module")
def found(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    folder = tmp_path_factory.mktemp("compared") / "club"
    return run_plan(plan, out=folder), folder


def test_every_model_stands_there_with_its_trials_and_seeds(found: tuple[Comparison, Path]) -> None:
    seen = {each.name: (each.is_baseline, len(each.tried), each.seeds) for each in found[0].contenders}
    assert seen == {"biases": (True, 2, (1, 2)), "biased_mf": (True, 2, (1, 2)), "small": (False, 2, (1, 2))}
    assert {each.experiment["model"]["embedding_dim"] for each in found[0].contenders if each.name == "biases"} == {0}


def test_the_errors_are_those_of_the_runs_on_the_test_part(plan: Plan, found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    test = load_split(plan.data)[0].test
    for each in comparison.contenders:
        predicted = load(folder / each.name / "run").scorer.score_rows(test)
        assert each.reports[0]["rating"].mean("rmse") == pytest.approx(rmse(test.rating, predicted), abs=1e-6)


def test_the_winner_is_whom_validation_chose_and_its_run_is_kept(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    assert comparison.winner == min(comparison.contenders, key=lambda each: each.valid["value"]).name
    model = next(each.model for each in comparison.contenders if each.name == comparison.winner)
    assert load(folder / "winner").card["model"]["name"] == model


def test_the_lowest_error_stands_first_and_bold_in_every_table(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    table = rows(comparison, "rating")
    assert [line["model"] for line in table] == [each.name for each in comparison.ranked]
    errors = [float(line["RMSE"].split()[0]) for line in table]
    assert errors == sorted(errors)
    assert json.loads((folder / "comparison.json").read_text())["ranked"] == [line["model"] for line in table]
    name = table[0]["model"].replace("_", r"\_")
    for file, start in (("table.md", f"| {name}"), ("table.tex", f"    {name}"), ("table.tex", rf"    \textit{{{name}}}")):
        first = [line for line in (folder / file).read_text().splitlines() if line.startswith(start)]
        assert all("**" in line or r"\textbf" in line for line in first)
    assert f"**{errors[0]:.4f}**" in (folder / "table.md").read_text()


def test_every_pair_is_tested_by_the_error(found: tuple[Comparison, Path]) -> None:
    comparison, _ = found
    assert {frozenset((pair.above, pair.below)) for pair in comparison.pairs} == {
        frozenset(names) for names in (("biases", "biased_mf"), ("biases", "small"), ("biased_mf", "small"))
    }
    mean = {each.name: each.pooled("rating").mean("rmse") for each in comparison.contenders}
    assert all(mean[pair.above] <= mean[pair.below] for pair in comparison.pairs)
    assert {pair.metric for pair in comparison.pairs} == {"rmse"}


def test_the_page_asks_who_predicts_best_and_shows_what_the_audit_found(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    page = (folder / "report.html").read_text()
    assert "Which model predicts best?" in page
    assert f"{comparison.ranked[0].name} predicts best with RMSE" in page
    assert "Every held-out rating is predicted." in page
    assert "training rows of the user" in page
    assert "ranked against" not in page
    assert "twin-items" in page  # everybody has rated everything
    assert "twin-items" in {each["code"] for each in comparison.findings}


def test_a_finished_comparison_is_read_again_and_fits_nothing(plan: Plan, found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*.safetensors")}
    again = run_plan(plan, out=folder)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*.safetensors")} == before
    assert sentences(again) == sentences(comparison)


def test_a_comparison_of_ratings_that_an_earlier_version_noted_goes_on(found: tuple[Comparison, Path], tmp_path: Path) -> None:
    """It noted the metric of rankings, which led nothing."""
    shutil.copytree(found[1], tmp_path / "club")
    noted = json.loads((tmp_path / "club/plan.json").read_text())
    assert noted["plan"]["compare"]["metric"] == "rmse"
    noted["plan"]["compare"]["metric"] = "ndcg@10"
    (tmp_path / "club/plan.json").write_text(json.dumps(noted))
    again = run_plan(recall_plan(tmp_path / "club"), out=tmp_path / "club")
    assert sentences(again) == sentences(found[0])


def test_with_a_budget_the_ladder_takes_part_too(plan: Plan, tmp_path: Path) -> None:
    timed = replace(plan, compare=replace(plan.compare, budget="2m", trials=1, seeds=1))
    comparison = run_plan(timed, out=tmp_path / "club")
    assert comparison.skipped == ()
    assert [each.name for each in comparison.contenders] == ["biases", "biased_mf", "small"]


def test_a_model_that_cannot_take_part_is_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "choices.csv"
    path.write_text("user,item\n" + "".join(f"u{n % 5},i{n // 5}\n" for n in range(40)))
    plan = Plan.of({"data": {"source": str(path), "split": "global-ratio"}, "compare": {"models": ("aimf",), "trials": 1}})
    with pytest.raises(Exception, match="no model was left to compare: biased_mf learns from ratings"):
        run_plan(plan, out=tmp_path / "compared")
