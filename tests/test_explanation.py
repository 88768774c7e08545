import numpy as np
import polars as pl
import pytest

from attlas.data.inputs import Sizes
from attlas.errors import ConfigError, UnknownId
from attlas.explanation import Explanation, Exposure
from attlas.models.delf import DELF
from attlas.recommender import Recommender
from tests.toy import fitted, two_tastes


def history_of(user: int) -> set[str]:
    return {f"i{item}" for item in two_tastes().train.by_user[[user]].indices}


@pytest.mark.parametrize("name", ["ease", "delf"])
def test_the_reasons_for_an_unseen_item_are_the_users_whole_history_the_heaviest_first(name):
    explanation = fitted(name).explain("u4", "i4")
    assert set(explanation.history["item"]) == history_of(4)
    assert explanation.history["weight"].is_sorted(descending=True)
    assert (explanation.item, explanation.way) == ("i4", "known user")


@pytest.mark.parametrize("name", ["ease", "delf"])
def test_an_item_that_was_chosen_is_never_among_its_own_reasons(name):
    assert set(fitted(name).explain("u4", "i6").history["item"]) == history_of(4) - {"i6"}
    stranger = fitted(name).explain(None, "i6", history=["i6", "i2"])
    assert stranger.history["item"].to_list() == ["i2"]


@pytest.mark.parametrize(("item", "is_chosen"), [("i4", False), ("i6", True)])
def test_attention_weighs_history_and_audience_so_that_each_sums_to_one(item, is_chosen):
    explanation = fitted("delf").explain("u4", item)
    assert explanation.method == "attention"
    assert explanation.history["weight"].sum() == pytest.approx(1.0, abs=1e-6)
    assert explanation.audience["weight"].sum() == pytest.approx(1.0, abs=1e-6)
    assert explanation.audience.columns == ["user", "weight"]


def test_the_user_is_never_in_the_audience_of_an_item():
    chose_six = {f"u{user}" for user in two_tastes().train.by_item[[6]].indices}
    assert set(fitted("delf").explain("u4", "i6").audience["user"]) == chose_six - {"u4"}
    assert set(fitted("delf").explain(None, "i6", history=["i2"]).audience["user"]) == chose_six


@pytest.mark.parametrize("item", ["i4", "i6", "i5"])
def test_contributions_sum_to_the_score(item):
    explanation = fitted("ease").explain("u4", item)
    assert explanation.method == "contribution"
    assert explanation.history["weight"].sum() == pytest.approx(explanation.score, abs=1e-6)
    assert explanation.audience is None


def test_contributions_to_a_strangers_score_sum_to_it_too():
    explanation = fitted("ease").explain(None, "i4", history=["i0", "i2", "i3"])
    offered = fitted("ease").recommend_for(["i0", "i2", "i3"], k=16)
    assert explanation.way == "from the history"
    assert explanation.history["weight"].sum() == pytest.approx(explanation.score, abs=1e-6)
    assert explanation.score == pytest.approx(offered.filter(pl.col("item") == "i4")["score"].item(), abs=1e-6)


@pytest.mark.parametrize("name", ["ease", "delf", "popularity"])
@pytest.mark.parametrize("item", [4, 6])
def test_the_explained_score_is_the_one_that_the_pair_gets(name, item):
    recommender = fitted(name)
    expected = recommender.scorer.score(np.array([4]), np.array([item])).item()
    assert recommender.explain("u4", f"i{item}").score == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_strangers_explained_score_is_the_one_that_is_offered():
    recommender, history = fitted("delf"), ["i0", "i2", "i4"]
    explanation = recommender.explain(None, "i8", history=history)
    offered = recommender.recommend_for(history, k=16).filter(pl.col("item") == "i8")["score"].item()
    assert explanation.way == "fitted user vector"
    assert explanation.score == pytest.approx(offered, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", ["ease", "delf"])
def test_an_empty_history_is_explained_by_popularity(name):
    explanation = fitted(name).explain(None, "i4", history=[])
    assert (explanation.method, explanation.way, explanation.score) == ("popularity", "popular", 7.0)
    assert explanation.history.height == 0
    assert explanation.sentence() == "i4: because many have chosen it"


def test_popularity_has_no_reasons_but_popularity():
    explanation = fitted("popularity").explain("u4", "i4")
    assert (explanation.method, explanation.score, explanation.history.height) == ("popularity", 7.0, 0)


def test_only_the_heaviest_reasons_are_given_if_so_many_are_asked_for():
    whole, top = (fitted("delf").explain("u4", "i4", top=count) for count in (None, 2))
    assert top.history.equals(whole.history.head(2))
    assert top.audience.equals(whole.audience.head(2))


@pytest.mark.parametrize("given", [{"user": None}, {"user": "u4", "history": ["i2"]}])
def test_either_a_user_or_a_history_is_wanted_and_not_both(given):
    with pytest.raises(ConfigError, match="wants either a user or a stranger's history; give exactly one of them"):
        fitted("ease").explain(item="i4", **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": "u99", "item": "i4"}, "user 'u99'"),
        ({"user": "u4", "item": "i99"}, "item 'i99'"),
        ({"user": None, "item": "i4", "history": ["i98"]}, "item 'i98'"),
    ],
)
def test_unknown_ids_are_errors(given, message):
    with pytest.raises(UnknownId, match=message):
        fitted("ease").explain(**given)


def test_a_history_that_is_empty_without_the_item_itself_does_not_speak_of_popularity():
    explanation = fitted("ease").explain(None, "i4", history=["i4"])
    assert (explanation.method, explanation.sentence()) == ("contribution", "i4: nothing in the history speaks for it")


def test_the_heaviest_reasons_keep_their_shares_of_the_whole():
    explanation = fitted("delf").explain("u4", "i4", top=2)
    assert explanation.history["weight"].sum() < 0.99
    assert explanation.are_shares
    assert explanation.sentence().count("%") == 2


def test_smoothed_attention_gives_no_shares_and_its_sentence_no_percents():
    model = DELF(Sizes(16, 16), DELF.Config(smoothing=0.5))
    recommender = Recommender(model.eval(), fitted("delf").inputs, card=fitted("delf").card)
    explanation = recommender.explain("u4", "i4")
    assert explanation.history["weight"].sum() > 1.001
    assert not explanation.are_shares
    assert "%" not in explanation.sentence()


def spoken(method: str, *, are_shares: bool = False) -> Explanation:
    history = pl.DataFrame({"item": ["a", "b"], "title": ["Alien", "Brazil"], "weight": [0.754, 0.246]})
    return Explanation("c", "Contact", 1.5, "known user", method, history, are_shares=are_shares)


def test_a_sentence_says_how_much_each_reason_weighs_only_where_weights_are_shares():
    assert spoken("attention", are_shares=True).sentence() == "Contact: because of Alien (75%), Brazil (25%)"
    assert spoken("attention").sentence() == "Contact: because of Alien, Brazil"
    assert spoken("contribution").sentence() == "Contact: because of Alien, Brazil"
    assert spoken("contribution").sentence(count=1) == "Contact: because of Alien"


def test_a_sentence_names_no_reason_that_speaks_against_the_item():
    history = pl.DataFrame({"item": ["a", "b"], "title": ["Alien", "Brazil"], "weight": [0.2, -0.1]})
    one, none = (
        Explanation("c", "Contact", 0.1, "known user", "contribution", part).sentence() for part in (history, history.tail(1))
    )
    assert one == "Contact: because of Alien"
    assert none == "Contact: nothing in the history speaks for it"


def test_an_explanation_is_ready_for_json():
    assert spoken("attention").to_dict() == {
        "item": "c",
        "title": "Contact",
        "score": 1.5,
        "way": "known user",
        "method": "attention",
        "history": [
            {"item": "a", "title": "Alien", "weight": 0.754},
            {"item": "b", "title": "Brazil", "weight": 0.246},
        ],
        "audience": None,
    }


def test_a_model_of_exposure_tells_what_was_never_seen_from_what_is_not_liked():
    explanation = fitted("fawmf").explain("u4", "i4")
    communities = explanation.exposure.communities
    assert communities.columns == ["community", "membership", "exposure"]
    assert communities["membership"].is_sorted(descending=True)
    assert communities["membership"].sum() == pytest.approx(1, abs=1e-6)
    chance = (communities["membership"] * communities["exposure"]).sum()
    assert explanation.exposure.chance == pytest.approx(chance, abs=1e-6)
    other = fitted("fawmf").explain("u4", "i5")
    assert other.exposure.chance < explanation.exposure.chance
    assert explanation.to_dict()["exposure"]["communities"] == communities.to_dicts()
    assert explanation.sentence().endswith(explanation.exposure.sentence())
    assert fitted("ease").explain("u4", "i4").exposure is None


@pytest.mark.parametrize(
    ("chance", "preference", "said"),
    [
        (0.04, 0.9, "they probably never came across it (4.0%)"),
        (0.8, 0.9, "they probably came across it (80.0%)"),
        (0.8, 0.1, "they probably came across it (80.0%) and are not interested"),
    ],
)
def test_exposure_says_whether_they_came_across_it_and_whether_they_care(chance, preference, said):
    assert Exposure(chance, preference, pl.DataFrame()).sentence() == said
