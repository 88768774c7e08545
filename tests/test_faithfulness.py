"""Faithfulness, on models whose weights are the counterfactuals, or are not."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError, UnknownId
from attlas.faithfulness import FaithfulnessReport, faithfulness
from attlas.models.aimf import AIMF
from attlas.ops.segments import segment_sum
from attlas.recommender import Recommender
from tests.toy import chosen_by, fitted

USERS, ITEMS = 60, 40


class Linear(nn.Module):
    """The score is the sum of one weight for each entry and item; the weights that are told may be in another order."""

    reasons = "contribution"

    def __init__(self, *, shuffled: bool = False):
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randperm(ITEMS**2, generator=draw).view(ITEMS, ITEMS) / ITEMS**2)
        self.told = self.weight[torch.randperm(ITEMS, generator=draw)] if shuffled else self.weight

    def forward(self, item: torch.Tensor, user_history: History) -> torch.Tensor:
        return self.score_catalogue(user_history)[torch.arange(len(item)), item]

    def score_catalogue(self, user_history: History) -> torch.Tensor:
        return segment_sum(self.weight[user_history.distinct], user_history.lists)[user_history.row]

    def attention(self, item: torch.Tensor, user_history: History) -> dict[str, torch.Tensor]:
        return {"user_history": self.told[user_history.distinct[user_history.index], item[0]]}


def planted(*, shuffled: bool = False) -> Recommender:
    """Sixty users of 5 to 19 random items."""
    rng = np.random.default_rng(5)
    lists = [sorted(rng.permutation(ITEMS)[: rng.integers(5, 20)].tolist()) for _ in range(USERS)]
    model = Linear(shuffled=shuffled).eval().requires_grad_(False)
    return Recommender(model, Inputs(chosen_by(lists, ITEMS)), card={"model": {"name": "linear"}})


@pytest.fixture(scope="module")
def honest() -> FaithfulnessReport:
    return faithfulness(planted(), users=USERS)


@pytest.fixture(scope="module")
def shuffled() -> FaithfulnessReport:
    return faithfulness(planted(shuffled=True), users=USERS)


def test_weights_that_are_the_counterfactuals_agree_with_them_fully(honest):
    assert honest.agreement["own"] == pytest.approx(np.ones(USERS))
    assert honest.agrees
    assert "contribution agrees with what removing an item does: Spearman 1.00 ± 0.00" in honest.sentence()
    assert honest.deletion["own"] == pytest.approx(honest.deletion["exact"])


def test_shuffled_weights_agree_no_better_than_chance_and_the_report_warns(shuffled):
    own = shuffled.means["agreement"]["own"]
    assert own.low < 0.1
    assert abs(own.value) < 0.15
    assert not shuffled.agrees
    assert "does NOT agree with what removing an item does" in shuffled.sentence()
    assert 'explain(method="counterfactual")' in shuffled.sentence()


def test_random_order_agrees_with_nothing(honest):
    chance = honest.means["agreement"]["random"]
    assert chance.low < 0 < chance.high


def test_no_order_lowers_a_sum_faster_or_raises_it_faster_than_that_of_the_falls(shuffled):
    for figure in (shuffled.deletion, shuffled.insertion):
        for order in ("own", "popularity", "random"):
            assert (figure["exact"] >= figure[order] - 1e-9).all()
        assert figure["exact"].mean() > 1.05 * figure["own"].mean()


def test_curves_begin_at_nothing_and_every_order_ends_at_the_same_height(honest):
    for kind in ("deletion", "insertion"):
        lines = np.array(list(honest.curves[kind].values()))
        assert (lines[:, 0] == 0).all()
        assert np.ptp(lines[:, -1]) == pytest.approx(0, abs=1e-9)
    assert honest.curves["deletion"]["own"][-1] == pytest.approx(honest.curves["insertion"]["own"][-1])


def test_a_curve_and_its_area_are_those_counted_by_hand():
    weight = torch.zeros(4, 4)
    weight[:3, 3] = torch.tensor([3.0, 2.0, 1.0])
    model = Linear()
    model.weight = model.told = nn.Parameter(weight, requires_grad=False)
    made = Recommender(model, Inputs(chosen_by([[0, 1, 2]], 4)), card={"model": {"name": "linear"}})
    found = faithfulness(made, users=["u0"])
    # Scores of the catalogue are 0, 0, 0 and 6: their standard deviation is 6 sqrt(3) / 4. At each of the eleven points of the
    # curve a tenth of the 3 entries more is taken out, rounded: 0 0 1 1 1 2 2 2 2 3 3.
    fall = np.array([0, 3, 5, 6])[[0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3]] / (6 * 3**0.5 / 4)
    assert found.curves["deletion"]["own"] == pytest.approx(fall)
    assert found.deletion["own"] == pytest.approx([(fall[1:] + fall[:-1]).mean() / 2])
    assert found.agreement["own"] == pytest.approx([1.0])


def test_the_same_seed_gives_the_same_report_and_another_draws_others():
    one, again, other = (faithfulness(planted(), users=20, seed=seed) for seed in (1, 1, 2))
    assert one.to_dict() == again.to_dict()
    assert one.users != other.users


def test_a_report_is_ready_for_json_a_table_and_a_figure(honest):
    told = honest.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["model"], told["users"], told["agrees"]) == ("linear", USERS, True)
    assert honest.row()["spearman"] == pytest.approx(1.0)
    assert [line["name"] for line in honest.figure()["data"]] == ["own", "exact", "popularity", "random"]


@pytest.mark.parametrize("name", ["delf", "ials"])
def test_models_of_the_library_are_measured_by_their_own_weights(name):
    found = faithfulness(fitted(name), users=4)
    assert found.method == {"delf": "attention", "ials": "contribution"}[name]
    assert (np.abs(found.agreement["own"]) <= 1).all()


def test_a_model_that_reads_the_matrix_is_measured_by_what_the_users_own_ratings_add():
    torch.manual_seed(1)
    model = AIMF(Sizes(16, 16), AIMF.Config(embedding_dim=4, attention_dim=4, stddev=1.0)).eval()
    found = faithfulness(Recommender(model, fitted("aimf").inputs, card=fitted("aimf").card), users=4)
    assert (found.model, found.method, len(found.users)) == ("aimf", "windows", 4)
    assert all(len(set(found.curves["deletion"][order])) > 3 for order in ("own", "exact"))


@pytest.mark.parametrize("name", ["dacr", "mf"])
def test_a_model_that_weighs_no_entry_is_measured_by_its_counterfactuals_and_says_so(name):
    found = faithfulness(fitted(name), users=3)
    assert found.method == "counterfactual"
    assert found.agreement["own"] == pytest.approx(np.ones(len(found.users)))
    assert "Spearman 1 by definition" in found.sentence()


def test_a_model_without_histories_is_refused():
    with pytest.raises(ConfigError, match="Popularity scores from no history"):
        faithfulness(fitted("popularity"))


def test_users_may_be_named_and_must_be_known_with_a_history_long_enough():
    assert faithfulness(planted(), users=["u3", "u7"]).users == ["u3", "u7"]
    with pytest.raises(UnknownId, match="user 'u99'"):
        faithfulness(planted(), users=["u99"])
    short = Recommender(Linear(), Inputs(chosen_by([[1, 2]], ITEMS)), card={"model": {"name": "linear"}})
    with pytest.raises(ConfigError, match="nobody asked for has 3 rows of training or more"):
        faithfulness(short)


def test_a_user_who_is_named_twice_is_measured_once_and_one_of_too_few_rows_not_at_all():
    found = faithfulness(planted(), users=["u3", "u7", "u3"])
    assert (found.users, found.num_flat) == (["u3", "u7"], 0)
    short = Recommender(planted().model, Inputs(chosen_by([[1, 2], [1, 2, 3]], ITEMS)), card={"model": {"name": "linear"}})
    assert faithfulness(short, users=["u0", "u1"]).users == ["u1"]


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_user_is_refused(count):
    with pytest.raises(ConfigError, match=f"users={count}: expected how many to draw, at least one"):
        faithfulness(planted(), users=count)


def test_where_no_entry_changes_a_score_more_than_another_there_is_nothing_to_agree_with():
    model = Linear()
    nn.init.ones_(model.weight)
    model.told = model.weight
    made = Recommender(model.requires_grad_(False), Inputs(chosen_by([[0, 1, 2, 3]] * 3, ITEMS)), card={"model": {"name": "x"}})
    with pytest.raises(ConfigError, match="there is nothing to agree with"):
        faithfulness(made)
