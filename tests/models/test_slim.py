import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet

from attlas.data.inputs import Inputs
from attlas.errors import ConfigError
from attlas.models.slim import SLIM
from tests.toy import chosen_by

WORKED = [[0, 1, 3], [1, 2], [0, 2, 3]]  # Y of the worked example in the paper's notes


def solved(lists: list[list[int]], num_items: int, **settings) -> tuple[SLIM, Inputs, float]:
    inputs = Inputs(chosen_by(lists, num_items))
    model = SLIM(inputs.sizes, SLIM.Config(**settings))
    return model, inputs, SLIM.CoordinateDescent().epoch(model, inputs, np.random.default_rng(1))


def random_lists(num_users: int = 60, num_items: int = 12) -> list[list[int]]:
    chosen = np.random.default_rng(1).random((num_users, num_items)) < 0.35
    return [np.flatnonzero(row).tolist() for row in chosen]


def dense(lists: list[list[int]], num_items: int) -> np.ndarray:
    x = np.zeros((len(lists), num_items))
    for user, items in enumerate(lists):
        x[user, items] = 1.0
    return x


def test_the_worked_example_has_these_weights_scores_and_objective():
    model, inputs, objective = solved(WORKED, 4, l1=0.1, l2=1.0, tolerance=1e-7)
    expected = [[0, 0.138462, 0.138462, 0.58], [0.08, 0, 0.207692, 0.08], [0.08, 0.207692, 0, 0.08]]
    expected.append([0.58, 0.138462, 0.138462, 0])
    torch.testing.assert_close(model.weight_II, torch.tensor(expected), rtol=0, atol=1e-6)
    assert objective == pytest.approx(2.317846, abs=1e-6)
    history = inputs.gather(["user_history"], np.arange(3), np.zeros(3, np.int64), leave_out="keep")["user_history"]
    scores = [[0.66, 0.276923, 0.484615, 0.66], [0.16, 0.207692, 0.207692, 0.16], [0.66, 0.484615, 0.276923, 0.66]]
    torch.testing.assert_close(model.score_catalogue(history), torch.tensor(scores), rtol=0, atol=1e-6)


def test_the_worked_example_without_an_l1_penalty_has_these_weights():
    model, *_ = solved(WORKED, 4, l1=0.0, l2=0.5, tolerance=1e-6)
    expected = [[0, 0.162162, 0.162162, 0.740741], [0.074074, 0, 0.270270, 0.074074], [0.074074, 0.270270, 0, 0.074074]]
    expected.append([0.740741, 0.162162, 0.162162, 0])
    torch.testing.assert_close(model.weight_II, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("non_negative", [True, False])
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.01, 0.5), (0.05, 0.9), (0.1, 0.02)])
def test_weights_equal_scikit_learns_elastic_net_at_the_converted_penalties(alpha, l1_ratio, non_negative):
    lists = random_lists()
    penalties = {"l1": 60 * alpha * l1_ratio, "l2": 60 * alpha * (1 - l1_ratio)}
    model, *_ = solved(lists, 12, **penalties, non_negative=non_negative, tolerance=1e-6)
    peer = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, positive=non_negative, fit_intercept=False, tol=1e-12, max_iter=100_000)
    for target in range(12):
        x = dense(lists, 12)
        explained = x[:, target].copy()
        x[:, target] = 0.0
        np.testing.assert_allclose(model.weight_II[:, target], peer.fit(x, explained).coef_, rtol=0, atol=2e-5)


def test_every_weight_meets_its_optimality_condition():
    lists = random_lists()
    x = dense(lists, 12)
    model, *_ = solved(lists, 12, l1=2.0, l2=3.0, tolerance=1e-6)
    weight = model.weight_II.double().numpy()
    slope = x.T @ (x - x @ weight) - 3.0 * weight  # what a weight gains by growing, but for l1
    others = ~np.eye(12, dtype=bool)
    assert np.abs(slope - 2.0)[others & (weight > 0)].max() < 1e-4
    assert slope[others & (weight == 0)].max() <= 2.0 + 1e-4
    assert weight.min() == 0.0
    assert (weight.diagonal() == 0).all()
    assert 0 < np.count_nonzero(weight) < others.sum()  # both conditions have been looked at


def test_the_objective_is_that_of_the_definition():
    lists = random_lists()
    x = dense(lists, 12)
    model, _, objective = solved(lists, 12, l1=0.7, l2=3.0)
    weight = model.weight_II.double().numpy()
    expected = ((x - x @ weight) ** 2).sum() / 2 + 3.0 / 2 * (weight**2).sum() + 0.7 * weight.sum()
    assert objective == pytest.approx(expected, rel=1e-6)


def test_without_l1_and_with_negative_weights_each_column_is_the_ridge_regression_on_all_others():
    lists = random_lists()
    gram = dense(lists, 12).T @ dense(lists, 12)
    model, *_ = solved(lists, 12, l1=0.0, l2=3.0, non_negative=False, tolerance=1e-6)
    for target in range(12):
        others = [item for item in range(12) if item != target]
        ridge = np.linalg.solve(gram[np.ix_(others, others)] + 3.0 * np.eye(11), gram[others, target])
        np.testing.assert_allclose(model.weight_II[others, target], ridge, rtol=0, atol=1e-5)
    # Steck's closed form, B_ij = -P_ij / P_jj, says the same of all columns at once.
    inverse = np.linalg.inv(gram + 3.0 * np.eye(12))
    np.testing.assert_allclose(model.weight_II, np.eye(12) - inverse / np.diag(inverse), rtol=0, atol=1e-5)


def test_an_item_that_no_more_than_l1_users_share_with_the_target_weighs_nothing():
    lists = random_lists()
    gram = dense(lists, 12).T @ dense(lists, 12)
    model, *_ = solved(lists, 12, l1=8.0, l2=1.0)
    few = torch.from_numpy(gram <= 8.0)
    assert few.any()
    assert (model.weight_II[few] == 0).all()


def test_a_penalty_above_every_count_leaves_no_weights():
    model, _, objective = solved(WORKED, 4, l1=3.0, l2=1.0)
    assert model.weight_II.count_nonzero() == 0
    assert objective == 8 / 2  # half the squared error of predicting nothing for eight pairs


def test_each_target_keeps_only_its_largest_weights():
    whole, *_ = solved(random_lists(), 12, l1=0.0, l2=30.0)
    cut, *_ = solved(random_lists(), 12, l1=0.0, l2=30.0, neighbours=3)
    assert (whole.weight_II.count_nonzero(0) > 3).all()
    for target in range(12):
        kept = cut.weight_II[:, target].nonzero().squeeze(-1)
        assert sorted(kept.tolist()) == sorted(whole.weight_II[:, target].topk(3).indices.tolist())
        assert torch.equal(cut.weight_II[kept, target], whole.weight_II[kept, target])


def test_an_item_that_nobody_chose_has_no_weight_either_way_even_without_penalties():
    model, *_ = solved([[0, 1], [1]], 3, l1=0.0, l2=0.0)
    assert model.weight_II[2].tolist() == [0.0, 0.0, 0.0]
    assert model.weight_II[:, 2].tolist() == [0.0, 0.0, 0.0]


def test_the_explained_contributions_sum_to_the_score():
    model, inputs, _ = solved(random_lists(), 12, l1=0.5, l2=3.0)
    item = torch.tensor([4])
    for user in range(5):
        mine = inputs.gather(["user_history"], [user], [4])["user_history"].of_pairs(slice(0, 1))
        contribution = model.attention(item, mine)["user_history"]
        assert contribution.sum().item() == pytest.approx(model(item, mine).item(), abs=1e-6)


def test_a_fit_that_stops_before_it_is_solved_fails_by_name():
    with pytest.raises(ConfigError, match=r"of 12 columns are not solved to tolerance = 1e-06 after max_sweeps = 1; raise"):
        solved(random_lists(), 12, l1=0.0, l2=0.1, tolerance=1e-6, max_sweeps=1)
