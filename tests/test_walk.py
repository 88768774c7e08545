"""From a CSV to recommendations through the real command line, and the first example of the README."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import attlas
from attlas.models import MODELS

ROOT = Path(__file__).resolve().parent.parent
BOTH = pytest.mark.parametrize("model", ["ease", "delf"])
ANSWER = ["rank", "item", "title", "score", "way"]


@pytest.fixture(scope="module")
def titles(club: Any) -> dict[str, str]:
    """The title of each film by its id."""
    films = club.interactions.items
    return dict(zip(films.ids, films.columns["title"], strict=True))


@pytest.fixture(scope="module")
def chosen(club: Any) -> set[str]:
    """What member m17 has chosen, held-out films included."""
    return set(club.interactions.to_frame().filter(pl.col("user") == "m17")["item"])


@BOTH
def test_fit_answers_with_one_document_and_tells_of_its_progress_on_stderr_only(model: str, fitted: dict[str, Any]) -> None:
    said = fitted[model]
    assert (said.code, said.json["model"]["name"], said.json["data"]["users"]) == (0, model, 80)
    assert said.json["reports"][0]["means"].keys() >= {"hr@10", "ndcg@20", "auc"}
    assert "900 rows read, 900 kept" in said.err
    assert "split global-time (chosen since times are known): 720 rows train, 90 validation, 90 test" in said.err
    assert len(re.findall(r"^fit epoch \d", said.err, re.MULTILINE)) == len(said.json["training"]["losses"])


@BOTH
def test_evaluate_finds_the_numbers_that_fit_has_reported(
    model: str, runs: Path, fitted: dict[str, Any], command: Callable
) -> None:
    said = command("evaluate", runs / model, "-k", "10", "-k", "20", "--json")
    assert (said.code, said.json) == (0, fitted[model].json["reports"])


@BOTH
def test_recommend_answers_each_user_with_unseen_films_and_their_titles(
    model: str, runs: Path, command: Callable, titles: dict[str, str], chosen: set[str]
) -> None:
    said = command("recommend", runs / model, "m17", "m3", "-k", "4", "--json")
    assert (said.code, said.err) == (0, "")
    assert [(row["user"], row["rank"]) for row in said.json] == [
        (user, rank) for user in ("m17", "m3") for rank in (1, 2, 3, 4)
    ]
    assert all(row["title"] == titles[row["item"]] and row["way"] == "known user" for row in said.json)
    assert not {row["item"] for row in said.json if row["user"] == "m17"} & chosen


def test_recommend_may_be_asked_for_films_that_were_seen(runs: Path, command: Callable, titles: dict, chosen: set) -> None:
    said = command("recommend", runs / "ease", "m17", "-k", len(titles), "--include-seen", "--json")
    assert {row["item"] for row in said.json} == set(titles) > chosen


def test_recommend_ranks_only_the_candidates(runs: Path, command: Callable) -> None:
    said = command("recommend", runs / "ease", "m17", "--include-seen", "--candidates", "f4, f10,f7", "--json")
    assert {row["item"] for row in said.json} == {"f4", "f10", "f7"}


def test_recommend_answers_an_unknown_user_with_what_is_popular_if_told_to(runs: Path, command: Callable) -> None:
    said = command("recommend", runs / "delf", "nobody", "-k", "3", "--unknown", "popular", "--json")
    assert [(row["user"], row["way"]) for row in said.json] == [("nobody", "popular")] * 3


@pytest.mark.parametrize(("model", "way"), [("ease", "from the history"), ("delf", "fitted user vector")])
def test_recommend_serves_a_stranger_from_a_history(model: str, way: str, runs: Path, command: Callable, titles: dict) -> None:
    said = command("recommend", runs / model, "--history", "f4,f10,f7", "-k", "5", "--json")
    assert [list(row) for row in said.json] == [ANSWER] * 5
    assert all(row["way"] == way and row["title"] == titles[row["item"]] for row in said.json)
    assert not {row["item"] for row in said.json} & {"f4", "f10", "f7"}


def test_an_empty_history_is_answered_with_what_is_popular(runs: Path, command: Callable) -> None:
    said = command("recommend", runs / "ease", "--history", "", "-k", "2", "--json")
    assert [row["way"] for row in said.json] == ["popular"] * 2


def test_ids_that_hold_a_comma_are_quoted_in_a_history_and_among_candidates(tmp_path: Path, command: Callable) -> None:
    items = ["Alien", "Eat, drink", "Brazil"]
    rows = [(f"u{user}", items[(user + step) % 3]) for user in range(12) for step in range(2)]
    attlas.fit(
        pl.DataFrame(rows, schema=["user", "item"], orient="row"), "ease", out=tmp_path / "run", split="leave-random-out"
    )
    stranger = command("recommend", tmp_path / "run", "--history", 'Alien, "Eat, drink"', "--json")
    assert [row["item"] for row in stranger.json] == ["Brazil"]
    words = ["u0", "--include-seen", "--candidates", '"Eat, drink",Brazil', "--json"]
    assert {row["item"] for row in command("recommend", tmp_path / "run", *words).json} == {"Eat, drink", "Brazil"}


@BOTH
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_recommend_writes_everybody_into_a_file(
    model: str, suffix: str, runs: Path, command: Callable, tmp_path: Path, titles: dict
) -> None:
    out = tmp_path / f"recs.{suffix}"
    said = command("recommend", runs / model, "--all-users", "-k", "3", "--out", out, "--json")
    assert (said.code, said.json) == (0, {"out": str(out), "rows": 240, "users": 80})
    found = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[suffix](out)
    assert found.columns == ["user", *ANSWER]
    assert (found.height, found["user"].n_unique()) == (240, 80)
    assert found["title"].to_list() == [titles[item] for item in found["item"]]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(("model", "way"), [("ease", "item weights"), ("delf", "item codes")])
def test_similar_lists_other_films(model: str, way: str, runs: Path, command: Callable, titles: dict[str, str]) -> None:
    said = command("similar", runs / model, "f4", "-k", "5", "--json")
    assert [list(row) for row in said.json] == [ANSWER] * 5
    assert all(row["way"] == way and row["title"] == titles[row["item"]] and row["item"] != "f4" for row in said.json)


@pytest.mark.parametrize(("model", "method"), [("ease", "contribution"), ("delf", "attention")])
def test_explain_names_films_of_the_users_own_history(
    model: str, method: str, runs: Path, command: Callable, titles: dict[str, str], chosen: set[str]
) -> None:
    said = command("explain", runs / model, "m17", "f4", "--top", "3", "--json")
    assert (said.json["item"], said.json["title"], said.json["method"]) == ("f4", titles["f4"], method)
    assert len(said.json["history"]) == 3
    assert all(row["item"] in chosen and row["title"] == titles[row["item"]] for row in said.json["history"])
    assert (said.json["audience"] is None) == (model == "ease")


@BOTH
def test_explain_names_what_a_stranger_has_chosen(model: str, runs: Path, command: Callable) -> None:
    said = command("explain", runs / model, "f1", "--history", "f4,f10,f7", "--json")
    assert {row["item"] for row in said.json["history"]} == {"f4", "f10", "f7"}


@BOTH
def test_explain_takes_items_out_where_counterfactuals_are_asked_for(model: str, runs: Path, command: Callable) -> None:
    said = command("explain", runs / model, "m17", "f4", "--method", "counterfactual", "--top", "2", "--json")
    assert (said.json["method"], len(said.json["history"])) == ("counterfactual", 2)
    told = command("explain", runs / model, "m17", "f4", "--method", "counterfactual", "--top", "2").out
    assert said.json["sentence"] in told


def test_explain_draws_a_page_where_one_is_asked_for(runs: Path, command: Callable, tmp_path: Path) -> None:
    said = command("explain", runs / "ease", "m17", "f4", "--plot", tmp_path / "why.html", "--json")
    assert said.json["sentence"] in (tmp_path / "why.html").read_text()
    assert f"drawn in {tmp_path / 'why.html'}" in said.err.replace("\n", "")


def test_faithfulness_of_two_runs_is_a_sentence_each_and_a_file(runs: Path, command: Callable, tmp_path: Path) -> None:
    words = ("explain", runs / "ease", runs / "delf", "--faithfulness", "--users", "6")
    said = command(*words, "--out", tmp_path / "new" / "found.json", "--json")
    assert [report["model"] for report in said.json] == ["ease", "delf"]
    assert json.loads((tmp_path / "new" / "found.json").read_text()) == said.json
    told = command(*words).out
    assert all(report["sentence"] in told for report in said.json)


@pytest.mark.parametrize(
    ("place", "message"),
    [("", "is a folder; name a file in it, such as --out"), ("file/found.json", "is no folder that may be written to")],
)
def test_faithfulness_that_could_not_be_kept_is_not_measured(
    place: str, message: str, runs: Path, command: Callable, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = command("explain", runs / "ease", "--faithfulness", "--out", tmp_path / place)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert message in said.err


def test_models_lists_every_model_and_one_in_full(command: Callable) -> None:
    assert [row["name"] for row in command("models", "--json").json] == list(MODELS)
    assert command("models", "delf", "--json").json["settings"][0]["name"] == "embedding_dim"


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "{run}"),
        ("recommend", "{run}", "m17"),
        ("recommend", "{run}", "--history", "f4,f10"),
        ("similar", "{run}", "f4"),
        ("explain", "{run}", "m17", "f4"),
        ("models",),
        ("models", "delf"),
    ],
    ids=" ".join,
)
def test_people_get_a_table_with_titles_from(words: tuple[str, ...], runs: Path, command: Callable, titles: dict) -> None:
    said = command(*(word.format(run=runs / "delf") for word in words))
    assert said.code == 0
    assert "─" in said.out
    if words[0] in ("recommend", "similar", "explain"):
        assert any(title in said.out for title in titles.values())


def test_whole_numbers_as_ids_of_a_run_made_in_python_are_found_by_what_is_typed(tmp_path: Path, command: Callable) -> None:
    rows = [(user, item) for user in range(101, 113) for item in range(1, 13) if (user + item) % 4]
    attlas.fit(pl.DataFrame(rows, schema=["user", "item"], orient="row"), "ease", out=tmp_path / "run")
    said = command("recommend", tmp_path / "run", "107", "-k", "1", "--json")
    assert (said.code, said.json[0]["user"]) == (0, 107)
    assert isinstance(said.json[0]["item"], int)


def test_a_toml_file_and_options_over_it_fit_a_run(club_files: Path, tmp_path: Path, command: Callable) -> None:
    (tmp_path / "ease.toml").write_text(f'[data]\nsource = "{club_files / "ratings.csv"}"\n[model]\nname = "ease"\nl2 = 7\n')
    said = command("fit", tmp_path / "ease.toml", "--split", "leave-last-out", "--set", "evaluation.k=[5]", "--json")
    assert said.json["model"] == {"name": "ease", "config": {"l2": 7.0}}
    assert (said.json["data"]["split"], said.json["reports"][0]["k"]) == ("leave-last-out", [5])


def first_example() -> str:
    """The code of the package's docstring."""
    return inspect.cleandoc(attlas.__doc__ or "").split("\n\n", 1)[1]


def test_the_first_example_of_the_readme_is_that_of_the_package() -> None:
    first = re.search(r"```python\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first is not None
    assert first[1] == first_example()


def test_the_first_example_is_five_lines_and_runs_and_answers(capsys: pytest.CaptureFixture[str]) -> None:
    lines = first_example().replace("import attlas\n\n", "").splitlines()
    names: dict[str, Any] = {}
    exec(first_example(), names)
    out = capsys.readouterr().out
    title = names["club"].interactions.items.titles_of([41])[0]
    assert len(lines) == 5
    assert f"{title}: because of " in out.splitlines()[-1]
    assert "m17" in out
