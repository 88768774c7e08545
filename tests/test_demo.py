from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from attlas import demo
from attlas.demo import Demo, run_demo
from attlas.errors import ArtefactError
from attlas.recommender import load
from attlas.runner import evaluate_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("somewhere") / "demo", quick=True)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A club and settings so small that a demo takes no time."""
    monkeypatch.setattr(demo, "QUICK_CLUB", (60, 90))
    monkeypatch.setattr(demo, "_compile_kernels", lambda: None)
    monkeypatch.setattr(demo, "QUICK_SETTINGS", demo.QUICK_SETTINGS | {"delf": {"training": {"epochs": 2}}})


def test_a_demo_leaves_tables_runs_and_a_page(made: Demo) -> None:
    parts = {path.name for path in made.folder.iterdir()}
    assert parts == {"ratings.csv", "films.csv", "popularity", "ease", "delf", "report.html", "demo.json"}


def test_each_model_has_a_row_with_intervals_and_the_truth_stands_last(made: Demo) -> None:
    rows = made.table()
    assert [row["model"] for row in rows] == ["Popularity", "EASE", "DELF", "The truth (reference)"]
    for row in rows:
        assert set(row) == set(made.columns)
        assert " to " in row["ndcg@10"]


def test_both_models_learn_more_than_popularity_and_none_beats_the_truth(made: Demo) -> None:
    popularity, ease, delf, truth = (entry.report.mean("ndcg@10") for entry in made.findings.entries)
    assert popularity < min(ease, delf)
    assert max(ease, delf) < truth


def test_what_a_demo_found_is_json_and_is_kept_in_its_folder(made: Demo) -> None:
    found = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    kept = json.loads((made.folder / "demo.json").read_text())
    assert kept.items() >= found.items()
    assert list(found["models"]) == ["popularity", "ease", "delf"]
    assert found["data"]["train"] + found["data"]["valid"] + found["data"]["test"] <= found["data"]["rows"]


def test_two_members_and_a_stranger_hear_reasons_from_two_models(made: Demo) -> None:
    advice = made.to_dict()["recommendations"]
    assert [(one["for"], one["model"]) for one in advice] == [
        (who, model) for who in ("Member m17", "Member m3", "A stranger") for model in ("EASE", "DELF")
    ]
    assert all(item["reasons"] and item["title"] != item["item"] for one in advice for item in one["items"])


def test_the_sentences_name_the_best_model_titles_and_the_page(made: Demo) -> None:
    said = "\n".join(made.sentences())
    assert "EASE ranks best with NDCG@10" in said
    assert "because of" in said
    assert str(made.folder / "report.html") in said


def test_the_runs_answer_and_are_measured_again_from_the_tables_beside_them(made: Demo) -> None:
    assert load(made.folder / "delf").recommend(["m17"], 3).height == 3
    again = evaluate_run(made.folder / "ease")[0]
    assert again.mean("ndcg@10") == made.findings.entries[1].report.mean("ndcg@10")


def test_the_page_shows_what_the_table_shows(made: Demo) -> None:
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    for entry in made.findings.entries:
        assert f"{entry.report.mean('ndcg@10'):.3f}" in page
    assert made.findings.data["fingerprint"] in page


@pytest.mark.usefixtures("short")
def test_a_demo_replaces_a_former_demo_and_leaves_what_others_put_there(tmp_path: Path) -> None:
    first = run_demo(tmp_path / "demo", quick=True)
    (tmp_path / "demo" / "mine.txt").write_text("mine")
    second = run_demo(tmp_path / "demo", quick=True)
    assert (tmp_path / "demo" / "mine.txt").read_text() == "mine"
    assert [row["ndcg@10"] for row in first.table()] == [row["ndcg@10"] for row in second.table()]


@pytest.mark.parametrize("note", [None, "{", "[]", '{"other": 1}'])
def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, note: str | None) -> None:
    (tmp_path / "delf").mkdir()
    (tmp_path / "delf" / "thesis.txt").write_text("years of work")
    if note is not None:
        (tmp_path / "demo.json").write_text(note)
    with pytest.raises(ArtefactError, match="choose another --out"):
        run_demo(tmp_path, quick=True)
    assert (tmp_path / "delf" / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(ArtefactError, match="choose another --out"):
        run_demo(tmp_path / "demo", quick=True)


@pytest.mark.usefixtures("short")
def test_without_plotly_the_demo_says_how_to_get_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    found = run_demo(tmp_path / "demo", quick=True)
    assert any("pip install 'attlas[report]'" in sentence for sentence in found.sentences())
    assert "pip install" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
