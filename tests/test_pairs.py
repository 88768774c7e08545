"""Why a row has its score: pairs of features by name, for one row and in the mean; and the argument for attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import attlas
from attlas.answers import context_of
from attlas.data.examples import ExampleInputs, Examples
from attlas.data.labelled import Layout, read_examples
from attlas.data.labelling import labelled_rows
from attlas.errors import ConfigError, DataError
from attlas.evaluation.metrics import label_auc
from attlas.models.afm import AFM
from attlas.pairs import average_pairs, contributions, heat_map
from attlas.runner import fit
from attlas.training.fit import Descent
from attlas.training.fit import fit as train
from attlas.training.labelled import Logistic

QUICK: dict[str, Any] = {"solver": {"batch_size": 64, "learning_rate": 0.05}, "epochs": 6}


def frame(count: int = 800) -> pl.DataFrame:
    """Whether the colour of the item goes with the hour decides; the noise decides nothing."""
    rng = np.random.default_rng(7)
    user, item, hour, noise = (rng.integers(0, size, count) for size in (6, 8, 4, 5))
    colour = item % 4
    columns = {"user": user, "item": item, "hour": hour, "noise": noise, "colour": colour}
    return pl.DataFrame(columns).with_columns(pl.Series("label", ((colour + hour) % 2).astype(int)))


@pytest.fixture(scope="module")
def rows() -> Examples:
    return read_examples(frame(), Layout(item_fields=("colour",)))


@pytest.fixture(scope="module", params=["fm", "afm"])
def made(request: pytest.FixtureRequest, rows: Examples) -> Any:
    config = {"fm": {"embedding_dim": 4}, "afm": {"embedding_dim": 4, "attention_dim": 4, "dropout": 0.0}}[request.param]
    return fit(rows, request.param, config=config, **QUICK)


def test_pairs_are_named_and_add_up_to_the_score(made):
    reasons = made.explain(3, 5, context={"hour": 2, "noise": 1})
    assert reasons.pairs.height == 10
    assert set(reasons.pairs.filter(pl.col("other_field") == "hour")["other"]) == {"2"}
    assert reasons.score == pytest.approx(reasons.rest + reasons.pairs["contribution"].sum(), abs=1e-5)
    np.testing.assert_allclose(reasons.pairs["attention"] * reasons.pairs["score"], reasons.pairs["contribution"], rtol=1e-6)
    ranked = made.recommend([3], k=8, context={"hour": 2, "noise": 1}, exclude_seen=False)
    assert reasons.score == pytest.approx(ranked.filter(pl.col("item") == 5)["score"][0], abs=1e-4)


def test_what_adds_most_comes_first_and_the_rest_can_be_left_out(made):
    every, few = (made.explain(3, 5, context={"hour": 2}, top=top) for top in (None, 2))
    assert (np.diff(every.pairs["contribution"].abs()) <= 0).all()
    assert few.pairs.equals(every.pairs.head(2))
    assert few.unknown == ("noise",)
    assert "unknown" in set(every.pairs["feature"]) | set(every.pairs["other"])


def test_the_pair_that_decides_adds_most_in_the_mean(made, rows):
    averages = average_pairs(made, rows)
    decisive = [{"hour", "colour"}, {"item", "hour"}]  # an item knows its colour by itself
    assert {averages["field"][0], averages["other_field"][0]} in decisive
    added = contributions(made, rows)
    assert added.shape == (800, 10)
    assert averages["contribution"].sum() == pytest.approx(added.sum() / 800)


@pytest.mark.parametrize(("least", "numbers"), [(3, ()), (0, ("noise",))])
def test_rows_of_other_categories_or_kinds_are_refused(least, numbers, made):
    others = read_examples(frame(50).filter(pl.col("item") >= least), Layout(item_fields=("colour",), numbers=numbers))
    for ask in (average_pairs, contributions):
        with pytest.raises(ConfigError, match="other fields, categories or scales than those that the run learned from"):
            ask(made, others)


def test_a_run_that_was_loaded_takes_the_rows_that_it_learned_from(made, rows, tmp_path):
    loaded = attlas.load(made.save(tmp_path / "run"))
    np.testing.assert_allclose(contributions(loaded, rows), contributions(made, rows), rtol=1e-5, atol=1e-7)


def test_a_sentence_names_the_pairs_that_speak_for_it(made):
    best = made.recommend([3], k=1, context={"hour": 2, "noise": 1}, exclude_seen=False)["item"][0]
    said = made.explain(3, best, context={"hour": 2, "noise": 1}).sentence(1)
    assert said.startswith(f"{best}: because of ")
    assert " with " in said


def test_a_heat_map_has_every_pair_twice_and_nothing_on_its_diagonal(made, rows):
    averages = average_pairs(made, rows)
    drawn = heat_map(averages, "attention")["data"][0]
    cells = np.array(drawn["z"], dtype=float)
    assert np.isnan(cells.diagonal()).all()
    np.testing.assert_array_equal(np.nan_to_num(cells), np.nan_to_num(cells.T))
    assert sorted(cells[np.triu_indices(5, 1)]) == pytest.approx(sorted(averages["attention"]))
    assert drawn["x"] == drawn["y"]


def test_a_heat_map_shows_names_letter_by_letter():
    averages = pl.DataFrame({"field": ["<b>hour</b>"], "other_field": ["item"], "score": [0.5]})
    drawn = heat_map(averages, "score")["data"][0]
    assert drawn["x"] == drawn["y"] == ["&lt;b&gt;hour&lt;/b&gt;", "item"]


def deep(rows: Examples, name: str) -> Any:
    config = {"embedding_dim": 4, "layers": (4,), "dropout": 0.0}
    return fit(rows, name, config=config, solver=QUICK["solver"], epochs=2)


@pytest.mark.parametrize("name", ["nfm", "deepfm"])
def test_networks_above_pairs_are_explained_by_what_is_lost_without_each_pair(name, rows):
    made = deep(rows, name)
    found = made.explain(3, 5, context={"hour": 2, "noise": 1})
    assert (found.method, found.rest, found.pairs.height) == ("deletion", None, 10)
    assert found.pairs.columns == ["field", "feature", "other_field", "other", "contribution"]
    assert found.score == pytest.approx(made.scorer.score_all(np.array([3]), moment(made))[0, 5], abs=1e-4)
    with pytest.raises(ConfigError, match="does not sum over pairs of features; AFM and FM do"):
        average_pairs(made, rows)


def moment(made: Any) -> Any:
    return context_of(made.scorer, {"hour": 2, "noise": 1}, 1)[0]


def test_who_is_unknown_is_explained_as_such(made):
    found = made.explain(99, 5, context={"hour": 2, "noise": 1})
    assert found.way == "unknown user"
    assert {"unknown"} == set(found.pairs.filter(pl.col("field") == "user")["feature"])
    ranked = made.recommend([99], k=8, context={"hour": 2, "noise": 1}, unknown="learned")
    assert found.score == pytest.approx(ranked.filter(pl.col("item") == 5)["score"][0], abs=1e-4)


def test_the_command_line_explains_in_context(made, tmp_path, command):
    made.save(tmp_path / "run")
    said = command("explain", tmp_path / "run", "3", "5", "--context", "hour=2", "--top", "2", "--json")
    assert [len(said.json["pairs"]), said.json["unknown"]] == [2, ["noise"]]
    told = command("explain", tmp_path / "run", "3", "5", "--context", "hour=2")
    assert "Pairs of features" in told.out


def test_labelled_rows_of_interactions_have_facts_moments_and_negatives(club):
    some = club.interactions.take(np.arange(50))
    table = labelled_rows(
        some, item_columns=["genre"], times=["weekday"], context=club.features[:50].select("company"), negatives=3
    )
    assert table.columns == ["user", "item", "genre", "weekday", "company", "label"]
    assert table["label"].to_list() == [1] * 50 + [0] * 150
    genre = dict(zip(some.items.ids, some.items.columns["genre"], strict=True))
    assert all(genre[item] == said for item, said in table.select("item", "genre").iter_rows())
    assert table["company"][50:53].to_list() == [table["company"][0]] * 3
    chosen = set(some.to_frame().select("user", "item").iter_rows())
    assert not chosen & set(table.filter(pl.col("label") == 0).select("user", "item").iter_rows())
    assert set(table["weekday"]) <= {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ({"item_columns": ["genres"]}, "nothing called 'genres' is known of each item; did you mean 'genre'"),
        ({"times": ["day"]}, "no part of a time is called 'day'"),
    ],
)
def test_facts_that_are_not_there_are_refused(club, choices, problem):
    with pytest.raises(ConfigError, match=problem):
        labelled_rows(club.interactions, **choices)


@pytest.mark.parametrize("count", [0, 49, 51])
def test_a_context_of_other_rows_is_refused(count, club):
    some = club.interactions.take(np.arange(50))
    with pytest.raises(DataError, match=f"the context has {count} rows for 50 interactions; expected one for each"):
        labelled_rows(some, context=club.features.head(count).select("company"))


def test_a_log_in_which_pairs_come_again_keeps_every_row_with_its_own_moment():
    log = pl.DataFrame({"user": ["a", "a", "b", "a"], "item": ["x", "x", "y", "x"], "hour": [1, 2, 3, 4]})
    with pytest.raises(DataError, match="the context has 4 rows for 2 interactions"):
        labelled_rows(attlas.read(log), context=log.select("hour"))
    table = labelled_rows(attlas.Interactions.of(log["user"], log["item"]), context=log.select("hour"), negatives=1)
    assert table.head(4).select("user", "item", "hour").equals(log)
    assert table.tail(4).rows() == [("a", "y", 1, 0), ("a", "y", 2, 0), ("b", "x", 3, 0), ("a", "y", 4, 0)]


def planted(seed: int = 0, count: int = 6000) -> tuple[Examples, np.ndarray]:
    """Two pairs of fields, one of which decides a row: with a loud ``a`` the signs of a and b, else those of c and d.

    Returns:
        The rows, and for each whether a is loud and its pair (a, b) is kept from training.
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 16, (count, 4))
    sign = np.where(kind % 2 == 0, 1, -1)
    is_loud, is_kept = kind[:, 0] < 8, (kind[:, 0] // 2 + kind[:, 1] // 2) % 4 == 0
    product = np.where(is_loud, sign[:, 0] * sign[:, 1], sign[:, 2] * sign[:, 3])
    names = dict(zip(("a", "b", "c", "d"), kind.T, strict=True))
    rows = read_examples(
        pl.DataFrame(names).with_columns(pl.Series("label", (product > 0).astype(int))), Layout(user="a", item="b")
    )
    return rows, is_loud & is_kept


def test_the_network_finds_decisive_pairs_that_never_met_in_training_and_free_logits_cannot():
    rows, is_new = planted()
    weight, auc = {}, {}
    for attention in ("network", "free"):
        inputs = ExampleInputs(rows.take(~is_new))
        torch.manual_seed(1)
        config = AFM.Config(embedding_dim=8, attention_dim=8, attention=attention, dropout=0.0, l2=0.0, stddev=0.1)
        model: Any = AFM(inputs.sizes, config)
        train(model, Descent(model, Logistic(batch_size=256), learning_rate=0.02), inputs, epochs=12, seed=1)
        fields, label = ExampleInputs(rows.take(is_new)).rows(slice(None))
        with torch.no_grad():
            weight[attention] = float(model.weigh_pairs(fields)[0][:, 0].mean())
            auc[attention] = label_auc(label.numpy(), model(fields).numpy())
    assert weight["network"] > 0.5 > weight["free"]
    assert auc["network"] > auc["free"]


def test_attlas_reads_the_club_as_labelled_rows(club):
    table = labelled_rows(club.interactions, item_columns=["genre"], context=club.features.select("daypart"))
    found = attlas.fit(read_examples(table, Layout(item_fields=("genre",))), "fm", config={"embedding_dim": 4}, epochs=1)
    assert found.inputs.features.names == ("user", "item", "daypart", "genre")
