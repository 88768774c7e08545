import copy
import dataclasses
import functools

import numpy as np
import pytest
import torch

from attlas.data.inputs import History, Inputs
from attlas.data.interactions import Interactions
from attlas.errors import DataError
from attlas.models.eals import EALS
from attlas.models.protocol import Updatable
from attlas.ops.ridge import ridge_rows
from tests.toy import chosen_by, fitted

WORKED = chosen_by([[0, 2], [1, 2], [0, 3]], 4)
PAPER = {"embedding_dim": 2, "missing_weight": 1 / 4, "popularity_power": 0.5, "l2": 0.1}
SWEEP = EALS.CoordinateDescent()


def of(data=WORKED, **config) -> tuple[EALS, Inputs]:
    """A model of that data in double precision, before its first sweep."""
    inputs = Inputs(data)
    torch.manual_seed(1)
    model = EALS(inputs.sizes, EALS.Config(**config)).double()
    model.begin(inputs)
    return model, inputs


def worked_example(**config) -> tuple[EALS, Inputs]:
    model, inputs = of(**(PAPER | config))
    model.user_embedding.weight.data = torch.tensor([[0.1, 0.2], [0.3, -0.1], [0.2, 0.4]], dtype=torch.float64)
    items = [[0.5, 0.1], [-0.2, 0.3], [0.4, 0.2], [0.1, -0.3]]
    model.item_embedding.weight.data = torch.tensor(items, dtype=torch.float64)
    return model, inputs


def users_of(model: EALS, inputs: Inputs) -> torch.Tensor:
    """The users' half of a sweep, which is left as it was."""
    items = model.item_embedding.weight.detach().clone()
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    model.item_embedding.weight.data = items
    return model.user_embedding.weight.detach()


def random_data(num_users: int = 40, num_items: int = 30, seed: int = 1) -> Interactions:
    rng = np.random.default_rng(seed)
    return chosen_by([sorted(rng.permutation(num_items)[: rng.integers(0, 12)].tolist()) for _ in range(num_users)], num_items)


def test_missing_weights_are_those_of_the_worked_example():
    model, _ = worked_example()
    np.testing.assert_allclose(model.missing_weight_I, [0.292893, 0.207107, 0.292893, 0.207107], atol=5e-7)
    assert model.missing_weight_I.sum() == pytest.approx(1.0)


def test_popularities_are_those_of_the_worked_example():
    lengths = Inputs(WORKED).item_lists.length
    np.testing.assert_allclose(lengths / lengths.sum(), [0.333333, 0.166667, 0.333333, 0.166667], atol=5e-7)


def test_two_sweeps_give_the_vectors_and_the_losses_of_the_worked_example():
    model, inputs = worked_example()
    assert model.loss(inputs) == pytest.approx(5.779159, abs=5e-7)
    expected = [[1.686786, 0.598886], [0.540491, 1.926445], [1.415397, -1.058731]]
    np.testing.assert_allclose(users_of(model, inputs), expected, atol=5e-7)
    assert model.loss(inputs) == pytest.approx(2.280974, abs=5e-7)
    model, _ = worked_example()
    assert SWEEP.epoch(model, inputs, np.random.default_rng(1)) == pytest.approx(1.365446 / 6, abs=5e-7)
    expected = [[0.619869, -0.129824], [0.185106, 0.425593], [0.498092, 0.382857], [0.397112, -0.306408]]
    np.testing.assert_allclose(model.item_embedding.weight.detach(), expected, atol=5e-7)
    assert model.loss(inputs) == pytest.approx(1.365446, abs=5e-7)
    expected = [[1.369361, 0.356635], [0.489077, 1.549488], [1.218467, -0.954213]]
    items = model.item_embedding.weight.detach().clone()
    np.testing.assert_allclose(users_of(model, inputs), expected, atol=5e-7)
    assert model.loss(inputs) == pytest.approx(1.172045, abs=5e-7)
    model, _ = worked_example()
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    torch.testing.assert_close(model.item_embedding.weight.detach(), items)
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    expected = [[0.716486, -0.148552], [0.218341, 0.520842], [0.570629, 0.479945], [0.465399, -0.347577]]
    np.testing.assert_allclose(model.item_embedding.weight.detach(), expected, atol=5e-7)
    assert model.loss(inputs) == pytest.approx(1.059410, abs=5e-7)


def dense_loss(model: EALS, data: Interactions, user_UD: torch.Tensor, item_ID: torch.Tensor) -> torch.Tensor:
    """The objective from all U x I cells, as the text has it."""
    seen = torch.from_numpy(data.by_user.toarray()).double()
    score = user_UD @ item_ID.T
    fit = seen * (1 - score) ** 2 + (1 - seen) * model.missing_weight_I * score**2
    return fit.sum() + model.config.l2 * (user_UD.square().sum() + item_ID.square().sum())


@pytest.mark.parametrize("missing_weight", [0.3, 5.0])
def test_the_loss_in_linear_time_is_the_loss_over_all_cells(missing_weight):
    model, inputs = of(random_data(), embedding_dim=3, stddev=1.0, missing_weight=missing_weight)
    tables = model.user_embedding.weight, model.item_embedding.weight
    assert model.loss(inputs) == pytest.approx(dense_loss(model, inputs.train, *tables).item(), rel=1e-10)


def moved_by_hand(model: EALS, data: Interactions) -> tuple[torch.Tensor, torch.Tensor]:
    """A sweep in which every coordinate goes to the minimum of the dense loss in it, by that loss's own two derivatives."""
    tables = [table.weight.detach().clone() for table in (model.user_embedding, model.item_embedding)]
    for side, table in enumerate(tables):
        for place in np.ndindex(*table.shape):
            value = table[place].clone().requires_grad_()
            with_value = [*tables]
            with_value[side] = table.index_put(tuple(torch.tensor(index) for index in place), value)
            (slope,) = torch.autograd.grad(dense_loss(model, data, *with_value), value, create_graph=True)
            (curvature,) = torch.autograd.grad(slope, value)
            table[place] -= (slope / curvature).detach()
    return tables[0], tables[1]


@pytest.mark.parametrize("missing_weight", [0.3, 3.0])
def test_every_coordinate_goes_to_the_minimum_of_the_loss_over_all_cells(missing_weight):
    model, inputs = of(embedding_dim=3, stddev=0.5, missing_weight=missing_weight, l2=0.2)
    user_UD, item_ID = moved_by_hand(model, WORKED)
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    torch.testing.assert_close(model.user_embedding.weight.detach(), user_UD)
    torch.testing.assert_close(model.item_embedding.weight.detach(), item_ID)


def test_no_sweep_makes_the_loss_rise_even_where_missing_cells_weigh_more_than_chosen_ones():
    model, inputs = of(random_data(), embedding_dim=4, missing_weight=2.0, popularity_power=1.0)
    losses = [SWEEP.epoch(model, inputs, np.random.default_rng(1)) for _ in range(20)]
    assert (np.diff(losses) <= 1e-12).all()


def test_sweeps_over_users_end_at_the_direct_solution():
    model, inputs = of(random_data(), embedding_dim=4, stddev=0.5, l2=1.0)
    item_ID, lists = model.item_embedding.weight.detach().clone(), inputs.user_lists
    for _ in range(60):
        users_of(model, inputs)
    _, weight_T, target_T = model.weighed(lists, model.missing_weight_I[lists.index])
    penalty_U = torch.full((lists.count,), model.config.l2, dtype=torch.float64)
    solved = ridge_rows(item_ID, lists, weight_T, target_T, model.shared_by_users(), penalty_U)
    torch.testing.assert_close(model.user_embedding.weight.detach(), solved, atol=1e-9, rtol=1e-9)


def test_with_equal_missing_weights_the_fixed_point_is_that_of_weighted_ridge_regressions_over_all_cells():
    data = random_data(12, 8)
    model, inputs = of(data, embedding_dim=2, popularity_power=0.0, missing_weight=0.2, l2=0.5)
    for _ in range(300):
        SWEEP.epoch(model, inputs, np.random.default_rng(1))
    seen = torch.from_numpy(data.by_user.toarray()).double()
    user_UD, item_ID = model.user_embedding.weight.detach(), model.item_embedding.weight.detach()
    assert set(model.missing_weight_I.tolist()) == {0.2}
    for u in range(len(seen)):
        weight_I = torch.where(seen[u] > 0, 1.0, 0.2)
        normal_DD = item_ID.T @ (weight_I[:, None] * item_ID) + 0.5 * torch.eye(2, dtype=torch.float64)
        solved_D = torch.linalg.solve(normal_DD, item_ID.T @ (weight_I * seen[u]))
        torch.testing.assert_close(user_UD[u], solved_D, atol=1e-7, rtol=1e-6)


def test_items_that_nobody_chose_end_at_zero():
    model, inputs = of(chosen_by([[0, 1], [0]], 3), embedding_dim=2)
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    assert model.item_embedding.weight[2].abs().max() < 1e-15
    assert model.missing_weight_I[2] == 0


def test_folding_in_is_the_direct_solution_for_each_history():
    model, inputs = of(random_data(), embedding_dim=3, l2=0.1)
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    folded = model.fold_in(History.of([[0, 2, 5], []], 30))
    weight_I = model.missing_weight_I.clone()
    weight_I[[0, 2, 5]] = 1.0
    item_ID = model.item_embedding.weight.detach()
    normal_DD = item_ID.T @ (weight_I[:, None] * item_ID) + 0.1 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(folded[0], torch.linalg.solve(normal_DD, item_ID[[0, 2, 5]].sum(0)))
    assert folded[1].tolist() == [0.0, 0.0, 0.0]


def test_contributions_sum_to_the_score_of_the_folded_vector():
    model, inputs = of(random_data(), embedding_dim=3)
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    history = History.of([[0, 2]], 30)
    contribution_T = model.attention(torch.tensor([3]), history)["user_history"]
    assert contribution_T.shape == (2,)
    torch.testing.assert_close(contribution_T.sum(), (model.fold_in(history) @ model.item_embedding.weight[3]).squeeze())


@functools.cache
def fitted_twice(share: float) -> tuple[EALS, EALS, Inputs, Interactions]:
    data = random_data(120, 40)
    order = np.random.default_rng(2).permutation(len(data))
    old, new = data.take(order[: int(share * len(data))]), data.take(order[int(share * len(data)) :])
    (model, early), (whole, inputs) = (of(rows, embedding_dim=4, popularity_power=0.0, l2=0.1) for rows in (old, data))
    for _ in range(30):
        SWEEP.epoch(model, early, np.random.default_rng(1))
        SWEEP.epoch(whole, inputs, np.random.default_rng(1))
    return model, whole, inputs, new


def streamed(share: float = 0.8, **config) -> tuple[EALS, EALS, Inputs, Interactions]:
    """A model of the first rows, one of all of them, all of them, and the rows that only the second has seen."""
    model, whole, inputs, new = fitted_twice(share)
    model, whole = copy.deepcopy(model), copy.deepcopy(whole)
    model.config = dataclasses.replace(model.config, **config)
    return model, whole, inputs, new


def test_an_update_brings_the_objective_most_of_the_way_to_that_of_a_fit_to_all_rows():
    model, whole, inputs, new = streamed(0.9)
    assert isinstance(model, Updatable)
    before, least = model.loss(inputs), whole.loss(inputs)
    model.update(inputs, new)
    assert least < model.loss(inputs) < least + 0.25 * (before - least)


def test_an_update_with_one_pair_is_a_sweep_of_its_user_and_then_of_its_item():
    model, _, inputs, new = streamed()
    twin, _, _, _ = streamed()
    model.update(inputs, new.take(np.array([0])))
    user, item = int(new.user[0]), int(new.item[0])
    others = torch.arange(120) != user
    whole_user_UD = users_of(twin, inputs)
    twin.user_embedding.weight.data[others] = streamed()[0].user_embedding.weight.data[others]
    torch.testing.assert_close(model.user_embedding.weight[user], whole_user_UD[user])
    tables = twin.user_embedding.weight.detach().clone(), twin.item_embedding.weight.detach().clone()
    lists, weight_I = inputs.item_lists, twin.missing_weight_I
    own = slice(int(lists.start[item]), int(lists.start[item + 1]))
    chosen_LD = tables[0][lists.index[own]]
    normal_DD = weight_I[item] * tables[0].T @ tables[0] + (1 - weight_I[item]) * chosen_LD.T @ chosen_LD
    normal_DD += twin.config.l2 * torch.eye(4, dtype=torch.float64)
    expected_D = tables[1][item].clone()
    for f in range(4):
        expected_D[f] += (chosen_LD.sum(0)[f] - normal_DD[f] @ expected_D) / normal_DD[f, f]
    torch.testing.assert_close(model.item_embedding.weight[item], expected_D)


def test_an_update_leaves_everybody_alone_who_has_no_new_pair():
    model, _, inputs, new = streamed()
    user_UD, item_ID = (table.weight.detach().clone() for table in (model.user_embedding, model.item_embedding))
    model.update(inputs, new.take(np.arange(3)))
    is_moved_U = (model.user_embedding.weight != user_UD).any(1).nonzero().ravel()
    is_moved_I = (model.item_embedding.weight != item_ID).any(1).nonzero().ravel()
    assert set(is_moved_U.tolist()) == set(new.user[:3].tolist())
    assert set(is_moved_I.tolist()) == set(new.item[:3].tolist())


def test_new_users_and_items_enter_with_vectors_and_the_mean_missing_weight():
    known = chosen_by([[0, 1], [0, 1], [2, 3], [2, 3]], 4)
    model, inputs = of(known, embedding_dim=4, missing_weight=0.2, popularity_power=0.5, update_rounds=5, l2=0.1)
    for _ in range(20):
        SWEEP.epoch(model, inputs, np.random.default_rng(1))
    weight_I = model.missing_weight_I.clone()
    grown = chosen_by([[0, 1, 4], [0, 1], [2, 3], [2, 3], [2, 5], [6]], 8)
    is_new = (grown.user >= 4) | (grown.item >= 4)
    model.update(Inputs(grown), grown.take(is_new))
    assert model.user_embedding.weight.shape == (6, 4)
    assert model.item_embedding.weight.shape == (8, 4)
    torch.testing.assert_close(model.missing_weight_I[:4], weight_I)
    assert model.missing_weight_I[4:].tolist() == [0.2, 0.2, 0.2, 0.0]
    score = model.score_catalogue(torch.arange(6))
    assert score[4, 3] > score[4, 1]  # as those who chose item 2 do
    assert score[0, 4] > 0.3
    assert score[5, 6] > 0.1
    assert model.item_embedding.weight[7].tolist() == [0.0] * 4


def test_a_pair_that_is_told_of_twice_brings_its_item_to_life():
    model, inputs = of(chosen_by([[0, 1], [0, 1]], 2), embedding_dim=4, missing_weight=0.2)
    SWEEP.epoch(model, inputs, np.random.default_rng(1))
    grown = chosen_by([[0, 1], [0, 1], [2]], 3)
    model.update(Inputs(grown), grown.take(np.repeat(np.flatnonzero(grown.item == 2), 2)))
    assert model.missing_weight_I[2] == 0.2
    assert model(torch.tensor([2]), torch.tensor([2])).item() > 0.0


def test_the_same_update_gives_the_same_bits():
    first, second = streamed(), streamed()
    for model, _, inputs, new in (first, second):
        model.update(inputs, new)
    assert torch.equal(first[0].user_embedding.weight, second[0].user_embedding.weight)
    assert torch.equal(first[0].item_embedding.weight, second[0].item_embedding.weight)


def test_a_new_pair_with_more_weight_is_fitted_closer():
    (light, _, inputs, new), (heavy, _, _, _) = streamed(), streamed(new_weight=8.0)
    one = new.take(np.array([1]))
    pair = torch.from_numpy(one.user), torch.from_numpy(one.item)
    light.update(inputs, one)
    heavy.update(inputs, one)
    assert abs(1 - heavy(*pair).item()) < abs(1 - light(*pair).item())


def test_more_rounds_bring_a_pair_closer_to_its_minimum():
    (once, _, inputs, new), (often, _, _, _) = streamed(), streamed(update_rounds=10)
    for model in (once, often):
        model.update(inputs, new.take(np.array([0])))
    assert often.loss(inputs) < once.loss(inputs)


def test_new_rows_that_are_not_in_the_data_are_refused():
    model, _, inputs, _ = streamed()
    early = Inputs(inputs.train.take(np.arange(5)))
    with pytest.raises(DataError, match="of 1 new rows are not in the data; pass all that is known"):
        model.update(early, inputs.train.take(np.array([10])))


def test_data_that_lack_somebody_whom_the_model_knows_are_refused():
    model, _ = of(embedding_dim=2)
    fewer = chosen_by([[0, 2], [1, 2]], 4)
    with pytest.raises(DataError, match="have 2 users and 4 items, fewer than the 3 and 4 that the model knows; keep their"):
        model.update(Inputs(fewer), fewer.take(np.array([0])))


@pytest.mark.parametrize("items", [[0, 2, 4], [1, 3, 5]])
def test_a_stranger_is_served_what_others_of_the_same_taste_chose(items):
    made = fitted("eals")
    answer = made.recommend_for([f"i{item}" for item in items], k=5)
    assert {int(item.removeprefix("i")) % 2 for item in answer["item"]} == {items[0] % 2}
    assert set(answer["way"]) == {"folded in by one solve"}
