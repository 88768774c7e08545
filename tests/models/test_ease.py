import numpy as np
import pytest
import torch

from attlas.data.inputs import Inputs
from attlas.errors import ConfigError
from attlas.models.ease import EASE
from attlas.ops.segments import segment_sum
from tests.toy import chosen_by


def solved(lists: list[list[int]], num_items: int, l2: float) -> tuple[EASE, Inputs]:
    inputs = Inputs(chosen_by(lists, num_items))
    model = EASE(inputs.sizes, EASE.Config(l2=l2))
    EASE.ClosedForm().epoch(model, inputs, np.random.default_rng(1))
    return model, inputs


def random_lists() -> list[list[int]]:
    chosen = np.random.default_rng(1).random((25, 9)) < 0.35
    return [np.flatnonzero(row).tolist() for row in chosen]


def whole_histories(inputs: Inputs, count: int):
    user = np.arange(count)
    return inputs.gather(["user_history"], user, user % inputs.sizes.num_items, leave_out="keep")["user_history"]


def test_two_items_that_everybody_chose_together_weigh_n_over_n_plus_lambda():
    model, _ = solved([[0, 1]] * 6, 2, l2=2.0)
    torch.testing.assert_close(model.weight_II, torch.tensor([[0.0, 0.75], [0.75, 0.0]]))


def test_the_weights_are_those_of_the_papers_formula_in_double_precision():
    model, _ = solved(random_lists(), 9, l2=3.0)
    x = np.zeros((25, 9))
    for user, items in enumerate(random_lists()):
        x[user, items] = 1.0
    inverse = np.linalg.inv(x.T @ x + 3.0 * np.eye(9))
    expected = np.eye(9) - inverse @ np.diag(1 / np.diag(inverse))
    np.testing.assert_allclose(model.weight_II, expected, rtol=0, atol=1e-5)


def test_no_item_speaks_for_itself():
    model, _ = solved(random_lists(), 9, l2=0.5)
    assert (model.weight_II.diagonal() == 0).all()


def test_as_lambda_grows_the_weights_become_counts_of_pairs_over_lambda():
    model, _ = solved([[0, 1], [0, 1], [1, 2]], 3, l2=1e5)
    expected = torch.tensor([[0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(model.weight_II * 1e5, expected, rtol=0, atol=1e-3)


def test_an_item_that_nobody_chose_has_no_weight_either_way():
    model, _ = solved([[0, 1], [1]], 3, l2=1.0)
    assert model.weight_II[2].tolist() == [0.0, 0.0, 0.0]
    assert model.weight_II[:, 2].tolist() == [0.0, 0.0, 0.0]


def test_a_score_is_the_sum_of_the_weights_from_what_was_chosen():
    model, inputs = solved([[0, 1, 3], [1, 2], [0, 2, 3]], 4, l2=1.0)
    score = model(**inputs.gather(["item", "user_history"], np.array([0]), np.array([2])))
    assert score.item() == pytest.approx(model.weight_II[[0, 1, 3], 2].sum().item())


def test_the_explained_contributions_sum_to_the_score():
    model, inputs = solved(random_lists(), 9, l2=3.0)
    item = torch.tensor([4])
    for user in range(5):
        history = inputs.gather(["user_history"], [user], [4])["user_history"]
        mine = history.of_pairs(slice(0, 1))
        contribution = model.attention(item, mine)["user_history"]
        assert contribution.sum().item() == pytest.approx(model(item, mine).item(), abs=1e-6)


@pytest.mark.parametrize("few", [False, True], ids=["the whole table", "a table of their own"])
def test_summing_rows_and_a_dense_product_score_the_catalogue_alike(monkeypatch, few):
    model, inputs = solved(random_lists(), 9, l2=3.0)
    history = whole_histories(inputs, 3 if few else 25)
    scores = []
    for share in (0.0, 2.0):
        monkeypatch.setattr("attlas.models.layers.DENSE_SHARE", share)
        scores.append(model.score_catalogue(history))
    torch.testing.assert_close(*scores, rtol=0, atol=1e-6)
    assert scores[0].shape == (len(history.row), 9)


def test_a_history_of_nothing_scores_zero_everywhere():
    model, inputs = solved([[0, 1], [], [1, 2]], 3, l2=1.0)
    assert model.score_catalogue(whole_histories(inputs, 3))[1].tolist() == [0.0, 0.0, 0.0]


def test_a_penalty_too_small_to_invert_with_is_refused_by_name():
    fewer_users_than_items = random_lists()[:4]
    with pytest.raises(ConfigError, match=r"l2 = 1e-09 is too small.*raise it"):
        solved(fewer_users_than_items, 9, l2=1e-9)


def test_a_few_askers_of_a_long_table_cost_a_few_rows(monkeypatch):
    model, inputs = solved(random_lists(), 9, l2=3.0)
    summed = []
    monkeypatch.setattr("attlas.models.layers.DENSE_SHARE", 2.0)
    monkeypatch.setattr(
        "attlas.models.layers.segment_sum", lambda table, lists: summed.append(lists.count) or segment_sum(table, lists)
    )
    everybody = whole_histories(inputs, 25)
    model.score_catalogue(everybody.of_pairs(slice(3, 5)))
    model(torch.tensor([1, 2, 3]), everybody.of_pairs(torch.tensor([7, 7, 8])))
    assert summed == [2, 2]
