"""A comparison on labelled rows, from a table to its files; and a search and a final fit on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import attlas
from attlas.auditing.audit import audit
from attlas.comparing.compare import recall_plan, run_plan
from attlas.comparing.plan import READERS, Plan
from attlas.comparing.tables import rows, sentences
from attlas.data.labelled import Layout, read_examples
from attlas.errors import ConfigError
from attlas.evaluation.comparison import Comparison
from attlas.evaluation.keeping import write_reports
from attlas.evaluation.metrics import label_auc, logloss
from attlas.experiment import Experiment
from attlas.final import fit_final
from attlas.loading import load_split
from attlas.runner import run
from attlas.search.tuning import tune_experiment

SMALL = {"model": {"name": "fm", "embedding_dim": 4, "stddev": 0.1}, "solver": {"batch_size": 128, "learning_rate": 0.05}}


def table(count: int = 900) -> pl.DataFrame:
    """Odd hours are for odd items, mostly, whoever asks: only a pair of fields tells."""
    rng = np.random.default_rng(5)
    user, item, hour = (rng.integers(0, size, count) for size in (12, 10, 4))
    fits = (item % 2 == hour % 2) ^ (rng.random(count) < 0.05)
    return pl.DataFrame({"user": user, "item": item, "hour": hour, "label": fits.astype(int)})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    table().write_csv(path)
    return path


def plan_of(file: Path, **compare: Any) -> Plan:
    settings = {"models": (), "without": ("linear", "fm"), "trials": 1, "seeds": 2, "epochs": 3, **compare}
    return Plan.of({"data": {"source": str(file), "label": "label"}, "compare": settings, "contenders": {"small": SMALL}})


@pytest.fixture(scope="module")
def found(file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    folder = tmp_path_factory.mktemp("compared") / "rows"
    return run_plan(plan_of(file), out=folder), folder


def test_the_ladder_is_the_mean_the_items_the_fields_and_fm(file: Path) -> None:
    plan = Plan.of({"data": {"source": str(file), "label": "label"}})
    made = plan.entrants(has_candidates=False)
    assert [each.name for each in made] == [*READERS, "nfm", "deepfm", "afm"]
    assert [each.name for each in made if each.is_baseline] == ["mean", "item-rates", "linear", "fm"]
    assert {(each.experiment.task, each.experiment.metric) for each in made} == {("label", "logloss")}
    assert made[1].fixed == ("model.reads",)
    with pytest.raises(ConfigError, match="delf does not read feature fields"):
        plan_of(file, models=("delf",))


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ({}, ("label", "logloss")),
        ({"metric": "auc"}, ("label", "auc")),
        ({"objective": "squared"}, ("target", "rmse")),
        ({"objective": "squared", "metric": "auc"}, ("target", "auc")),
    ],
)
def test_the_objective_decides_what_is_measured_for_all(file: Path, compare: Any, expected: tuple[str, str]) -> None:
    plan = plan_of(file, **compare)
    assert (plan.task, plan.metric) == expected
    assert {(each.experiment.task, each.experiment.metric) for each in plan.entrants(has_candidates=False)} == {expected}


def test_numbers_of_two_objectives_never_share_a_table(file: Path) -> None:
    tables = {"data": {"source": str(file), "label": "label"}, "compare": {"models": ()}}
    squared = {"model": {"name": "fm"}, "solver": {"objective": "squared"}}
    with pytest.raises(ConfigError, match="odd is measured as 'target' and the others as 'label', which do not compare"):
        Plan.of({**tables, "contenders": {"odd": squared}})
    with pytest.raises(ConfigError, match="'rmse' is not known for label"):
        plan_of(file, metric="rmse")
    with pytest.raises(ConfigError, match="objective is for labelled rows"):
        Plan.of({"compare": {"objective": "squared"}})
    with pytest.raises(ConfigError, match="ease does not read feature fields"):
        plan_of(file, models=("ease",))


def test_files_that_are_labelled_rows_by_themselves_need_no_column(tmp_path: Path) -> None:
    (tmp_path / "rows.libfm").write_text("1 0:1 4:1\n-1 1:1 5:1\n")
    plan = Plan.of({"data": {"source": str(tmp_path / "rows.libfm")}})
    assert (plan.data.label, plan.task) == ("label", "label")


def test_every_model_stands_there_with_its_seeds_and_every_pair_once(found: tuple[Comparison, Path]) -> None:
    comparison, _ = found
    assert {each.name: each.seeds for each in comparison.contenders} == dict.fromkeys(("mean", "item-rates", "small"), (1, 2))
    assert len(comparison.pairs) == 3
    assert comparison.protocols == ("label",)
    assert comparison.winner == min(comparison.contenders, key=lambda each: each.valid["value"]).name


def test_the_numbers_are_those_of_the_runs_on_the_test_part(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    test = load_split(recall_plan(folder).data)[0].test
    for each in comparison.contenders:
        score = attlas.load(folder / each.name / "run").scorer.score_rows(test)
        report = each.reports[0]["label"]
        assert report.mean("logloss") == pytest.approx(logloss(test.label, score))
        assert report.mean("auc") == pytest.approx(label_auc(test.label, score))


def test_the_lowest_logloss_stands_first_with_the_auc_beside_it(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    lines = rows(comparison, "label")
    assert [line["model"] for line in lines] == [each.name for each in comparison.ranked]
    assert lines[0]["model"] == "small"
    losses = [float(line["logloss"].split()[0]) for line in lines]
    assert losses == sorted(losses)
    assert max(lines, key=lambda line: line["AUC"])["model"] == "small"
    assert "small is better than mean" in " ".join(sentences(comparison))
    assert f"**{losses[0]:.4f}**" in (folder / "table.md").read_text()
    assert rf"\textbf{{{losses[0]:.4f}}}" in (folder / "table.tex").read_text()
    assert json.loads((folder / "comparison.json").read_text())["protocols"] == ["label"]


def test_the_page_is_about_rows(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    page = (folder / "report.html").read_text()
    rows_tested = comparison.data["test"]
    assert "Which model predicts best?" in page
    assert "small predicts best with logloss" in page
    assert "The label of every held-out row is predicted, as a logit." in page
    assert f"{rows_tested:,} rows of 12 users." in page
    assert "row better than column" in page
    assert "remembered-pairs" in page


def test_stopped_between_two_seeds_it_goes_on_and_says_the_same(
    found: tuple[Comparison, Path], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Path] = []

    def stop_at_the_second(path: Path, *what: Any) -> None:
        if kept:
            raise KeyboardInterrupt
        kept.append(path)
        write_reports(path, *what)

    monkeypatch.setattr("attlas.comparing.cell.write_reports", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan_of(file), out=tmp_path / "rows")
    monkeypatch.undo()
    written = kept[0].stat().st_mtime_ns
    again = run_plan(recall_plan(tmp_path / "rows"), out=tmp_path / "rows")
    assert kept[0].stat().st_mtime_ns == written
    assert [pair.sentence() for pair in again.pairs] == [pair.sentence() for pair in found[0].pairs]
    assert again.winner == found[0].winner


def test_a_second_call_does_nothing_again(found: tuple[Comparison, Path]) -> None:
    comparison, folder = found
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*.safetensors")}
    again = run_plan(recall_plan(folder), out=folder)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/seed-*.safetensors")} == before
    assert sentences(again) == sentences(comparison)


def test_the_winners_run_is_audited_trained_anew_on_all_rows_and_answers(found: tuple[Comparison, Path], file: Path) -> None:
    _, folder = found
    audited = audit(folder / "winner")
    assert {"best-field", "contradictory-labels"} <= {finding.code for finding in audited.findings}  # 5 % are noise
    assert not audited.reaches("error")
    final = fit_final(folder / "winner", out=folder.with_name("final"))
    everything = read_examples(file, Layout(label="label"))
    assert final.card["data"]["train_rows"] == len(everything) == 900
    assert final.inputs.data.fingerprint == everything.fingerprint
    assert final.card["final"]["of"] == str(folder / "winner")
    assert len(final.recommend([3], k=2, context={"hour": 1}, exclude_seen=False)) == 2


def test_a_final_fit_knows_what_only_the_test_file_had(tmp_path: Path) -> None:
    parts = {"train": "1 0:1 9:1\n0 1:1 9:1\n" * 20, "valid": "1 0:1 9:1\n0 1:1 9:1\n", "test": "1 7:1 9:1\n0 0:1 9:1\n"}
    for name, text in parts.items():
        (tmp_path / f"{name}.libfm").write_text(text)
    run(Experiment.of({"data": {"source": str(tmp_path)}, **SMALL, "training": {"epochs": 1}}), out=tmp_path / "run")
    test = load_split(Experiment.of({"data": {"source": str(tmp_path)}, **SMALL}).data)[0].test
    assert (test.index == test.features.unknown).any(axis=1).tolist() == [True, False]
    rows_of_final = fit_final(tmp_path / "run").inputs.data
    assert len(rows_of_final) == 44
    assert not (rows_of_final.index == rows_of_final.features.unknown).any()


@pytest.mark.parametrize(("objective", "metric"), [("logistic", "auc"), ("logistic", "logloss"), ("squared", "rmse")])
def test_a_search_chooses_by_the_metric_of_the_rows(file: Path, tmp_path: Path, objective: str, metric: str) -> None:
    tables = {"data": {"source": str(file), "label": "label"}, "training": {"epochs": 2, "metric": metric}}
    experiment = Experiment.of({**tables, **SMALL, "solver": {**SMALL["solver"], "objective": objective}})
    found = tune_experiment(experiment, tmp_path / "tuned", budget=_budget(2))
    complete = [each.value for each in found.tried if each.state == "complete"]
    assert found.best.value == (max if metric == "auc" else min)(complete)
    assert (tmp_path / "tuned" / "best.toml").is_file()


def test_the_command_line_takes_the_column_of_labels(file: Path, tmp_path: Path, command: Any) -> None:
    words = ["--data", file, "--label", "label", "--objective", "squared", "--model", "linear", "--without", "fm"]
    words += ["--without", "linear", "--without", "item-rates", "--without", "mean"]
    said = command("compare", *words, "--trials", "1", "--seeds", "1", "--out", tmp_path / "one", "--json")
    assert said.code == 0, said.err
    assert (said.json["protocols"], said.json["metric"]) == (["target"], "rmse")
    assert [each["name"] for each in said.json["contenders"]] == ["linear"]


def _budget(trials: int) -> Any:
    from attlas.search.note import Budget

    return Budget(trials, None, 1)
