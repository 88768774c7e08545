"""Strangers of models of feature fields: by what is said of them, by what they have chosen, and by both."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

import attlas
from attlas.data.inputs import Inputs
from attlas.data.labelled import Layout, read_examples
from attlas.errors import ConfigError, DataError, UnknownId
from attlas.growth import rows_of_users
from attlas.guests import receive
from attlas.models.nfm import NFM
from attlas.runner import fit
from attlas.strangers import one_row, score_strangers
from tests.toy import chosen_by, fitted

LAYOUT = Layout(user_fields=("taste", "age", "likes"), numbers=("age",), bags=("likes",))
TINY = {
    "fm": {"embedding_dim": 4},
    "nfm": {"embedding_dim": 4, "layers": (4,), "dropout": 0.0, "hidden_dropout": 0.0},
    "deepfm": {"embedding_dim": 4, "layers": (8,), "dropout": 0.0},
    "afm": {"embedding_dim": 4, "attention_dim": 3},
}
QUICK = {"solver": {"batch_size": 64, "learning_rate": 0.03}, "epochs": 6}


def frame(count: int = 1200) -> pl.DataFrame:
    """Sixteen users of two tastes and ten items; a taste decides, but at odd hours everything is disliked."""
    rng = np.random.default_rng(7)
    user, item, hour = (rng.integers(0, size, count) for size in (16, 10, 2))
    fits = (user % 2 == item % 2) & ((hour == 0) | (rng.random(count) < 0.2))
    return pl.DataFrame(
        {
            "user": [f"u{one}" for one in user],
            "item": [f"i{one}" for one in item],
            "taste": ["even" if one % 2 == 0 else "odd" for one in user],
            "age": 20.0 + user,
            "likes": ["red|blue" if one % 2 == 0 else "green" for one in user],
            "hour": hour,
            "label": fits.astype(int),
        }
    )


@pytest.fixture(scope="module")
def made():
    rows = read_examples(frame(), LAYOUT)
    runs = {}
    for name, config in TINY.items():
        runs[name] = fit(rows, name, config=config, **QUICK)
    return runs


def is_even(item: str) -> bool:
    return int(item[1:]) % 2 == 0


def margin(found: pl.DataFrame) -> float:
    """How much higher even items score than odd ones, in the mean."""
    even = found["item"].map_elements(is_even, return_dtype=pl.Boolean)
    return float(found.filter(even)["score"].mean()) - float(found.filter(~even)["score"].mean())


@pytest.mark.parametrize("name", TINY)
def test_what_is_said_of_a_stranger_decides(name, made):
    asked = {"k": 10, "exclude_seen": False}
    even = made[name].recommend_for([], features={"taste": "even", "likes": "red|blue", "hour": 0}, **asked)
    odd = made[name].recommend_for([], features={"taste": "odd", "likes": ["green"], "hour": 0}, **asked)
    assert margin(even) > 0 > margin(odd)
    assert set(even["way"]) == {"unknown user; unknown: age"}


@pytest.mark.parametrize("name", TINY)
def test_what_a_stranger_has_chosen_is_heard_where_nothing_is_said(name, made):
    even = made[name].recommend_for(["i0", "i2", "i4"], k=10, exclude_seen=False)
    odd = made[name].recommend_for(["i1", "i3", "i5"], k=10, exclude_seen=False)
    assert margin(even) > margin(odd)
    assert set(even["way"]) == {"fitted user vector"}
    assert made[name].recommend_for(["i4", "i0", "i2", "i0"], k=10, exclude_seen=False).equals(even)


def test_a_history_moves_all_scores_of_a_linear_model_alike():
    linear = fit(read_examples(frame(), LAYOUT), "linear", **QUICK)
    known = linear.recommend_for(["i0", "i2", "i4"], k=10, exclude_seen=False).sort("item")
    unknown = linear.recommend_for([], k=10, features={}, exclude_seen=False).sort("item")
    assert set(known["way"]) == {"fitted user vector"}
    assert unknown["way"][0].startswith("unknown user")
    moved = known["score"].to_numpy() - unknown["score"].to_numpy()
    assert moved[0] != 0
    np.testing.assert_allclose(moved, moved[0], atol=1e-5)


def test_a_history_and_what_is_said_are_heard_together(made):
    said = {"taste": "even", "hour": 0}
    alone = made["fm"].recommend_for([], k=10, features=said, exclude_seen=False)
    both = made["fm"].recommend_for(["i1", "i3", "i5", "i7"], k=10, features=said, exclude_seen=False)
    assert margin(both) < margin(alone)
    assert set(both["way"]) == {"fitted user vector; unknown: age, likes"}


def test_the_moment_counts(made):
    early, late = (made["fm"].recommend_for([], k=10, features={"taste": "even", "hour": hour}) for hour in (0, 1))
    assert early["score"].mean() > late["score"].mean()


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("said", [{}, {"taste": "odd"}, {"age": 23, "likes": "blue", "hour": 1}])
def test_a_described_stranger_is_scored_by_the_row_of_their_features(name, said, made):
    """Written out: the unknown user, each feature by its category, and the item."""
    recommender = made[name]
    guest = receive(recommender.scorer, one_row(np.zeros(0, np.int64), 10), said)
    features = guest.scorer.inputs.features
    crossed = features.crossed(torch.zeros(1, dtype=torch.int64), guest.moment)
    with torch.no_grad():
        one_by_one = [float(recommender.model(fields=_one(crossed.rows(0), item))) for item in range(10)]
    found = recommender.recommend_for([], k=10, features=said, exclude_seen=False)
    place = recommender.items.index_of(found["item"].to_list())
    np.testing.assert_allclose(found["score"].to_numpy(), np.array(one_by_one)[place], rtol=1e-4, atol=1e-5)
    named = dict(zip(features.names, features.said(crossed.rows(0).index[0].tolist(), crossed.asker.bags), strict=True))
    assert named["user"] == "unknown"
    assert named["taste"] == said.get("taste", "unknown")
    assert named["likes"] == said.get("likes", "unknown")


def _one(fields, row):
    value = None if fields.value is None else fields.value[row : row + 1]
    return type(fields)(fields.index[row : row + 1], value, fields.bags)


def test_a_stranger_said_to_be_like_a_known_user_but_for_the_id_is_the_unknown_user_of_that_kind(made):
    recommender = made["fm"]
    known = recommender.inputs.features
    index = known.user_index[int(recommender.users.index_of(["u4"])[0])]
    guest = receive(
        recommender.scorer, one_row(np.zeros(0, np.int64), 10), {"taste": "even", "age": 24, "likes": ["red", "blue"]}
    )
    mine = guest.scorer.inputs.features.user_index[0]
    places = known.places("user")
    assert [known.names[place] for place in places] == ["user", "taste", "age", "likes"]
    assert mine[1:3].tolist() == index[1:3].tolist()
    assert mine[0] == known.unknown[places[0]]
    value = guest.scorer.inputs.features.user_value[0]
    np.testing.assert_allclose(value, known.user_value[int(recommender.users.index_of(["u4"])[0])], rtol=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_neither_the_model_nor_its_features_are_changed_by_a_stranger(name, made):
    recommender = made[name]
    weights = {key: tensor.clone() for key, tensor in recommender.model.state_dict().items()}
    before = recommender.recommend(["u3"], k=10, exclude_seen=False)
    recommender.recommend_for(["i0", "i2"], k=3, features={"taste": "even", "likes": "red"})
    assert all(torch.equal(weights[key], tensor) for key, tensor in recommender.model.state_dict().items())
    assert recommender.recommend(["u3"], k=10, exclude_seen=False).equals(before)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    ("history", "said"),
    [(["i0", "i2", "i4"], None), ([], {"taste": "odd", "hour": 1}), (["i1", "i3"], {"taste": "even", "hour": 0})],
)
def test_a_strangers_explained_score_is_the_one_that_is_offered(name, history, said, made):
    offered = made[name].recommend_for(history, k=10, features=said, exclude_seen=False)
    found = made[name].explain(None, "i8", history=history, features=said)
    assert found.score == pytest.approx(offered.filter(pl.col("item") == "i8")["score"].item(), abs=1e-4)
    assert offered["way"][0].startswith(found.way)
    assert found.method in ("pairs", "deletion")
    features = dict([*found.pairs.select("field", "feature").rows(), *found.pairs.select("other_field", "other").rows()])
    assert features["user"] == ("as fitted" if history else "unknown")
    assert features["item"] == "i8"
    assert features["taste"] == (said or {}).get("taste", "unknown")
    assert "likes" in found.unknown


def test_a_moment_said_as_context_counts_for_a_stranger_with_a_history(made):
    by_context, by_features = (
        made["afm"].explain(None, "i8", history=["i0"], **{name: {"hour": 1}}) for name in ("context", "features")
    )
    assert by_context.to_dict() == by_features.to_dict()
    assert by_context.score != made["afm"].explain(None, "i8", history=["i0"]).score


def test_who_has_chosen_nothing_and_of_whom_nothing_is_said_is_explained_by_popularity(made):
    found = made["fm"].explain(None, "i8", history=[])
    assert (found.way, found.method) == ("popular", "popularity")


def test_strangers_together_are_scored_as_they_are_alone():
    scorer = fitted("fm").scorer
    many = chosen_by([[0, 2, 4], [1], [], [3, 5, 7, 9]], 16).by_user
    together = score_strangers(scorer, many)
    for place, items in enumerate(([0, 2, 4], [1], [], [3, 5, 7, 9])):
        alone = score_strangers(scorer, one_row(np.array(items, np.int64), 16))[0]
        np.testing.assert_allclose(together[place], alone, rtol=1e-3, atol=1e-4)


def test_a_history_is_not_recommended_again_and_an_unknown_item_is_an_error(made):
    found = made["fm"].recommend_for(["i0", "i2"], k=10, features={"taste": "even"})
    assert {"i0", "i2"}.isdisjoint(found["item"])
    with pytest.raises(UnknownId, match="item 'i99' is not among the 10 known items"):
        made["fm"].recommend_for(["i99"], features={"taste": "even"})


def test_unknown_categories_are_said_aloud(made):
    found = made["fm"].recommend_for([], k=1, features={"taste": "bitter", "age": 30, "likes": ["red", "beige"], "hour": 0})
    assert found["way"].to_list() == ["unknown user; unknown: taste"]


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (
            {"tastes": "even"},
            ConfigError,
            "feature 'tastes' is no field of a user, nor a field of the context; did you mean 'taste'",
        ),
        ({"user": "u3"}, ConfigError, "feature 'user' is no field of a user"),
        ({"item": "i3"}, ConfigError, "feature 'item' is no field of a user"),
        ({"age": "old"}, DataError, "has cells such as 'old'; expected numbers"),
    ],
)
def test_what_is_no_feature_is_refused(said, error, message, made):
    with pytest.raises(error, match=message):
        made["fm"].recommend_for([], features=said)


@pytest.mark.parametrize("name", ["ease", "mf", "fm"])
def test_a_run_on_interactions_knows_no_features(name):
    with pytest.raises(ConfigError, match="learned from interactions and knows no features of users; give a history alone"):
        fitted(name).recommend_for(["i0"], features={"age": 20})
    with pytest.raises(ConfigError, match="learned from interactions and knows no features of users; give a history alone"):
        fitted(name).explain(None, "i4", history=["i0"], features={"age": 20})


def test_features_are_said_of_strangers_alone(made):
    with pytest.raises(ConfigError, match="features are those of a stranger; of a user's moment speak by context"):
        made["fm"].explain("u3", "i8", features={"hour": 1})
    with pytest.raises(ConfigError, match="feature 'tastes' is no field of a user, nor a field of the context; did you mean"):
        made["fm"].explain(None, "i8", history=[], features={"tastes": "even"})


def test_a_loaded_run_hears_the_same(made, tmp_path):
    loaded = attlas.load(made["afm"].save(tmp_path / "run"))
    asked = {"k": 5, "features": {"taste": "odd", "age": 21, "likes": "green|red"}}
    assert loaded.recommend_for(["i1"], **asked).equals(made["afm"].recommend_for(["i1"], **asked))


def test_the_command_line_says_what_is_known_of_a_stranger(made, tmp_path, command):
    run = made["fm"].save(tmp_path / "run")
    found = command("recommend", run, "--feature", "taste=even", "--feature", "likes=red|blue", "-k", "2", "--json")
    assert found.code == 0, found.err
    assert [row["way"] for row in found.json] == ["unknown user; unknown: hour, age"] * 2
    both = command("recommend", run, "--history", "i0,i2", "--feature", "taste=even", "-k", "2", "--json")
    assert {row["way"] for row in both.json} == {"fitted user vector; unknown: hour, age, likes"}
    why = command("explain", run, "i8", "--feature", "taste=even", "--feature", "likes=red|blue", "--json")
    assert why.code == 0, why.err
    assert (why.json["way"], why.json["method"], why.json["unknown"]) == ("unknown user", "pairs", ["hour", "age"])
    wrong = command("recommend", run, "--feature", "taste")
    assert "--feature 'taste' does not fit; write FIELD=CATEGORY" in wrong.err


def test_a_layer_as_wide_as_there_are_features_is_no_table_of_them():
    inputs = Inputs(chosen_by([[0, 1], [1, 2], [0]], 4))  # 3 + 1 features of users and 4 + 1 of items
    model = NFM(inputs.sizes, NFM.Config(embedding_dim=2, layers=(9,)))
    assert len(model.layers[0].weight) == len(model.factors.weight) == 9
    assert set(rows_of_users(model, inputs.features, np.array([0]))) == {"factors.vector", "factors.weight"}


def test_a_run_on_labelled_rows_takes_in_the_positive_ones(made):
    rows = pl.DataFrame({"user": ["eve"] * 4, "item": ["i0", "i2", "i1", "fresh"], "label": [1, 1, 0, 1]})
    updated = made["fm"].update(rows)
    told = updated.card["updates"][-1]
    assert (told["rows"], told["new_users"], told["new_items"]) == (3, 1, 1)
    features = updated.inputs.given_features
    own = features.places("user")[0]
    assert features.user_index[-1, 0] == features.first[own] + 16 == features.unknown[own] - 1
    assert features.user_index[-1, 1:].tolist() == [features.unknown[place] for place in features.places("user")[1:]]
    frame = updated.recommend(["eve"], k=11, context={"hour": 0}, exclude_seen=False)
    assert set(frame["way"]) == {"known user"}
    assert "fresh" in set(frame["item"])
    for user in ("u3", "u4"):
        before = made["fm"].recommend([user], k=10, context={"hour": 0}, exclude_seen=False)
        after = updated.recommend([user], k=11, context={"hour": 0}, exclude_seen=False)
        mine = dict(zip(after["item"], after["score"], strict=True))
        np.testing.assert_allclose([mine[item] for item in before["item"]], before["score"].to_numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_what_is_known_of_a_newcomer_comes_in_with_them(name, made):
    facts = pl.DataFrame({"user": ["eve", "u1"], "taste": ["even", "odd"], "age": [24.0, 21.0], "likes": ["red|blue", "green"]})
    updated = made[name].update([("eve", "i0"), ("u1", "i1")], users=facts, positive="")
    features, known = updated.inputs.given_features, made[name].inputs.given_features
    alike = int(updated.users.index_of(["u4"])[0])
    for one in (features.user_index, features.user_value):
        np.testing.assert_allclose(one[-1][1:3], one[alike][1:3], rtol=1e-6)
    said = [features.said(row, features.bags) for row in _full(features, [alike, -1])]
    assert said[0][1:] == said[1][1:]
    assert len(known.user_index) == len(features.user_index) - 1
    frame = updated.recommend(["eve"], k=10, context={"hour": 0}, exclude_seen=False)
    assert margin(frame) > 0


def _full(features, users):
    """Whole rows of some users, with all else unknown."""
    pairs = features.pairs(torch.tensor([user % len(features.user_index) for user in users]), torch.tensor([-1] * len(users)))
    return [[int(at) for at in row] for row in pairs.index]
