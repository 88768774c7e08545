"""The cells of the results page, and the page that is made of them."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attlas.data.inputs import Sizes
from attlas.errors import ConfigError, TooLarge
from attlas.evaluation.comparison import Contender
from attlas.evaluation.report import Report
from attlas.models import MODELS, model_class, stem_of
from attlas.search.space import space_of
from attlas.spaces import Choice, Span
from attlas.training.solvers import make_solver

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
quality: Any = importlib.import_module("quality")
quality_cell: Any = importlib.import_module("quality_cell")
results_page: Any = importlib.import_module("results_page")
results_beside: Any = importlib.import_module("results_beside")

TABLES: dict[str, Any] = {
    "title": "A club",
    "place": 1,
    "data": {"source": "given", "validation": "leave-last-out"},
    "compare": {"models": ["ease", "popularity"], "trials": 20, "seeds": 3, "minutes": 20},
    "training": {"metric": "ndcg@10"},
    "evaluation": {"protocol": ["ncf", "full"], "k": [10]},
    "page": {"metrics": ["hr@10", "ndcg@10"]},
    "published": {"ease": {"hr@10": 0.5, "ndcg@10": 0.2, "from": "Somebody 2020", "page": "ease.md"}},
    "settings": {"ease": {"model.l2": 100.0, "from": "Somebody 2020"}},
}


def report_of(protocol: str, *values: float) -> Report:
    per_user = {"hr@10": np.array(values), "ndcg@10": np.array(values) / 2}
    return Report(protocol, "given", "test", (10,), np.arange(len(values)), per_user, 0, 0, 0.0, (3, 3))


def contender(*, l2s: tuple[float, ...] = (500.0, 100.0)) -> Contender:
    tried = [
        {"number": number, "settings": {"model.l2": l2}, "value": 0.1, "epoch": 1, "seconds": 1.0, "state": "complete"}
        for number, l2 in enumerate(l2s)
    ]
    return Contender(
        name="ease",
        model="ease",
        is_baseline=True,
        experiment={"model": {"name": "ease", "l2": 500.0}, "solver": {}, "training": {"seed": 1}},
        valid={"metric": "ndcg@10", "value": 0.1, "epoch": 1},
        tried=tuple(tried),
        seeds=(1, 2),
        reports=tuple({code: report_of(code, *values) for code in ("ncf", "full")} for values in ((0.0, 1.0), (0.5, 1.0))),
        curve=(),
        search_seconds=3.21,
        fit_seconds=0.5,
        seconds=4.0,
    )


@pytest.fixture
def cell(tmp_path: Path, given_files: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """EASE on four users, with folders of its own."""
    (tmp_path / "given").symlink_to(given_files)
    monkeypatch.setenv("ATTLAS_DATA", str(tmp_path))
    monkeypatch.setattr(quality_cell, "CELLS", tmp_path / "cells")
    monkeypatch.setattr(quality_cell, "RUNS", tmp_path / "runs")
    return quality.Cell("club", "ease", TABLES)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the comparison's cell was asked for; it answers with a contender, or raises what is put under ``raises``."""
    words: dict[str, Any] = {}

    def run_cell(experiment: Any, split: Any, **options: Any) -> Contender:
        if "raises" in words:
            raise words["raises"]
        words.update(options, experiment=experiment, split=split)
        return contender()

    monkeypatch.setitem(sys.modules, "attlas.comparing", types.ModuleType("attlas.comparing"))
    module = types.ModuleType("attlas.comparing.cell")
    module.run_cell = run_cell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "attlas.comparing.cell", module)
    return words


def test_the_results_page_is_what_the_generator_makes_of_the_cells():
    assert (ROOT / "docs/results.md").read_text() == results_page.make_page(quality.read_sets(), quality.read_cells())


METRICS = "ndcg|hr|recall|rmse|mae|auc|logloss"
SIMULATED = {"docs/papers/fawmf.md"}  # what stands there of true exposures no public data could say


def result_tables(root: Path) -> list[str]:
    """Rows of tables outside the results page that hold figures: under a metric, right behind one, or two behind a model."""
    model = re.compile(rf"\|\s*`?({'|'.join([*MODELS, 'item-?knn', 'most popular'])})\b", re.IGNORECASE)
    named, followed = (re.compile(rf"\b({METRICS})\b{end}", re.IGNORECASE) for end in ("", r"(@\d+)? 0?\.\d{3,4}\b"))
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md")), *sorted((root / "benchmarks").glob("*.md"))]
    aside, found = {root / name for name in (*SIMULATED, "docs/results.md")}, []
    for page in (page for page in pages if page.is_file() and page not in aside):
        head = ""
        for number, line in enumerate(page.read_text().splitlines(), start=1):
            head = (head or line) if line.startswith("|") else ""
            figures = len(re.findall(r"(?<![\d.])0?\.\d{3,4}\b", line)) if head else 0
            is_result = (named.search(head) or followed.search(line)) if figures else None
            if is_result or (figures >= 2 and model.match(line)):
                found.append(f"{page.relative_to(root)}:{number} {line}")
    return found


def test_no_other_page_holds_a_result_table():
    assert result_tables(ROOT) == []


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("| model | ncf |", "| EASE | 0.7182 / 0.4511 |"),
        ("| data | seconds | NDCG@10, ours and theirs |", "| ml-1m-ncf | 0.26 s | `full` 0.0489 (0.0007) |"),
        ("| layers | best on validation |", "| 64 | NDCG@10 0.0376 after 5 |"),
    ],
)
def test_a_result_table_elsewhere_is_found(head: str, row: str, tmp_path: Path):
    (tmp_path / "docs").mkdir()
    rows = [head, "| --- | --- |", row, "| layers | 0.26 s / 0.45 s |", "", "NDCG@10 0.0376 and 0.0412 in a sentence."]
    (tmp_path / "docs/page.md").write_text("\n".join(rows))
    assert result_tables(tmp_path) == [f"docs/page.md:3 {row}"]


def test_a_page_that_names_disturbed_lines_says_that_they_are_void():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text()
        for name in set(re.findall(r"benchmarks/results/\w+\.jsonl", text)):
            lines = [json.loads(line) for line in (ROOT / name).read_text().splitlines()]
            assert "void" in text or not all(line.get("void") for line in lines), f"{page.name}: {name}"


def test_the_pages_of_models_whose_reasons_are_not_what_decides_say_so_and_no_others():
    lines = map(json.loads, results_beside.FAITHFULNESS.read_text().splitlines())
    last = {(line["data"], line["report"]["model"]): line["report"] for line in lines}
    said = "(../results.md#do-explanations-agree-with-what-removing-their-reasons-does)"
    pages = {page.stem for page in (ROOT / "docs/papers").glob("*.md") if said in page.read_text()}
    assert pages == {stem_of(report["model"]) for report in last.values() if not report["agrees"]}


@pytest.mark.parametrize("name", [cell.name for cell in quality.cells_of(quality.read_sets(), [])])
def test_what_is_asked_of_a_cell_fits_its_model(name: str):
    [cell] = quality.cells_of(quality.read_sets(), [name])
    experiment = cell.experiment()
    make_solver(model_class(cell.registered)(Sizes(1, 1), experiment.model_config()), experiment.solver)
    assert experiment.data.source.endswith(cell.tables["data"]["source"])


@pytest.mark.parametrize("model", ["fism", "nais"])
@pytest.mark.parametrize("name", ["ml-1m-ncf", "lastfm-ncf", "amusic-ncf"])
def test_a_search_of_fism_and_nais_begins_with_their_adagrad_and_tries_adam_too(name: str, model: str):
    [cell] = quality.cells_of(quality.read_sets(), [f"{name}/{model}"])
    settings, space = cell.published_settings, space_of(cell.experiment())
    assert (settings["solver.optimizer"], settings["solver.learning_rate"]) == ("adagrad", 0.01)
    assert space["solver.optimizer"] == Choice(("adam", "adagrad"))
    rates = space["solver.learning_rate"]
    assert isinstance(rates, Span)
    assert (rates.low < 0.001, rates.high) == (True, 0.05)


@pytest.mark.parametrize("name", list(quality.read_sets()))
def test_a_set_says_where_its_figures_are_from_or_why_it_was_not_run(name: str):
    tables = quality.read_sets()[name]
    if "compare" not in tables:
        assert tables["not_run"]
        return
    for model, facts in tables.get("published", {}).items():
        assert model in tables["compare"]["models"]
        assert facts["from"]
        assert facts["page"].endswith(tuple("0123456789"))
        assert all(0 < facts[metric] < 1 for metric in tables["page"]["metrics"])
    assert set(tables.get("settings", {})) <= set(tables["compare"]["models"])
    assert not any("this page" in facts["from"] for facts in tables.get("settings", {}).values()), "what is ours is a start"


def test_the_published_settings_are_where_the_search_begins(cell: Any):
    assert cell.experiment().model == {"name": "ease", "l2": 100.0}
    assert cell.published_settings == {"model.l2": 100.0}


def test_an_entry_is_a_model_with_settings_that_are_not_searched(cell: Any, asked: dict[str, Any]):
    entry = {"of": "ease", "model.l2": 7.0}
    named = quality.Cell("club", "ease-7", {**TABLES, "entries": {"ease-7": entry}})
    assert (named.registered, named.fixed) == ("ease", {"model.l2": 7.0})
    assert named.experiment().model == {"name": "ease", "l2": 7.0}
    quality.measure(named)
    assert (asked["fixed"], asked["name"]) == (("model.l2",), "ease-7")
    assert (
        named.depends != quality.Cell("club", "ease-7", {**TABLES, "entries": {"ease-7": {**entry, "model.l2": 8.0}}}).depends
    )
    assert quality.Cell("club", "ease", {**TABLES, "entries": {"ease-7": entry}}).depends == cell.depends


def test_a_search_begins_where_the_set_and_then_the_model_say(cell: Any):
    tables = {**TABLES, "solver": {"name": "descent", "learning_rate": 0.5}, "start": {"mf": {"solver.learning_rate": 0.25}}}
    assert quality.Cell("club", "mf", tables).experiment().solver == {"name": "descent", "learning_rate": 0.25}
    assert quality.Cell("club", "delf", tables).experiment().solver == {"name": "descent", "learning_rate": 0.5}


def test_shares_of_a_set_cut_its_rows(cell: Any, tmp_path: Path):
    lines = [f"{user},{item},1\n" for user in range(20) for item in range(user % 5, user % 5 + 10)]
    (tmp_path / "rows.csv").write_text("user,item,rating\n" + "".join(lines))
    data = {"source": "rows.csv", "split": "global-ratio", "test": 0.2, "valid": 0.08}
    parts = quality.Cell("club", "ease", {**TABLES, "data": data}).split(quality_cell.Teller())
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [144, 16, 40]


def test_shares_are_refused_for_files_that_are_split_already(cell: Any):
    data = {**TABLES["data"], "test": 0.2}
    with pytest.raises(ConfigError, match=r"is split already; leave \[data\] test out of club.toml"):
        quality.Cell("club", "ease", {**TABLES, "data": data}).split(quality_cell.Teller())


def test_a_cell_leaves_its_figures_its_trials_and_what_they_depend_on(cell: Any, asked: dict[str, Any]):
    quality.measure(cell)
    found = json.loads(cell.path.read_text())
    assert found["figures"]["ncf"]["hr@10"]["mean"] == pytest.approx(0.625)  # (0 + 1) / 2 and (0.5 + 1) / 2
    assert found["figures"]["ncf"]["hr@10"]["spread"] == pytest.approx(0.25 / 2**0.5, abs=1e-6)
    assert (found["depends"], found["split"], found["users"], found["seeds"]) == (cell.depends, "given", 2, [1, 2])
    assert [trial["value"] for trial in found["tried"]] == [0.1, 0.1]
    assert (found["published_trial"], found["settings"]["model"]["l2"]) == (1, 500.0)
    assert found["peak_mib"] > 0
    assert found["versions"]["attlas"]


def test_a_cell_gives_most_of_its_minutes_to_the_search(cell: Any, asked: dict[str, Any]):
    quality.measure(cell)
    assert (asked["trials"], asked["seeds"], asked["seconds"], asked["name"]) == (20, 3, 0.85 * 20 * 60, "ease")
    assert len(asked["split"].test) == 4


def test_a_cell_that_is_refused_says_why_with_the_figure(cell: Any, asked: dict[str, Any]):
    asked["raises"] = TooLarge("EASE on 40,000 items needs 25 GB")
    quality.measure(cell)
    assert json.loads(cell.path.read_text())["not_run"] == "EASE on 40,000 items needs 25 GB"


def test_trials_of_a_cell_that_misses_are_measured_on_the_test_part_and_nothing_else_changes(cell: Any, asked: dict[str, Any]):
    quality.measure(cell)
    before = json.loads(cell.path.read_text())
    assert quality.fill_in(cell, quality_cell.Teller(), is_named=False) == "left alone: it misses nothing that was published"
    aim = {"ease": {**TABLES["published"]["ease"], "hr@10": 0.9}}
    missing = quality.Cell("club", "ease", {**TABLES, "published": aim})
    assert missing.depends == cell.depends
    assert quality.fill_in(missing, quality_cell.Teller(), is_named=False) == "trials measured: 2"
    after = json.loads(cell.path.read_text())
    found = [trial.pop("test") for trial in after["tried"]]
    assert after == before
    assert [set(figures) for figures in found] == [{"hr@10", "ndcg@10"}] * 2
    assert [figures["hr@10"] for figures in found] == [1.0, 1.0]  # among three candidates everything is under the first ten
    assert quality.fill_in(missing, quality_cell.Teller(), is_named=False) == "all trials were measured before"


def test_measuring_trials_goes_on_where_it_was_stopped(cell: Any, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    numbers = []

    def stop_at_the_second(cell: Any, trial: Any, split: Any, tell: Any) -> dict[str, float]:
        numbers.append(trial["number"])
        if len(numbers) == 2:
            raise KeyboardInterrupt
        return {"hr@10": 0.5, "ndcg@10": 0.25}

    quality.measure(cell)
    monkeypatch.setattr(quality, "tested", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        quality.fill_in(cell, quality_cell.Teller(), is_named=True)
    assert quality.fill_in(cell, quality_cell.Teller(), is_named=True) == "trials measured: 1"
    assert numbers == [0, 1, 1]


def test_trials_of_a_cell_that_is_asked_for_otherwise_now_are_left_alone(cell: Any, asked: dict[str, Any]):
    quality.measure(cell)
    other = quality.Cell("club", "ease", {**TABLES, "training": {"patience": 3}})
    said = quality.fill_in(other, quality_cell.Teller(), is_named=True)
    assert said == "left alone: not measured as it is asked for now"


def test_no_trial_has_the_published_settings_if_none_was_tried_with_them():
    assert quality.published_trial(contender(l2s=(500.0, 200.0)), {"model.l2": 100.0}) is None
    assert quality.published_trial(contender(l2s=(500.0, 100.0)), {}) is None
    assert quality.published_trial(contender(l2s=(500.0,)), {"model.l2": 500.0, "solver.learning_rate": 0.1}) is None


def test_published_settings_are_found_where_a_trial_does_not_say_them_and_tuples_stand_for_lists():
    won = {"model": {"layers": (128, 64)}, "solver": {"learning_rate": 0.01}, "training": {}}
    tried = ({"number": 4, "settings": {"solver.learning_rate": 0.001}},)
    made = dataclasses.replace(contender(), experiment=won, tried=tried)
    assert quality.published_trial(made, {"model.layers": [128, 64], "solver.learning_rate": 0.001}) == 4
    assert quality.published_trial(made, {"model.layers": [64], "solver.learning_rate": 0.001}) is None


def test_only_what_has_changed_runs_again(cell: Any, asked: dict[str, Any]):
    quality.measure(cell)
    nothing = [sys.executable, "-c", ""]
    assert quality.run(cell, nothing) == "finished before"
    assert quality.run(cell, nothing, again=True) == "measured"
    assert quality.run(quality.Cell("club", "ease", {**TABLES, "training": {"patience": 3}}), nothing) == "measured"
    notes = {**TABLES, "page": {"metrics": ["hr@10"], "notes": "other words"}, "published": {}}
    assert quality.run(quality.Cell("club", "ease", notes), nothing) == "finished before"


def test_other_data_are_another_cell(cell: Any, tmp_path: Path):
    lists = {}
    for name, rows in {"one": "1 2\n", "two": "1 3\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.txt").write_text(rows)
        lists[name] = quality.Cell("club", "ease", {**TABLES, "data": {"source": name}}).depends
    assert lists["one"] != lists["two"]


def test_a_cell_that_exceeds_its_minutes_is_killed_with_its_children_and_says_so(cell: Any, tmp_path: Path):
    hasty = quality.Cell("club", "ease", {**TABLES, "compare": {**TABLES["compare"], "minutes": 0.01}})
    late = tmp_path / "late.txt"
    child = f"import time; time.sleep(1.5); open({str(late)!r}, 'w')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert quality.run(hasty, [sys.executable, "-c", parent]) == "stopped after 0.01 minutes"
    assert json.loads(hasty.path.read_text())["not_run"] == "not done within the 0.01 minutes that a cell has"
    assert quality.run(hasty, ["false"]).startswith("left alone: not done within")
    time.sleep(1.5)
    assert not late.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own means, Linux only")
def test_a_measuring_process_ends_with_the_one_that_started_it(tmp_path: Path):
    ready, late = tmp_path / "ready.txt", tmp_path / "late.txt"
    steps = f"quality.die_with_parent(); open({str(ready)!r}, 'w'); time.sleep(1.5); open({str(late)!r}, 'w')"
    child = f"import sys, time; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import quality; {steps}"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"]
    )
    while not ready.exists() and parent.poll() is None:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    time.sleep(2)
    assert ready.exists()
    assert not late.exists()


def test_a_cell_that_the_system_kills_says_so_and_one_with_a_fault_leaves_no_file(cell: Any):
    assert quality.run(cell, [sys.executable, "-c", "raise SystemExit(3)"]) == "failed with exit code 3"
    assert not cell.path.exists()
    quality.run(cell, [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert "for want of memory" in json.loads(cell.path.read_text())["not_run"]


def test_a_set_whose_data_are_absent_is_left_alone(cell: Any):
    absent = quality.Cell("club", "ease", {**TABLES, "data": {"source": "nowhere"}})
    assert quality.run(absent, ["false"]).endswith("nowhere is not there; put the data where ATTLAS_DATA points")
    assert not absent.path.exists()


def test_cells_are_chosen_by_set_and_by_name_and_an_unknown_one_is_refused():
    sets = {"club": TABLES, "other": TABLES, "absent": {"title": "None", "place": 3, "not_run": "data absent"}}
    chosen = [cell.name for cell in quality.cells_of(sets, ["club/ease", "other"])]
    assert chosen == [
        "club/ease",
        "other/ease",
        "other/popularity",
    ]
    assert len(quality.cells_of(sets, [])) == 4
    with pytest.raises(ConfigError, match="there is no set or cell 'club/eas'; did you mean 'club/ease'"):
        quality.cells_of(sets, ["club/eas"])


@pytest.fixture
def measured(cell: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """The file of a cell: HR@10 0.6250 and NDCG@10 0.3125, spread 0.1768 and 0.0884."""
    quality.measure(cell)
    found: dict[str, Any] = json.loads(cell.path.read_text())
    return found


def page_of(measured: dict[str, Any], **published: Any) -> str:
    tables = {**TABLES, "published": {"ease": {**TABLES["published"]["ease"], **published}}}
    made: str = results_page.make_page({"club": tables}, {"club/ease": measured})
    return made


def test_the_page_says_what_was_published_what_is_ours_and_the_difference(measured: dict[str, Any]):
    page = page_of(measured)
    row = next(line for line in page.splitlines() if line.startswith("| EASE"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == ["0.5000 / 0.2000", "0.6250 ± 0.1768 / 0.3125 ± 0.0884", "+0.1250 / +0.1125"]
    assert cells[4] == "0.6250 ± 0.1768 / 0.3125 ± 0.0884"
    assert cells[5].startswith("3.2 + 0.50")
    assert cells[7] == "[2](../benchmarks/results/quality/club/ease.json)"
    assert "EASE reaches what was published." in page
    assert "- Popularity: not run: not measured yet" in page


def test_a_published_figure_that_is_missed_is_said_in_words_with_the_trials_behind_it(measured: dict[str, Any]):
    page = page_of(measured, **{"ndcg@10": 0.5})
    assert "EASE **misses** NDCG@10 by 0.1875. The best of 2 trials has ndcg@10 0.1000 on validation" in page
    assert "trial 1 has the published settings" in page
    assert "| 1 | model.l2 = 100 | 0.1000 | not measured | complete |" in page


def test_trials_stand_there_with_what_they_reach_on_the_test_part(measured: dict[str, Any]):
    measured["tried"][1]["test"] = {"hr@10": 0.5, "ndcg@10": 0.25}
    measured["tried"].append({"number": 2, "settings": {"model.l2": 9.0}, "value": None, "epoch": 0, "state": "failed"})
    page = page_of(measured, **{"ndcg@10": 0.5})
    assert "| trial | settings | validation ndcg@10 | test HR@10 / NDCG@10 | state |" in page
    assert "| 0 | model.l2 = 500 | 0.1000 | not measured | complete |" in page
    assert "| 1 | model.l2 = 100 | 0.1000 | 0.5000 / 0.2500 | complete |" in page
    assert "| 2 | model.l2 = 9 |  |  | failed |" in page


def of_labels(published: float) -> str:
    """The page of a set of labelled rows on which FM has a logloss of 0.25."""
    figures = {"label": {"logloss": {"mean": 0.25, "spread": 0.01, "by_seed": [0.24, 0.26]}}}
    measured = {"model": "fm", "split": "given", "measured": "9 rows of 3 users", "users": 3, "figures": figures, "tried": []}
    measured |= {"valid": {"metric": "logloss", "value": 0.24}, "search_seconds": 1.0, "fit_seconds": 1.0, "peak_mib": 9}
    measured |= {"machine": "one", "versions": {}}
    tables = {**TABLES, "evaluation": {"protocol": ["label"]}, "page": {"metrics": ["logloss"]}, "settings": {}}
    tables |= {"compare": {**TABLES["compare"], "models": ["fm", "mean"]}, "training": {"metric": "logloss"}}
    tables["published"] = {"fm": {"logloss": published, "from": "Somebody", "page": "fm.md, section 1"}}
    made: str = results_page.make_page({"rows": tables}, {"rows/fm": measured})
    return made


def test_an_error_above_what_was_published_is_a_miss_and_one_below_is_none():
    assert "FM **misses** logloss by 0.0500." in of_labels(0.2)
    assert "FM **misses** logloss by 0.0050, less than our seeds scatter." in of_labels(0.245)
    assert "FM reaches what was published." in of_labels(0.3)
    assert "Split `given`, 9 rows of 3 users. The label of every held-out row is predicted (`label`)." in of_labels(0.3)
    assert "- mean: not run: not measured yet" in of_labels(0.3)


def test_a_miss_within_the_scatter_of_our_seeds_says_so(measured: dict[str, Any]):
    assert "**misses** NDCG@10 by 0.0500, less than our seeds scatter." in page_of(measured, **{"ndcg@10": 0.3625})


def test_a_figure_of_other_conditions_is_marked_and_no_difference_is_taken(measured: dict[str, Any]):
    page = page_of(measured, differs="other files")
    row = next(line for line in page.splitlines() if line.startswith("| EASE"))
    assert row.split("|")[2].strip() == "0.5000 / 0.2000†"
    assert row.split("|")[4].strip() == ""
    assert "EASE†: the published figure does not compare: other files." in page


def test_a_cell_that_was_not_run_says_why_on_the_page(measured: dict[str, Any]):
    page: str = results_page.make_page({"club": TABLES}, {"club/ease": {"not_run": "needs 25 GB"}})
    assert "- EASE: not run: needs 25 GB" in page
    assert "| EASE | 0.5000 / 0.2000 | not run |" in page


def test_a_set_that_was_not_run_is_listed_with_the_reason():
    page = results_page.make_page({"douban": {"title": "Douban", "place": 1, "not_run": "data absent"}}, {})
    assert "- **Douban** (`douban`): not run: data absent." in page


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def report_of_reasons(model: str, method: str, own: float, *, agrees: bool) -> dict[str, Any]:
    orders = dict(zip(("own", "exact", "popularity", "random"), map(figure, (own, 0.9, 0.2, 0.1)), strict=True))
    said = f"{model}: {method} does{'' if agrees else ' NOT'} agree"
    return {"model": model, "method": method, "users": 50, "agrees": agrees, "sentence": said} | {
        "agreement": orders,
        "deletion": orders,
    }


def test_the_page_says_whose_reasons_are_true_and_whose_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = [("nais", "attention", -0.5, False), ("nais", "attention", 0.3, False), ("mf", "counterfactual", 1.0, True)]
    reports = [report_of_reasons(*facts, agrees=agrees) for *facts, agrees in given]
    lines = [json.dumps({"data": "club", "report": report}) for report in reports]
    (tmp_path / "found.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(results_beside, "FAITHFULNESS", tmp_path / "found.jsonl")
    page: str = results_page.make_page({}, {})
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert rows["NAIS"] == ("| NAIS | attention | 50 | 0.30 (0.20 to 0.40) | 0.20 | 0.10 | 0.30 / 0.90 / 0.20 / 0.10 |")
    assert rows["MF"].split(" | ")[1:4] == ["counterfactual", "50", "1 by definition"]
    assert rows["EASE"] == "| EASE | not run |  |  |  |  |  |"
    assert "FM" not in rows
    assert page.count("- nais: attention does NOT agree") == 1
    assert "mf: counterfactual does agree" not in page


def test_where_no_reasons_were_measured_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results_beside, "FAITHFULNESS", tmp_path / "absent.jsonl")
    assert "Not run." in results_page.make_page({}, {})
