import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from attlas.cli import show
from attlas.data.inputs import Sizes
from attlas.errors import ConfigError, UnknownId
from attlas.explanation import METHODS, TABLES, Explanation, Exposure
from attlas.models import MODELS, model_class
from attlas.models.delf import DELF
from attlas.models.protocol import reads_history
from attlas.models.reasons import reasons_of
from attlas.recommender import Recommender
from tests.toy import fitted, rated_tastes, two_tastes


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


@pytest.mark.parametrize("name", ["delf", "linear", "fm", "afm", "deepfm"])
def test_a_strangers_explained_score_is_the_one_that_is_offered(name):
    recommender, history = fitted(name), ["i0", "i2", "i4"]
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


def test_delf_that_sums_its_histories_gives_counterfactuals_and_no_attention():
    model = DELF(Sizes(16, 16), DELF.Config(pooling="sum"))
    explanation = Recommender(model.eval(), fitted("delf").inputs, card=fitted("delf").card).explain("u4", "i4")
    assert explanation.method == "counterfactual"
    assert explanation.audience is None
    assert set(explanation.history["item"]) == history_of(4)


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
    told = spoken("attention").to_dict()
    history = [{"item": "a", "title": "Alien", "weight": 0.754}, {"item": "b", "title": "Brazil", "weight": 0.246}]
    said = {"item": "c", "title": "Contact", "score": 1.5, "way": "known user", "method": "attention", "history": history}
    assert {name: told[name] for name in said} == said
    assert told["reasons"][1] == {"kind": "history", "reason": "Brazil", "weight": 0.246}
    assert told["sentence"] == "Contact: because of Alien, Brazil"
    assert [name for name, value in told.items() if value is None] == [
        "explained", "rest", "audience", "features", "pairs", "factors", "shifts", "neighbours", "ratings", "exposure",
    ]  # fmt: skip


def test_the_terminal_the_page_and_the_docs_know_every_kind_of_reasons():
    root = Path(__file__).resolve().parent.parent
    assert set(show.TABLES) == set(TABLES)
    weighs = re.search(r"WEIGHS = \{(.*?)\n\}", (root / "attlas/web/page/why.js").read_text(), re.DOTALL)[1]
    assert re.findall(r"^  (\w+):", weighs, re.MULTILINE) == list(METHODS)
    page = (root / "docs/how-to/explain.md").read_text()
    assert all(f"| `{method}` |" in page for method in METHODS if method != "none")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_explains_in_one_form(name):
    found = fitted(name).explain("u4", "i4")
    told = found.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert list(told) == list(spoken("attention").to_dict())
    assert found.method == reasons_of(model_class(name))
    assert found.reasons.columns == ["kind", "reason", "weight"]
    assert found.reasons.height > 0
    assert found.sentence().startswith("i4: ")
    assert len(found.sentence()) > len("i4: because of i1")
    drawn = found.figure(5)["data"][0]
    assert drawn["x"] == found.reasons.sort(pl.col("weight").abs(), descending=True)["weight"].head(5).to_list()[::-1]
    assert found.score == pytest.approx(fitted(name).scorer.score(np.array([4]), np.array([4])).item(), rel=1e-5, abs=1e-6)


def test_a_figure_shows_titles_letter_by_letter_and_never_as_links():
    title = "<a href='http://elsewhere'>x</a> & more"
    history = pl.DataFrame({"item": ["i1"], "title": [title], "weight": [0.5]})
    drawn = Explanation("i4", title, 1.0, "known user", "contribution", history).figure()
    shown = [*drawn["data"][0]["hovertext"], *drawn["layout"]["yaxis"]["ticktext"], drawn["layout"]["title"]["text"]]
    assert shown == ["&lt;a href='http://elsewhere'&gt;x&lt;/a&gt; &amp; more"] * 3


@torch.no_grad()
def rest_of(name: str) -> float:
    """What is in the score of user 4 and item 4 beside all reasons, from the model's own parameters."""
    model, four = fitted(name).model, torch.tensor([4])
    match name:
        case "fism":
            return float(model.item_bias[4])
        case "linear":
            return float(model.bias)
        case "fm" | "afm":
            return float(model.factors.bias + model.factors(fitted(name).inputs.features.pairs(four, four)).linear())
        case "aimf":
            product = model.user_embedding.weight[4] @ model.item_embedding.weight[4, : model.config.dim]
            return float(model.mean + model.user_bias.weight[4] + model.item_bias.weight[4] + product)
    return 0.0


@pytest.mark.parametrize("name", MODELS)
def test_reasons_that_add_up_do_so_and_what_is_beside_them_is_known(name):
    found = fitted(name).explain("u4", "i4")
    adds_up = found.method in ("contribution", "features", "pairs", "factors", "windows")
    assert (found.rest is not None) == adds_up
    if adds_up:
        assert found.reasons["weight"].sum() + found.rest == pytest.approx(found.explained, rel=1e-5, abs=1e-5)
        assert found.rest == pytest.approx(rest_of(name), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if reads_history(model_class(name))])
def test_counterfactuals_say_by_how_much_the_score_would_fall_without_each_item(name):
    found = fitted(name).explain("u4", "i4", method="counterfactual")
    assert found.method == "counterfactual"
    assert set(found.history["item"]) == {f"i{item}" for item in fitted(name).inputs.train.by_user[[4]].indices}
    assert found.history["weight"].is_sorted(descending=True)
    heaviest, weight = found.history.select("item", "weight").row(0)
    said = f"without {heaviest} it would score {found.explained - weight:.4g}, not {found.explained:.4g}"
    assert (said if weight > 0 else "nothing in the history speaks for it") in found.sentence()


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("ease", ""),
        ("delf", "the user's own vector stays as it is"),
        ("ials", r"of the vector that solves for the history; the vector from training scores .*"),
        ("neumf", r"of a vector fitted to the history; the vector from training scores .*"),
    ],
)
def test_counterfactuals_say_whose_vector_they_are_of(name, note):
    assert re.fullmatch(note, fitted(name).explain("u4", "i4", method="counterfactual").note)


@pytest.mark.parametrize("name", ["ease", "fism", "itemknn"])
def test_an_entry_adds_what_the_score_loses_without_it_where_scores_are_plain_sums(name):
    own, exact = (fitted(name).explain("u4", "i4", method=method).history.sort("item") for method in (None, "counterfactual"))
    np.testing.assert_allclose(own["weight"], exact["weight"], atol=1e-6)


def test_another_method_is_refused():
    with pytest.raises(ConfigError, match="method='shapley'; expected 'counterfactual', or None"):
        fitted("ease").explain("u4", "i4", method="shapley")


def test_a_run_of_interactions_knows_no_context():
    with pytest.raises(ConfigError, match="this run learned from interactions and knows no context"):
        fitted("ease").explain("u4", "i4", context={"hour": 2})


@pytest.mark.parametrize("name", ["mf", "gmf", "ials", "expomf", "biased_mf"])
def test_dimensions_and_biases_sum_to_the_score_and_name_what_stands_highest_there(name):
    found = fitted(name).explain("u4", "i4")
    assert found.factors["weight"].sum() == pytest.approx(found.score, rel=1e-5, abs=1e-5)
    model = fitted(name).model
    dims = getattr(model.config, "gmf_dim", None) or model.config.embedding_dim
    assert found.factors.filter(pl.col("like") != "").height == dims
    assert set(", ".join(found.factors.filter(pl.col("like") != "")["like"]).split(", ")) <= history_of(4)
    dim = int(found.factors.filter(pl.col("like") != "")["factor"][0].removeprefix("dimension "))
    like = found.factors.filter(pl.col("factor") == f"dimension {dim}")["like"].item().split(", ")
    tables = [table.weight for kind, table in model.named_modules() if kind in ("user_embedding", "item_embedding")]
    if len(tables) == 2:
        user, items = (table.detach() for table in tables)
        stands = {item: float(user[4, dim] * items[int(item[1:]), dim]) for item in history_of(4)}
        assert like == sorted(stands, key=lambda item: -stands[item])[:3]


def test_a_sentence_of_factors_says_what_each_of_the_heaviest_adds():
    factors = pl.DataFrame({"factor": ["dimension 3", "the item's bias"], "like": ["Alien", ""], "weight": [0.4, 0.1]})
    spoken_of = Explanation("c", "Contact", 0.5, "known user", "factors", pl.DataFrame(), explained=0.5, factors=factors)
    said = "Contact: of 0.5, dimension 3, in which it is like Alien, adds 0.4, the item's bias adds 0.1"
    assert spoken_of.sentence() == said


def test_windows_name_the_shift_the_neighbour_and_the_ratings_that_add_most():
    found = fitted("aimf").explain("u4", "i4")
    assert set(found.history["item"]) == {f"i{item}" for item in rated_tastes().train.by_user[[4]].indices}
    assert "u4" not in set(found.ratings.filter(pl.col("item") == "i4")["user"])
    assert found.ratings.columns == ["user", "item", "title", "rating", "weight"]
    by_user = found.neighbours.filter(pl.col("user") == "u4")["weight"].item()
    assert found.history["weight"].sum() == pytest.approx(by_user, rel=1e-4, abs=1e-6)
    assert f"those of {found.neighbours['user'][0]}, " in found.sentence()


@pytest.mark.parametrize("name", ["fawmf", "expomf"])
def test_an_item_that_somebody_chose_was_come_across(name):
    found = fitted(name).explain("u4", "i6")
    assert found.exposure.chance == 1.0
    assert "never came across" not in found.sentence()
    assert fitted(name).explain(None, "i6", history=["i2", "i6"]).exposure.chance == 1.0


def test_expomf_says_how_likely_an_item_that_was_not_chosen_was_come_across():
    made = fitted("expomf")
    chance = made.model.exposure(torch.tensor([4]), torch.tensor([4])).item()
    assert made.explain("u4", "i4").exposure.chance == pytest.approx(chance)
    assert 0 < chance < 1


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
