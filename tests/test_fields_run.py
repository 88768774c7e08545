"""Labelled rows from a file to a saved run that recommends in context, in memory and through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import attlas
from attlas.data.encoding import in_context
from attlas.data.examples import Examples
from attlas.data.labelled import Layout, read_examples, read_parts
from attlas.data.split import Split
from attlas.errors import ConfigError, UnknownId
from attlas.experiment import Experiment
from attlas.runner import evaluate_run, fit, run

LAYOUT = Layout(item_fields=("taste",), numbers=("warmth",), bags=("tags",))
TINY: dict[str, dict[str, Any]] = {
    "fm": {"embedding_dim": 4},
    "nfm": {"embedding_dim": 4, "layers": (4,), "dropout": 0.0, "hidden_dropout": 0.0},
    "deepfm": {"embedding_dim": 4, "layers": (8,), "dropout": 0.0},
    "afm": {"embedding_dim": 4, "attention_dim": 3},
}
QUICK = {"solver": {"batch_size": 64, "learning_rate": 0.03}, "epochs": 5}


def frame(count: int = 900) -> pl.DataFrame:
    """Twelve users and ten items, odd and even; odd hours are for odd items, whoever asks."""
    rng = np.random.default_rng(5)
    user, item, hour = (rng.integers(0, size, count) for size in (12, 10, 4))
    fits = (item % 2 == hour % 2) ^ (rng.random(count) < 0.05)
    return pl.DataFrame(
        {
            "user": [f"u{one}" for one in user],
            "item": [f"i{one}" for one in item],
            "hour": hour,
            "warmth": rng.random(count),
            "tags": [["red", "red|blue", "blue"][one] for one in rng.integers(0, 3, count)],
            "taste": ["even" if one % 2 == 0 else "odd" for one in item],
            "label": fits.astype(int),
        }
    )


@pytest.fixture(scope="module")
def rows() -> Examples:
    return read_examples(frame(), LAYOUT)


@pytest.fixture(scope="module")
def made(rows: Examples) -> Any:
    return fit(rows, "fm", config=TINY["fm"], **QUICK)


@pytest.fixture(scope="module")
def libfm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as libFM text in three given parts, without the number and the bag."""
    folder = tmp_path_factory.mktemp("club")
    table = frame().select("label", "user", "item", "hour")
    lines = [f"{2 * y - 1} {u}:1 {i}:1 h{h}:1\n" for y, u, i, h in table.iter_rows()]
    for part, some in (("train", lines[:700]), ("validation", lines[700:800]), ("test", lines[800:])):
        (folder / f"club.{part}.libfm").write_text("".join(some))
    return folder


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("objective", ["logistic", "squared"])
def test_every_model_of_fields_learns_from_labels_and_is_measured_by_its_objective(model, objective, rows):
    run_ = fit(rows, model, config=TINY[model], solver={**QUICK["solver"], "objective": objective}, epochs=5)
    report = run_.report
    assert report.task == ("label" if objective == "logistic" else "target")
    assert report.mean("auc") > 0.85
    assert report.split == "global-ratio"
    assert run_.card["training"]["valid"]["metric"] == ("logloss" if objective == "logistic" else "rmse")
    assert run_.card["data"]["train_rows"] == 630


def test_the_fit_that_is_kept_has_the_lowest_loss_on_validation(made):
    assert made.card["experiment"]["training"]["metric"] == "logloss"
    assert made.card["training"]["valid"]["value"] < 0.65


def by_rows(recommender: Any, user: str, context: dict[str, Any]) -> np.ndarray:
    """The score of every item for one user in one context, row by row."""
    features = recommender.inputs.features
    fields, _ = in_context(features, context, len(recommender.items))
    count = len(recommender.items)
    asked = torch.full((count,), int(recommender.users.find([user])[0]))
    pairs = features.pairs(asked, torch.arange(count), fields)
    with torch.no_grad():
        return np.array([float(recommender.model(fields=row)) for row in rows_of(pairs)])


def rows_of(fields: Any) -> Any:
    for place in range(len(fields)):
        one = slice(place, place + 1)
        yield type(fields)(fields.index[one], None if fields.value is None else fields.value[one], fields.bags)


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("context", [{"hour": 3, "warmth": 0.2, "tags": ["blue"]}, {"hour": "0"}, {}])
def test_a_ranking_in_context_is_that_of_its_rows_one_by_one(model, context, rows):
    recommender = fit(rows, model, config=TINY[model], **{**QUICK, "epochs": 1})
    found = recommender.recommend(["u3"], k=10, context=context, exclude_seen=False)
    scores = by_rows(recommender, "u3", context)
    place = recommender.items.index_of(found["item"].to_list())
    np.testing.assert_allclose(found["score"].to_numpy(), scores[place], rtol=1e-4, atol=1e-5)
    assert (np.diff(scores[place]) <= 1e-5).all()


def test_the_context_decides_what_comes_first(made):
    for hour, parity in ((1, 1), (2, 0)):
        found = made.recommend(["u3", "u4"], k=3, context={"hour": hour}, exclude_seen=False)
        assert all(int(item[1:]) % 2 == parity for item in found["item"])


def test_what_was_unknown_is_said(made):
    asked: dict[str, Any] = {"k": 1, "exclude_seen": False, "unknown": "learned"}
    ways = made.recommend(["u3", "who"], context={"hour": 1, "tags": ["green"]}, **asked)["way"].to_list()
    assert ways == ["known user; unknown: warmth, tags", "unknown user; unknown: warmth, tags"]
    assert made.recommend(["who"], k=1, unknown="popular")["way"].to_list() == ["popular"]
    with pytest.raises(UnknownId, match="user 'who' is not among"):
        made.recommend(["who"], k=1)


def test_who_stands_in_the_test_part_alone_is_unknown_to_answers_and_to_reasons():
    train, test = read_parts([frame(600), frame(60).with_columns(user=pl.lit("late"))], LAYOUT)
    made = fit(Split(train, None, test, "given"), "fm", config=TINY["fm"], **{**QUICK, "epochs": 1})
    asked: dict[str, Any] = {"context": {"hour": 1, "warmth": 0.5, "tags": ["red"]}}
    ranked = made.recommend(["late"], k=10, exclude_seen=False, **asked)
    assert set(ranked["way"]) == {"unknown user"}
    told = made.explain("late", "i3", **asked)
    assert (told.way, set(told.pairs.filter(pl.col("field") == "user")["feature"])) == ("unknown user", {"unknown"})
    assert told.score == pytest.approx(ranked.filter(pl.col("item") == "i3")["score"].item(), abs=1e-4)
    assert made.explain("u3", "i3", **asked).way == "known user"


def test_whoever_stands_in_the_test_part_alone_gets_a_row_of_their_own_by_an_update_and_the_unknown_keep_theirs():
    held_out = frame(60).with_columns(
        user=pl.lit("late"), item=pl.when(pl.col("item") == "i9").then(pl.lit("only")).otherwise(pl.col("item"))
    )
    train, test = read_parts([frame(600), held_out], LAYOUT)
    made = fit(Split(train, None, test, "given"), "fm", config=TINY["fm"], **{**QUICK, "epochs": 1})
    after = made.update([("late", "i1"), ("late", "only")], positive="")
    unknown, learned = torch.from_numpy(made.inputs.features.unknown), dict(after.model.named_parameters())
    for name in ("factors.weight", "factors.vector"):
        assert torch.equal(learned[name][unknown], made.model.get_parameter(name)[unknown])
    asked: dict[str, Any] = {"k": 11, "exclude_seen": False, "unknown": "learned", "context": {"hour": 1}}
    mine, theirs = (one.recommend(["who"], **asked).filter(pl.col("item") != "only").sort("item") for one in (made, after))
    np.testing.assert_allclose(mine["score"], theirs["score"], rtol=1e-5)
    assert after.recommend(["late"], **asked)["way"][0].startswith("known user")
    only = int(after.items.index_of(["only"])[0])
    assert after.inputs.features.said(after.inputs.features.pairs(*torch.tensor([[0], [only]])).index[0].tolist())[1] == "only"


def test_a_context_that_is_not_there_is_refused(made):
    with pytest.raises(ConfigError, match="context 'hours' is no field of the context; did you mean 'hour'"):
        made.recommend(["u3"], context={"hours": 1})


def test_runs_on_interactions_refuse_a_context(club):
    recommender = fit(club.interactions, "popularity")
    with pytest.raises(ConfigError, match="learned from interactions and knows no context"):
        recommender.recommend(["m1"], context={"hour": 1})
    with pytest.raises(ConfigError, match=r"unknown='learned'; expected 'error' or 'popular'$"):
        recommender.recommend(["m1"], unknown="learned")


def test_a_run_that_is_saved_and_loaded_answers_alike(made, tmp_path):
    loaded = attlas.load(made.save(tmp_path / "run"))
    asked: dict[str, Any] = {"k": 4, "context": {"hour": 2, "warmth": 0.3, "tags": ["red", "blue"]}}
    assert loaded.recommend(["u1", "u2"], **asked).equals(made.recommend(["u1", "u2"], **asked))
    assert [one.name for one in loaded.inputs.features.fields] == ["user", "item", "hour", "warmth", "tags", "taste"]


def test_given_parts_are_found_and_fitted_and_measured_again(libfm, tmp_path):
    settings = Experiment.of({"data": {"source": str(libfm)}, "model": {"name": "fm", **TINY["fm"]}, **tables()})
    assert settings.data.label == "label"
    assert settings.solver["objective"] == "logistic"
    finished = run(settings, out=tmp_path / "run")
    assert finished.report.split == "given"
    (again,) = evaluate_run(tmp_path / "run")
    assert again.values == finished.report.values
    with pytest.raises(ConfigError, match=r"protocol 'target' does not measure .*; use 'label'"):
        evaluate_run(tmp_path / "run", protocols=["target"])
    with pytest.raises(ConfigError, match="protocol 'full' ranks, and labelled rows are measured row by row; use 'label'"):
        evaluate_run(tmp_path / "run", protocols=["full"])


def tables() -> dict[str, Any]:
    return {"solver": dict(QUICK["solver"]), "training": {"epochs": 3}}


def test_equal_experiments_on_labelled_rows_end_with_the_same_bits(libfm, tmp_path):
    one, other = (run(of_tables(libfm, epochs=3), out=tmp_path / name) for name in ("one", "other"))
    assert weights(one) == weights(other)


def of_tables(folder: Path, **training: Any) -> Experiment:
    return Experiment.of(
        {"data": {"source": str(folder)}, "model": {"name": "afm", **TINY["afm"]}, **tables(), "training": training}
    )


def weights(recommender: Any) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in recommender.model.state_dict().items()}


def test_afm_begins_with_the_tables_of_an_fm(libfm, tmp_path):
    run(Experiment.of({"data": {"source": str(libfm)}, "model": {"name": "fm", **TINY["fm"]}, **tables()}), out=tmp_path / "fm")
    begun = run(of_tables(libfm, epochs=1, start=str(tmp_path / "fm")))
    fresh = run(of_tables(libfm, epochs=1))
    assert begun.report.mean("logloss") < fresh.report.mean("logloss")


def test_refit_learns_from_validation_too(rows):
    refitted = fit(rows, "fm", config=TINY["fm"], solver=QUICK["solver"], epochs=2, refit=True)
    assert refitted.card["data"]["train_rows"] == 810


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"data": {"label": "label"}, "model": {"name": "mf"}}, "mf does not read feature fields"),
        (
            {"data": {"label": "label"}, "model": {"name": "fm"}, "solver": {"objective": "bpr"}},
            "objective = 'bpr' is for interactions; labelled rows take logistic or squared",
        ),
        ({"model": {"name": "fm"}, "solver": {"objective": "squared"}}, "learns from labelled rows; name their column"),
        (
            {"data": {"label": "label"}, "model": {"name": "fm"}, "evaluation": {"protocol": ["label", "full"]}},
            "protocol 'full' ranks, and labelled rows are measured row by row; use 'label' or leave it out",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_is_read(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        Experiment.of(settings)


def test_the_command_line_fits_and_recommends_in_context(libfm, tmp_path, command):
    words = ["--data", libfm, "--model", "afm", "--out", tmp_path / "run", "--epochs", "3"]
    fields = ["--set", 'data.fields=["user", "item", "hour"]', "--set", "solver.batch_size=64"]
    said = command("fit", *words, *fields, "--set", "model.embedding_dim=4", "--json")
    assert said.code == 0, said.err
    assert said.json["reports"][0]["protocol"] == "label"
    found = command("recommend", tmp_path / "run", "u3", "--context", "hour=h1", "-k", "2", "--include-seen", "--json")
    assert [row["way"] for row in found.json] == ["known user"] * 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["fields"][2]["name"] == "hour"
    wrong = command("recommend", tmp_path / "run", "u3", "--context", "hour")
    assert "--context 'hour' does not fit; write FIELD=CATEGORY" in wrong.err


def test_settings_are_searched_by_the_lowest_loss_on_validation(rows, tmp_path):
    found = attlas.tune(rows, "fm", solver=QUICK["solver"], trials=3, epochs=1, out=tmp_path / "tuned")
    values = [trial.value for trial in found.tried if trial.state == "complete"]
    assert found.best.value == min(values) < max(values)
    again = Experiment.from_file(tmp_path / "tuned" / "best.toml")
    assert again.data.label == "label"
    assert run(again, data=rows).report.task == "label"
