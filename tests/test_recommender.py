import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from attlas import artefact
from attlas.data.inputs import Inputs
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ArtefactError, ConfigError, UnknownId
from attlas.recommender import Recommender, load
from attlas.runner import fit
from tests.toy import QUICK, chosen_by, fitted, two_tastes

EVENS = {f"i{item}" for item in range(0, 16, 2)}


class Table(nn.Module):
    """Scores that are written down, one row per user."""

    def __init__(self, score_UI):
        super().__init__()
        self.register_buffer("score_UI", torch.tensor(score_UI))

    def forward(self, user, item):
        return self.score_UI[user, item]

    def score_catalogue(self, user):
        return self.score_UI[user]


# User 0 has chosen item 0 and item 4 was held out; user 1 has chosen items 1 and 2, user 2 item 1. Item 1 is the most popular.
TRAIN = chosen_by([[0], [1, 2], [1]], 5)
SCORES = [[5.0, 4.0, 3.0, 2.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0], [0.0, 9.0, 0.0, 0.0, 7.0]]


def by_table(train: Interactions = TRAIN, budget: int = 2**20) -> Recommender:
    held_out = dataclasses.replace(train.take(np.array([0])), item=np.array([4]))
    card = {"model": {"name": "table"}}
    return Recommender(Table(SCORES), Inputs(train), card=card, seen=held_out, budget=budget)


def items_of(frame: pl.DataFrame) -> list:
    return frame["item"].to_list()


def test_an_answer_names_user_rank_item_title_score_and_way():
    assert by_table().recommend(["u1"], k=2).to_dicts() == [
        {"user": "u1", "rank": 1, "item": "i4", "title": "i4", "score": 5.0, "way": "known user"},
        {"user": "u1", "rank": 2, "item": "i3", "title": "i3", "score": 4.0, "way": "known user"},
    ]


def test_what_a_user_has_chosen_is_not_recommended_nor_is_what_was_held_out():
    assert items_of(by_table().recommend(["u0"], k=5)) == ["i1", "i2", "i3"]


def test_what_a_user_has_chosen_is_ranked_too_if_asked_for():
    assert items_of(by_table().recommend(["u0"], k=5, exclude_seen=False)) == ["i4", "i0", "i1", "i2", "i3"]


def test_only_candidates_are_ranked_and_seen_ones_stay_out():
    recommender = by_table()
    assert items_of(recommender.recommend(["u0"], k=5, candidates=["i3", "i0", "i1"])) == ["i1", "i3"]
    assert items_of(recommender.recommend(["u0"], k=5, candidates=["i3", "i0"], exclude_seen=False)) == ["i0", "i3"]
    assert items_of(recommender.recommend(["u0"], k=5, candidates=["i0"])) == []
    assert items_of(recommender.recommend(["u0"], k=5, candidates=[])) == []


def test_more_than_what_is_left_gives_what_is_left():
    frame = by_table().recommend(["u0", "u1"], k=1000)
    assert frame["user"].to_list() == ["u0"] * 3 + ["u1"] * 3
    assert frame["rank"].to_list() == [1, 2, 3, 1, 2, 3]


def test_users_are_answered_in_the_order_they_are_asked_for_and_as_often():
    frame = by_table().recommend(["u2", "u0", "u2"], k=1)
    assert frame["user"].to_list() == ["u2", "u0", "u2"]
    assert items_of(frame) == ["i4", "i1", "i4"]


def test_one_user_may_be_asked_for_without_a_list():
    assert by_table().recommend("u1", k=1).equals(by_table().recommend(["u1"], k=1))


def test_an_unknown_user_is_an_error_that_names_the_way_for_strangers():
    with pytest.raises(UnknownId, match=r"user 'u9' is not among the 3 known users; .*strangers: recommend_for\(item_ids\)"):
        by_table().recommend(["u1", "u9"])


def test_an_unknown_user_gets_the_most_popular_if_asked_for_and_each_row_says_how_it_was_made():
    frame = by_table().recommend(["u9", "u2"], k=2, unknown="popular")
    assert frame["way"].to_list() == ["popular", "popular", "known user", "known user"]
    assert items_of(frame) == ["i1", "i0", "i4", "i0"]
    assert frame["score"].to_list() == [2.0, 1.0, 7.0, 0.0]


def test_nobody_asked_for_gets_an_empty_answer_with_the_same_columns():
    frame = by_table().recommend([])
    assert frame.height == 0
    assert frame.columns == by_table().recommend(["u1"]).columns


@pytest.mark.parametrize("budget", [1, 130, 2**20])
def test_the_budget_cuts_an_answer_into_blocks_and_changes_nothing(budget):
    recommender = by_table(budget=budget)
    users = ["u2", "u0", "u1", "u1"]
    blocks = list(recommender.recommend_blocks(users, k=3))
    assert [block["user"].n_unique() for block in blocks][:1] == [min(3, recommender.scorer.users_at_once)]
    assert pl.concat(blocks).equals(by_table().recommend(users, k=3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"unknown": "guess"}, ConfigError, "unknown='guess'; expected 'error' or 'popular'"),
        ({"candidates": ["i1", "i77"]}, UnknownId, "item 'i77' is not among the 5 known items"),
    ],
)
def test_a_wrong_request_is_an_error(options, error, message):
    with pytest.raises(error, match=message):
        by_table().recommend(["u1"], **options)


@pytest.mark.parametrize("k", [0, -1, 2.5, 2.0, "3", None, True])
@pytest.mark.parametrize(
    "ask",
    [
        lambda k: by_table().recommend(["u1"], k),
        lambda k: by_table().recommend_for(["i1"], k),
        lambda k: by_table().similar_items("i1", k),
    ],
    ids=["recommend", "recommend_for", "similar_items"],
)
def test_k_is_a_whole_number_of_at_least_1(ask, k):
    with pytest.raises(ConfigError, match=f"k is {k!r}; expected a whole number of at least 1"):
        ask(k)


def test_k_may_be_a_whole_number_of_numpys():
    assert by_table().recommend(["u1"], np.int64(2)).equals(by_table().recommend(["u1"], 2))


def test_one_item_without_a_list_is_a_list_of_one():
    recommender, ease = by_table(), fitted("ease")
    assert items_of(recommender.recommend(["u0"], candidates="i3")) == ["i3"]
    assert ease.recommend_for("i4").equals(ease.recommend_for(["i4"]))
    assert ease.explain(None, "i2", history="i4").to_dict() == ease.explain(None, "i2", history=["i4"]).to_dict()


def test_the_whole_number_0_may_be_asked_for_without_a_list():
    recommender = by_table(Interactions.of([0, 1, 1, 2, 2], [0, 1, 2, 3, 4]))
    assert recommender.recommend(0, k=1)["user"].to_list() == [0]
    assert items_of(recommender.recommend([0], candidates=3)) == [3]
    assert set(recommender.recommend_for(0)["item"]) == {1, 2, 3, 4}


def test_an_answer_without_rows_stands_beside_others_with_the_same_columns():
    recommender = by_table(budget=1)
    frames = list(recommender.recommend_blocks(["u0", "u1"], candidates=["i0"]))
    assert [frame.height for frame in frames] == [0, 1]
    assert frames[0].schema == frames[1].schema == recommender.recommend([]).schema
    assert items_of(recommender.recommend(["u0", "u1"], candidates=["i0"])) == ["i0"]


NUMBERED = Interactions.of([10, 20, 20, 30, 30], [500, 501, 502, 503, 504])


@pytest.mark.parametrize(
    ("users", "answered"),
    [
        (["20", 10, 30.0], [20, 10, 30]),
        (["99", 20], [99, 20]),
        (["zz", 20], ["zz", "20"]),
        ([None, 2.5, 20], ["None", "2.5", "20"]),
    ],
)
@pytest.mark.parametrize("budget", [1, 2**20])
def test_the_user_of_an_answer_is_spelled_as_in_the_data_or_all_are_text(users, answered, budget):
    frame = by_table(NUMBERED, budget).recommend(users, k=1, unknown="popular")
    assert frame["user"].to_list() == answered


def test_whole_numbers_asked_of_text_ids_are_answered_as_text():
    frame = by_table(Interactions.of(list("12333"), list("abcde"))).recommend([3, "x", 1], k=1, unknown="popular")
    assert frame["user"].to_list() == ["3", "x", "1"]


def test_whole_number_ids_stay_whole_numbers_and_text_that_spells_them_is_understood():
    recommender = by_table(NUMBERED)
    frame = recommender.recommend([20], k=1)
    assert (frame["user"].dtype, frame["item"].dtype) == (pl.Int64, pl.Int64)
    assert items_of(recommender.recommend(["20"], k=1)) == items_of(frame)


def test_titles_stand_beside_their_items():
    train = TRAIN.with_items(pl.DataFrame({"title": ["A", "B", "C", None, "E"]}))
    assert by_table(train).recommend(["u1"], k=2)["title"].to_list() == ["E", "i3"]


# Strangers.


def test_a_stranger_with_a_known_users_history_gets_that_users_scores_from_a_model_that_asks_for_no_user():
    recommender = fitted("ease")
    history = recommender.items.ids_of(recommender.inputs.train.by_user[[3]].indices)
    stranger = recommender.recommend_for(history, k=16, exclude_seen=False)
    known = recommender.recommend(["u3"], k=16, exclude_seen=False)
    assert set(stranger["way"]) == {"from the history"}
    np.testing.assert_allclose(stranger.sort("item")["score"], known.sort("item")["score"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "way"), [("ease", "from the history"), ("delf", "fitted user vector")])
@pytest.mark.parametrize("first", [0, 1])
def test_a_stranger_is_served_according_to_taste(name, way, first):
    history = [f"i{first}", f"i{first + 4}", f"i{first + 10}"]
    frame = fitted(name).recommend_for(history, k=5)
    assert {int(item[1:]) % 2 for item in frame["item"]} == {first}
    assert set(frame["way"]) == {way}
    assert not set(frame["item"]) & set(history)


@pytest.mark.parametrize("name", ["ease", "delf"])
def test_the_order_and_repetition_of_a_strangers_history_do_not_matter(name):
    one = fitted(name).recommend_for(["i2", "i8", "i4"], k=4)
    assert fitted(name).recommend_for(["i4", "i2", "i8", "i4"], k=4).equals(one)


def test_serving_a_stranger_leaves_the_model_as_it_was():
    recommender = fitted("delf")
    before = {name: tensor.clone() for name, tensor in recommender.model.state_dict().items()}
    expected = recommender.recommend(["u3"], k=3)
    recommender.recommend_for(["i0", "i3"])
    assert all(torch.equal(before[name], tensor) for name, tensor in recommender.model.state_dict().items())
    assert recommender.recommend(["u3"], k=3).equals(expected)


@pytest.mark.parametrize("name", ["ease", "delf", "popularity"])
def test_an_empty_history_gets_the_most_popular_and_the_answer_says_so(name):
    frame = fitted(name).recommend_for([], k=3)
    assert set(frame["way"]) == {"popular"}
    assert items_of(frame) == ["i0", "i1", "i2"]  # all are equally popular, so that the lowest come first
    assert set(frame["score"]) == {7.0}


def test_popularity_serves_every_stranger_the_popular_without_what_was_chosen():
    frame = fitted("popularity").recommend_for(["i0", "i2"], k=2)
    assert (items_of(frame), set(frame["way"])) == (["i1", "i3"], {"popular"})


@pytest.mark.parametrize("name", ["ease", "delf"])
def test_a_stranger_who_has_chosen_everything_has_nothing_left(name):
    everything = fitted(name).items.ids.to_list()
    assert fitted(name).recommend_for(everything, k=3).height == 0


def test_an_unknown_item_in_a_strangers_history_is_an_error():
    with pytest.raises(UnknownId, match="item 'i99' is not among the 16 known items"):
        fitted("ease").recommend_for(["i1", "i99"])


# Users who have an index, but no rows in the training data.


def came_late(name: str) -> Recommender:
    """A trained model for two more users: of u16 the items i2, i6 and i10 are held out, of u17 nothing is known at all."""
    train = two_tastes().train
    users = Vocabulary([f"u{user}" for user in range(18)], noun="user")
    held_out = Interactions(users, train.items, np.array([16, 16, 16]), np.array([2, 6, 10]))
    return fit(
        Split(Interactions(users, train.items, train.user, train.item), None, held_out, "late"), name, **QUICK.get(name, {})
    )


LATE = ["i2", "i6", "i10"]


@pytest.mark.parametrize(("name", "way"), [("ease", "from the history"), ("delf", "fitted user vector")])
def test_a_user_without_training_rows_is_answered_as_a_stranger_with_the_held_out_items(name, way):
    recommender = came_late(name)
    known, late, unheard = recommender.recommend(["u3", "u16", "u17"], k=5).partition_by("user", include_key=False)
    assert late.equals(recommender.recommend_for(LATE, k=5))
    assert unheard.equals(recommender.recommend_for([], k=5))
    assert [set(frame["way"]) for frame in (known, late, unheard)] == [{"known user"}, {way}, {"popular"}]


@pytest.mark.parametrize("name", ["ease", "delf"])
def test_what_is_explained_to_a_user_without_training_rows_is_explained_as_to_that_stranger(name):
    recommender = came_late(name)
    assert recommender.explain("u16", "i8").to_dict() == recommender.explain(None, "i8", history=LATE).to_dict()
    assert recommender.explain("u17", "i8").to_dict() == recommender.explain(None, "i8", history=[]).to_dict()


def test_popularity_is_the_same_for_everybody_and_says_who_is_known():
    frame = came_late("popularity").recommend(["u3", "u16"], k=1, exclude_seen=False)
    assert frame.drop("user").rows() == [(1, "i0", "i0", 7.0, "known user"), (1, "i0", "i0", 7.0, "popular")]


def test_a_model_that_can_fit_nobody_new_answers_such_a_user_with_what_is_popular():
    frame = by_table(chosen_by([[], [1, 2], [1]], 5)).recommend(["u0"], k=1)
    assert (items_of(frame), frame["way"].to_list()) == (["i1"], ["popular"])


# Similar items.


@pytest.mark.parametrize(("name", "way"), [("ease", "item weights"), ("delf", "item codes"), ("popularity", "chosen together")])
def test_similar_items_share_the_taste_and_leave_the_item_itself_out(name, way):
    frame = fitted(name).similar_items("i4", k=7)
    assert set(items_of(frame)) == EVENS - {"i4"}
    assert set(frame["way"]) == {way}


@pytest.mark.parametrize("name", ["nais", "fism", "mf", "biased_mf", "aimf"])
def test_how_popular_items_are_does_not_make_them_alike(name):
    made, model = fitted(name), copy.deepcopy(fitted(name).model)
    bias = model.item_bias if isinstance(model.item_bias, nn.Parameter) else model.item_bias.weight
    with torch.no_grad():
        bias += 5 * torch.arange(16.0).view_as(bias)
    before, after = (
        one.similar_items("i4", k=15).sort("item") for one in (made, Recommender(model, made.inputs, card=made.card))
    )
    np.testing.assert_allclose(after["score"], before["score"], atol=1e-4)


def test_items_chosen_together_are_alike_by_the_cosine_of_who_chose_them():
    frame = by_table().similar_items("i2", k=2)
    # Items 1 and 2 share one user; item 1 has two users and item 2 one: 1 / sqrt(2 * 1).
    assert items_of(frame) == ["i1", "i0"]
    assert frame["score"].to_list() == pytest.approx([0.5**0.5, 0.0])


def test_an_unknown_item_has_no_similar_ones():
    with pytest.raises(UnknownId, match="item 'i99'"):
        by_table().similar_items("i99")


# On disk.


@pytest.fixture
def run(tmp_path) -> Path:
    return fitted("ease").save(tmp_path / "run")


def test_a_run_loads_when_its_data_file_is_gone(tmp_path):
    table = tmp_path / "ratings.csv"
    two_tastes().train.to_frame().write_csv(table)
    fit(table, "ease", out=tmp_path / "run", split="leave-random-out")
    table.unlink()
    # Of the even items all but i2 are in the file, for training or held out, and so are hidden.
    assert items_of(load(tmp_path / "run").recommend(["u2"], k=1)) == ["i2"]


def test_a_loaded_run_answers_and_hides_as_the_saved_one_did(run):
    users = [f"u{user}" for user in range(16)]
    assert load(run).recommend(users, k=20).equals(fitted("ease").recommend(users, k=20))
    assert load(run).card["model"] == fitted("ease").card["model"]


@pytest.mark.parametrize("name", ["ease [v2]", "what?", "a*b", "model=ease"])
def test_a_run_in_a_folder_with_signs_of_a_pattern_is_loaded(name, tmp_path):
    saved = fitted("ease").save(tmp_path / name)
    assert load(saved).recommend(["u3"], k=3).equals(fitted("ease").recommend(["u3"], k=3))


def test_titles_and_whole_number_ids_survive(tmp_path):
    train = Interactions.of([1, 1, 2, 2], [7, 8, 8, 9]).with_items(pl.DataFrame({"title": ["A", "B", "C"]}))
    saved = fit(Split(train, None, dataclasses.replace(train.take([0]), item=np.array([2])), "by-hand"), "popularity")
    loaded = load(saved.save(tmp_path / "run"))
    assert loaded.recommend([2], k=1).to_dicts() == saved.recommend([2], k=1).to_dicts()
    assert (loaded.items.ids.to_list(), loaded.items.titles_of([2])) == ([7, 8, 9], ["C"])


def test_a_loaded_run_has_its_numbers_on_its_card_and_says_so(run):
    loaded = load(run)
    assert loaded.card["reports"] == fitted("ease").card["reports"]
    for one in (loaded, loaded.update([("u0", "i1")])):
        with pytest.raises(ConfigError, match=r"a loaded, updated or final run .*; its numbers are in card\['reports'\]"):
            _ = one.report


def reseal(run: Path, **changes) -> None:
    """Change the manifest and give it a hash that fits."""
    card = {**json.loads((run / "run.json").read_text()), **changes}
    card["sha256"] = artefact._seal(card)
    (run / "run.json").write_text(json.dumps(card))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


files = pytest.mark.parametrize("name", artefact.FILES)


@files
def test_an_altered_file_is_refused(run, name):
    flip_a_byte(run / name)
    with pytest.raises(ArtefactError, match=f"{name} was altered after it was written"):
        load(run)


@files
def test_a_truncated_file_is_refused(run, name):
    cut_in_half(run / name)
    with pytest.raises(ArtefactError, match=rf"{name} has [\d,]+ bytes instead of [\d,]+: truncated or altered"):
        load(run)


@files
def test_a_missing_file_is_refused(run, name):
    (run / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing; the run must be made or copied anew"):
        load(run)


def test_an_altered_manifest_is_refused(run):
    path = run / "run.json"
    path.write_text(path.read_text().replace('"split": "two-tastes"', '"split": "three-tastes"'))
    with pytest.raises(ArtefactError, match=r"run\.json was altered after it was written"):
        load(run)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"run"', b"7", b"{}", b"\xff\xfe", b'{"format": 1}'])
def test_a_manifest_that_is_not_whole_or_not_ours_is_refused(run, content):
    (run / "run.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"run\.json is not whole or not ours"):
        load(run)


def test_a_run_of_another_format_is_refused(run):
    reseal(run, format=99)
    with pytest.raises(ArtefactError, match="has format 99, this attlas reads format 1; install the attlas that wrote it"):
        load(run)


def test_a_run_of_a_model_that_is_not_known_is_refused(run):
    reseal(run, model={"name": "oracle", "config": {}})
    with pytest.raises(ArtefactError, match="holds a 'oracle', which this attlas does not know"):
        load(run)


def test_a_run_with_a_setting_that_is_not_known_is_of_another_version(run):
    reseal(run, model={"name": "ease", "config": {"penalty": 3.0}})
    with pytest.raises(ArtefactError, match=r"was written by another attlas: \[model\] has no setting 'penalty'.*; install"):
        load(run)


def test_weights_of_another_shape_are_refused(tmp_path):
    ease, train = fitted("ease"), fitted("ease").inputs.train
    artefact.write(tmp_path / "run", ease.card, {"weight_II": torch.zeros(3, 3)}, train, train)
    with pytest.raises(ArtefactError, match="holds weights of another shape than its ease"):
        load(tmp_path / "run")


@pytest.mark.parametrize("made", [True, False], ids=["an empty folder", "no folder"])
def test_what_is_no_run_folder_is_refused(tmp_path, made):
    if made:
        (tmp_path / "run").mkdir()
    with pytest.raises(ArtefactError, match=r"run is no run folder; expected run\.json in it"):
        load(tmp_path / "run")


def test_an_unfinished_run_is_refused_with_the_command_that_goes_on(run):
    (run / "run.json").unlink()
    (run / "experiment.json").write_text("{}")
    with pytest.raises(ArtefactError, match="is a fit that has not finished; go on with: attlas fit --resume"):
        load(run)


def test_a_folder_in_use_is_not_written_over_unless_on_purpose(run):
    with pytest.raises(ArtefactError, match="is not empty; choose another folder or overwrite it on purpose"):
        fitted("popularity").save(run)
    assert load(run).card["model"]["name"] == "ease"
    fitted("popularity").save(run, overwrite=True)
    assert load(run).card["model"]["name"] == "popularity"
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_a_folder_that_holds_anything_but_a_run_is_never_written_over(run):
    (run / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtefactError, match=r"run holds thesis\.txt, which is no part of a run and would be lost; move it"):
        fitted("popularity").save(run, overwrite=True)
    assert (run / "thesis.txt").read_text() == "years of work"
    assert load(run).card["model"]["name"] == "ease"


def test_what_a_fit_leaves_beside_a_run_goes_with_it(run):
    for name in (".experiment.json.part", ".tmpAbC", "experiment.json", "fit.checkpoint", "metrics.jsonl"):
        (run / name).touch()
    fitted("popularity").save(run, overwrite=True)
    assert {path.name for path in run.iterdir()} == {"run.json", *artefact.FILES}


@pytest.mark.parametrize("name", [".", "../run", "whole"])
def test_a_run_is_not_saved_over_the_folder_one_stands_in(name, run, monkeypatch):
    monkeypatch.chdir(run)
    with pytest.raises(ArtefactError, match="is where you stand, and it would be replaced; leave it first"):
        fitted("popularity").save(run if name == "whole" else name, overwrite=True)
    assert load(run).card["model"]["name"] == "ease"


def test_a_run_that_a_kill_left_aside_is_found_again(run):
    run.rename(run.with_name(".run.old"))  # what a kill between the two moves leaves
    assert load(run).card["model"]["name"] == "ease"
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_a_run_that_a_kill_left_aside_is_in_use(run):
    run.rename(run.with_name(".run.old"))
    with pytest.raises(ArtefactError, match="is not empty; choose another folder or overwrite it on purpose"):
        fitted("popularity").save(run)
    assert load(run).card["model"]["name"] == "ease"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("busy")])
@pytest.mark.parametrize("target", ["run", ".run.old"])
def test_stopped_at_either_move_the_old_run_is_where_it_was(run, target, stop, monkeypatch):
    rename = Path.rename

    def stopping(self, where):
        if Path(where).name == target and self.name != ".run.old":
            raise stop
        return rename(self, where)

    monkeypatch.setattr(Path, "rename", stopping)
    with pytest.raises((KeyboardInterrupt, ArtefactError)):
        fitted("popularity").save(run, overwrite=True)
    monkeypatch.undo()
    assert load(run).card["model"]["name"] == "ease"
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_a_link_to_a_run_is_written_through(run, tmp_path):
    (tmp_path / "latest").symlink_to(run)
    fitted("popularity").save(tmp_path / "latest", overwrite=True)
    assert load(run).card["model"]["name"] == "popularity"
    assert (tmp_path / "latest").is_symlink()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("a note")
    with pytest.raises(ArtefactError, match="run is a file; choose a folder for the run"):
        fitted("ease").save(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "a note"


def test_a_save_that_fails_leaves_the_old_run_and_nothing_beside_it(run, monkeypatch):
    def fill_the_disk(*_):
        raise ArtefactError("no space left")

    monkeypatch.setattr("attlas.artefact.write", fill_the_disk)
    with pytest.raises(ArtefactError, match="no space left"):
        fitted("popularity").save(run, overwrite=True)
    assert load(run).card["model"]["name"] == "ease"
    assert [path.name for path in run.parent.iterdir()] == ["run"]
