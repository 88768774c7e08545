"""New rows, users and items in every model, without training anew; beside a new fit where the update is exact."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from attlas.auditing.audit import audit
from attlas.data.inputs import Inputs
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.errors import ArtefactError, ConfigError, DataError
from attlas.final import fit_final
from attlas.models import MODELS
from attlas.models.protocol import task_of
from attlas.recommender import Recommender, load
from attlas.runner import evaluate_run, fit, update_run
from tests.toy import QUICK, fitted, two_tastes

EVERY_MODEL = pytest.mark.parametrize("name", MODELS)
EVENS, ODDS = [f"i{item}" for item in range(0, 16, 2)], [f"i{item}" for item in range(1, 16, 2)]
# A new user of the even taste, and a new item that even users have chosen and odd ones have not.
LIKED = [("eve", item) for item in EVENS[:6]] + [(f"u{user}", "fresh") for user in range(0, 12, 2)]
DISLIKED = [("eve", item) for item in ODDS[:6]] + [(f"u{user}", "fresh") for user in range(1, 12, 2)]
WAYS = {
    **dict.fromkeys(("popularity", "itemknn", "ease", "slim"), ("exact: solved anew", "exact: solved anew")),
    "eals": ("row by row, by the model's own rule", "row by row, by the model's own rule"),
    **dict.fromkeys(("ials", "expomf", "fawmf"), ("folded in by one solve", "folded in by one solve")),
    **dict.fromkeys(("fism", "nais"), ("from the history", "fitted item vector")),
    **dict.fromkeys(("cfnet_rl", "cfnet_ml", "deepcf", "arl", "aml", "dacr"), ("from the history", "from who chose it")),
}
FITTED = ("fitted user vector", "fitted item vector")


def events_of(recommender: Recommender) -> list[tuple[Any, ...]]:
    """What has been chosen since; where ratings are learned from, what is not liked too."""
    if recommender.inputs.train.rating is None:
        return list(LIKED)
    return [(*row, 5) for row in LIKED] + [(*row, 1) for row in DISLIKED]


@functools.cache
def updated(name: str) -> Recommender:
    """A model with the new rows, made once for all tests that only ask it."""
    made = fitted(name)
    return made.update(events_of(made))


def scores(recommender: Recommender, user: str) -> dict[str, float]:
    frame = recommender.recommend([user], k=100, exclude_seen=False)
    return dict(zip(frame["item"], frame["score"], strict=True))


@EVERY_MODEL
def test_after_an_update_every_model_serves_the_new_user_and_lists_the_new_item(name):
    made = updated(name)
    told = made.card["updates"][-1]
    assert (told["user_way"], told["item_way"]) == WAYS.get(name, FITTED)
    assert (told["new_users"], told["new_items"]) == (1, 1)
    frame = made.recommend(["eve", "u14"], k=17, exclude_seen=False)
    assert set(frame["way"]) == {"known user"}
    for user in ("eve", "u14"):
        listed = frame.filter(pl.col("user") == user)["item"].to_list()
        assert sorted(listed) == sorted([*EVENS, *ODDS, "fresh"])
    assert np.isfinite(frame["score"].to_numpy()).all()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "popularity"])
def test_the_new_user_has_a_taste_and_the_new_item_is_for_those_who_have_it(name):
    made = updated(name)
    mine = scores(made, "eve")
    assert np.mean([mine[item] for item in EVENS[6:]]) > np.mean([mine[item] for item in ODDS[6:]])
    even, odd = scores(made, "u14"), scores(made, "u13")
    assert even["fresh"] - np.mean([even[item] for item in ODDS]) > odd["fresh"] - np.mean([odd[item] for item in ODDS])


@EVERY_MODEL
def test_the_recommender_that_was_updated_stays_as_it_was(name):
    made = fitted(name)
    card, weights = copy.deepcopy(made.card), copy.deepcopy(made.model.state_dict())
    before = made.recommend(["u3"], k=16, exclude_seen=False)
    made.update(events_of(made))
    assert made.card == card
    assert all(torch.equal(weights[key], tensor) for key, tensor in made.model.state_dict().items())
    assert (len(made.users), len(made.items)) == (16, 16)
    assert made.recommend(["u3"], k=16, exclude_seen=False).equals(before)


@EVERY_MODEL
def test_an_updated_run_that_is_saved_and_loaded_answers_alike_and_takes_more_in(name, tmp_path):
    made = updated(name)
    loaded = load(made.save(tmp_path / "run"))
    asked: dict[str, Any] = {"users": ["eve", "u3"], "k": 17, "exclude_seen": False}
    assert loaded.recommend(**asked).equals(made.recommend(**asked))
    more = [("adam", "i1", 5), ("adam", "i3", 5), ("adam", "fresh", 1)]
    rows = more if task_of(made.model) == "rating" else [row[:2] for row in more]
    again = loaded.update(rows)
    assert [told["new_users"] for told in again.card["updates"]] == [1, 1]
    assert again.users.ids.to_list()[-2:] == ["eve", "adam"]


def whole(name: str) -> Recommender:
    """The same model, fitted to all rows at once, in the order in which they came."""
    first = two_tastes()
    user, item = (
        [*known.ids_of(index), *(row[place] for row in LIKED)]
        for place, (known, index) in enumerate(((first.train.users, first.train.user), (first.train.items, first.train.item)))
    )
    joined = Interactions.of(user, item)
    held_out = dataclasses.replace(joined.take(np.array([0])), item=joined.items.index_of(["i1"]))
    return fit(Split(joined, None, held_out, "whole"), name, **QUICK.get(name, {}), seed=1)


@pytest.mark.parametrize("name", ["popularity", "itemknn", "ease", "slim"])
def test_a_model_that_is_solved_anew_is_the_one_that_a_fit_of_all_rows_gives(name):
    made, refit = updated(name), whole(name)
    assert made.card["updates"][-1]["is_exact"]
    for user in ("eve", "u0", "u13"):
        mine, theirs = scores(made, user), scores(refit, user)
        assert mine.keys() == theirs.keys()
        np.testing.assert_allclose([mine[item] for item in theirs], list(theirs.values()), rtol=1e-4, atol=1e-5)


def test_eals_follows_the_rows_by_its_own_rule():
    made, before = updated("eals"), fitted("eals")
    expected = copy.deepcopy(before.model)
    joined = made.inputs.train
    expected.update(Inputs(joined), joined.take(np.arange(len(joined) - len(LIKED), len(joined))))
    assert all(torch.equal(expected.state_dict()[key], tensor) for key, tensor in made.model.state_dict().items())


def test_a_user_folded_into_ials_has_the_vector_of_one_exact_solve():
    made = updated("ials")
    index = int(made.users.index_of(["eve"])[0])
    lists = Inputs(made.inputs.train).gather(["user_history"], np.array([index]), np.array([0]), leave_out="keep")
    row = made.model.fold_in(**lists)[0]
    torch.testing.assert_close(made.model.user_embedding.weight[index], row, rtol=1e-4, atol=1e-5)


def test_an_item_admitted_to_ials_solves_its_half_sweep():
    made = updated("ials")
    model, item = made.model, int(made.items.index_of(["fresh"])[0])
    config = model.config
    user = torch.from_numpy(made.inputs.train.by_item[[item]].indices.astype(np.int64))
    # The users' vectors are solved once more after the item's, so that the item's is checked on what it was solved from.
    probe = copy.deepcopy(model)
    history = made.inputs.gather(["item_history"], np.array([0]), np.array([item]), leave_out="keep")
    probe.admit(torch.tensor([item]), history["item_history"])
    table = probe.user_embedding.weight.double()
    normal = config.unobserved_weight * table.T @ table + config.alpha * table[user].T @ table[user]
    mass = len(user) + config.unobserved_weight * len(table)
    normal += config.l2 * mass**config.l2_exponent * torch.eye(len(normal))
    expected = torch.linalg.solve(normal, config.alpha * table[user].sum(0))
    torch.testing.assert_close(probe.item_embedding.weight[item].double(), expected, rtol=1e-4, atol=1e-5)


def choosers_of(made: Recommender, item: int) -> Any:
    """Who chose one item, as a model is told."""
    return made.inputs.gather(["item_history"], np.array([0]), np.array([item]), leave_out="keep")["item_history"]


def test_an_item_admitted_to_expomf_is_where_its_rounds_come_to_rest():
    made = fitted("expomf")
    model, history = copy.deepcopy(made.model), choosers_of(made, 3)
    model.admit(torch.tensor([3]), history)
    side = model.side(made.inputs, "item")
    once = model.solve(side)[3]
    torch.testing.assert_close(model.item_embedding.weight[3], once, rtol=1e-2, atol=1e-3)
    assert torch.equal(model.prior_I, made.model.prior_I)


def test_an_item_admitted_to_fawmf_has_the_exposures_of_its_choosers_and_the_factors_of_an_exact_solve():
    made = fitted("fawmf")
    model = copy.deepcopy(made.model)
    model.admit(torch.tensor([3]), choosers_of(made, 3))
    torch.testing.assert_close(model.exposure_table, made.model.exposure_table, rtol=1e-4, atol=1e-5)
    user, share = model.user_embedding.weight, model.membership.weight.softmax(-1)
    begin = torch.zeros_like(model.item_embedding.weight)
    solved = model.factors(user, share, made.inputs.item_lists, model.exposure_table, begin, None)
    torch.testing.assert_close(model.item_embedding.weight[3], solved[3], rtol=1e-3, atol=1e-4)
    others = [item for item in range(16) if item != 3]
    assert torch.equal(model.item_embedding.weight[others], made.model.item_embedding.weight[others])


@pytest.mark.parametrize("name", ["mf", "delf", "nais", "fawmf", "fm"])
def test_nothing_moves_but_the_rows_of_those_who_came_or_chose(name):
    """u15 has no new row and i15 is not new: what the model makes of this pair stays, but for who chose what."""
    made, before = updated(name), fitted(name)
    learned = dict(before.model.named_parameters())
    kept = {key: tensor for key, tensor in made.model.named_parameters() if tensor.shape == learned[key].shape}
    assert all(torch.equal(learned[key], tensor) for key, tensor in kept.items())
    for key, tensor in made.model.named_parameters():
        if key not in kept and name != "fm":
            assert torch.equal(tensor[15], learned[key][15])


def test_an_item_that_was_chosen_again_counts_twice_where_counts_are_kept():
    made = fitted("ials").update([("u0", "i2"), ("u0", "i2"), ("u0", "i4")])
    count = made.inputs.train.counts_by_user[[0]].toarray()[0]
    assert count[[2, 4, 6]].tolist() == [3, 2, 1]
    assert made.card["updates"][-1]["repeats"] == 2


def test_titles_of_new_items_come_with_them_and_others_have_none():
    titles = pl.DataFrame({"item": ["fresh", "i2"], "title": ["Fresh", "Two"]})
    made = fitted("ease").update(LIKED, items=titles)
    assert made.items.titles_of([0, 2, 16]) == ["i0", "i2", "Fresh"]


def test_what_was_held_out_stays_hidden_unless_it_has_come_in_since():
    # The withheld item of each user is the one that bears their number.
    made = fitted("ease").update([("u0", "i0"), ("u2", "i1")])
    assert len(fitted("ease").seen) == 16
    assert len(made.seen) == 15
    assert {"i0", "i2"}.isdisjoint(made.recommend(["u0"], k=20)["item"])
    assert {"i1", "i2"}.isdisjoint(made.recommend(["u2"], k=20)["item"])


def test_the_held_out_rows_of_somebody_who_came_late_join_the_history():
    everything = two_tastes().train
    is_late = everything.user == 4
    split = Split(everything.take(~is_late), None, everything.take(is_late), "late")
    made = fit(split, "ease").update([("u4", "i15")])
    chosen = made.inputs.train.by_user[[4]].indices.tolist()
    assert chosen == [0, 2, 6, 8, 10, 12, 14, 15]


def test_a_rating_model_learns_from_the_ratings_that_came():
    made = fitted("biased_mf")
    likes = made.update([("eve", item, 5) for item in EVENS[:6]] + [("eve", item, 1) for item in ODDS[:6]])
    dislikes = made.update([("eve", item, 1) for item in EVENS[:6]] + [("eve", item, 5) for item in ODDS[:6]])
    assert scores(likes, "eve")["i14"] > 3.5 > scores(likes, "eve")["i15"]
    assert scores(dislikes, "eve")["i15"] > 3.5 > scores(dislikes, "eve")["i14"]


def test_a_rating_model_refuses_rows_without_ratings():
    with pytest.raises(ConfigError, match=r"this run predicts ratings, and the new rows have none; name their column"):
        fitted("biased_mf").update(LIKED)


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        ([], DataError, "no new rows came; expected at least one with a user and an item"),
        ([("u1",)], DataError, "new rows have 1 cells; expected user and item, then perhaps rating and time"),
        ([("u1", "i1"), ("u1", "i1", 3)], DataError, "new rows have 2, 3 cells"),
        (["u1", "i1"], DataError, "new rows have 0 cells"),
        ([{"user": "u1", "film": "i1"}], DataError, "which column is the item"),
        ([{"user": None, "item": "i1"}], DataError, "does not look like the user: of 1 rows, missing user id in 1 rows"),
        (pl.DataFrame({"user": [], "item": []}), DataError, "has no usable row"),
        (pl.DataFrame({"user": ["u1"]}), DataError, "which column is the item"),
        (7, DataError, "cannot read a int; expected a path, a frame"),
    ],
)
def test_what_cannot_be_understood_is_refused(events, error, message):
    with pytest.raises(error, match=message):
        fitted("ease").update(events)


def test_a_setting_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="new rows have no setting 'usr'; did you mean 'user'"):
        fitted("ease").update(LIKED, usr="user")


def test_text_cannot_join_ids_that_are_whole_numbers():
    numbered = Interactions.of([1, 1, 2, 3], [10, 11, 10, 12])
    held_out = dataclasses.replace(numbered.take(np.array([0])), item=np.array([2]))
    made = fit(Split(numbered, None, held_out, "by-hand"), "popularity")
    assert made.update([("7", "10")]).users.ids.to_list() == [1, 2, 3, 7]
    with pytest.raises(DataError, match="user 'seven' is no whole number, and all known users are, such as 1"):
        made.update([("seven", 10)])


def test_a_model_with_weights_for_pairs_of_features_says_that_it_takes_nobody_new():
    made = fit(two_tastes(), "afm", config={"embedding_dim": 2, "attention": "free"}, epochs=1)
    with pytest.raises(ConfigError, match=r"free has a weight for each pair of features, .*; fit anew"):
        made.update(LIKED)


@pytest.fixture
def run(tmp_path):
    return fitted("ease").save(tmp_path / "run")


def written(folder: Any, rows: list[tuple[Any, ...]]) -> Any:
    path = folder / "new.csv"
    pl.DataFrame(rows, schema=["user", "item"], orient="row").write_csv(path)
    return path


def test_a_run_is_updated_in_its_place_or_beside_it(run, tmp_path):
    table = written(tmp_path, LIKED)
    (run / "metrics.jsonl").write_text("{}\n")
    update_run(run, table, out=tmp_path / "other")
    assert (len(load(run).users), len(load(tmp_path / "other").users)) == (16, 17)
    update_run(run, table)
    assert len(load(run).users) == 17
    assert (run / "metrics.jsonl").read_text() == "{}\n"
    with pytest.raises(ArtefactError, match="is not empty; choose another --out"):
        update_run(run, table, out=tmp_path / "other")


def test_an_update_that_fails_or_is_stopped_leaves_the_run_and_nothing_beside_it(run, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in run.iterdir()}

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    table = written(tmp_path, LIKED)
    for place in ("attlas.artefact.save_tensors", "attlas.updating.train"):
        with monkeypatch.context() as patch:
            patch.setattr(place, stop)
            with pytest.raises(KeyboardInterrupt):
                update_run(run, table)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "run"]


def test_what_else_lies_in_a_run_is_not_lost_by_an_update_in_its_place(run, tmp_path):
    (run / "recs.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtefactError, match=r"run holds recs\.parquet, which is no part of a run and would be lost"):
        update_run(run, written(tmp_path, LIKED))
    assert (run / "recs.parquet").is_file()
    assert len(load(run).users) == 16


@pytest.mark.parametrize("name", [".", "whole"])
def test_a_run_is_not_replaced_under_whoever_stands_in_it(name, run, tmp_path, monkeypatch, command):
    table, before = written(tmp_path, LIKED), {path.name: path.read_bytes() for path in run.iterdir()}
    monkeypatch.chdir(run)
    said = command("update", run if name == "whole" else name, "--data", table)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert "is where you stand" in said.err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"user,item\n", "no usable row"),
        (b"user,thing\nu1,i1\n", "which column is the item"),
        (b"user,item\nNaN,i1\n,i2\n", "does not look like the user"),
        (b"\x89PNG\r\n", "a picture"),
        (b"PAR1 and nothing else", "Parquet file that is cut off or damaged"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_and_the_run_stays(run, tmp_path, content, message):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    (tmp_path / "new.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        update_run(run, tmp_path / "new.csv")
    with pytest.raises(DataError, match=message):
        update_run(run, tmp_path / "new.csv", out=tmp_path / "other")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "run"]


def test_rows_without_a_rating_among_others_are_dropped_and_said():
    rows = pl.DataFrame({"user": ["eve", "eve", "u1"], "item": ["i0", "i2", "i4"], "rating": [5.0, float("nan"), 4.0]})
    made = fitted("biased_mf").update(rows)
    assert made.card["updates"][-1]["rows"] == 2


def test_an_updated_run_is_not_measured_on_rows_that_it_may_have_learned_from(run, tmp_path):
    update_run(run, written(tmp_path, LIKED))
    with pytest.raises(ArtefactError, match="has taken rows in since it was measured"):
        evaluate_run(run)


@pytest.mark.parametrize("ask", [audit, fit_final])
def test_an_updated_run_is_not_said_to_have_other_data(ask, run, tmp_path):
    update_run(run, written(tmp_path, LIKED))
    with pytest.raises(ArtefactError, match="has taken rows in since it was fitted; take the run that it was made from"):
        ask(run, data=two_tastes())


def test_the_command_says_what_came_in_and_by_which_way(run, tmp_path, command):
    table = written(tmp_path, LIKED)
    said = command("update", run, "--data", table, "--out", tmp_path / "other")
    assert said.code == 0, said.err
    for sentence in (
        "12 rows came in, 0 of them about a known pair",
        "7 users have new rows, 1 of them new: exact: solved anew",
    ):
        assert sentence in " ".join(said.out.split())
    told = command("update", run, "--data", table, "--json").json
    assert (told["run"], told["rows"], told["new_items"], told["is_exact"]) == (str(run), 12, 1, True)
    assert json.loads((run / "run.json").read_text())["updates"][0]["rows"] == 12
    (tmp_path / "empty.csv").write_text("user,item\n")
    wrong = command("update", run, "--data", tmp_path / "empty.csv")
    assert wrong.code != 0
    assert "no usable row" in " ".join(wrong.err.split())
