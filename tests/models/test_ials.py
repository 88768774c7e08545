import dataclasses

import numpy as np
import pytest
import torch

from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError
from attlas.models.ials import IALS
from attlas.strangers import given_histories
from tests.toy import chosen_by

WORKED = chosen_by([[0, 2], [1, 2], [0, 3]], 4)
HU = {"embedding_dim": 2, "alpha": 40.0, "unobserved_weight": 1.0, "zeros": "unobserved", "l2": 0.1, "l2_exponent": 0.0}


def of(data=WORKED, **config) -> tuple[IALS, Inputs]:
    """A model of that data; its vectors are those of the worked example where they fit."""
    inputs = Inputs(data)
    torch.manual_seed(1)
    return IALS(inputs.sizes, IALS.Config(**config)), inputs


def worked_example() -> tuple[IALS, Inputs]:
    model, inputs = of(**HU)
    with torch.no_grad():
        model.user_embedding.weight.copy_(torch.tensor([[0.1, 0.2], [0.3, -0.1], [0.2, 0.4]]))
        model.item_embedding.weight.copy_(torch.tensor([[0.5, 0.1], [-0.2, 0.3], [0.4, 0.2], [0.1, -0.3]]))
    return model.double(), inputs


def test_a_sweep_gives_the_vectors_and_the_losses_of_the_worked_example():
    model, inputs = worked_example()
    solver = IALS.Alternating(method="cholesky")
    assert model.loss(inputs) == pytest.approx(232.182300, abs=1e-6)
    users = solver.half_sweep(model, model.user_embedding.weight, model.item_embedding.weight, inputs.user_lists, ones(6))
    model.user_embedding.weight.data.copy_(users)
    expected = [[1.784944, 1.264761], [0.603158, 3.615433], [2.425735, -2.364346]]
    np.testing.assert_allclose(users, expected, atol=1e-6)
    assert model.loss(inputs) == pytest.approx(6.525013, abs=1e-6)
    items = solver.half_sweep(model, model.item_embedding.weight, model.user_embedding.weight, inputs.item_lists, ones(6))
    model.item_embedding.weight.data.copy_(items)
    expected = [[0.493254, 0.078497], [0.122070, 0.253570], [0.396893, 0.214333], [0.291233, -0.121936]]
    np.testing.assert_allclose(items, expected, atol=1e-6)
    assert model.loss(inputs) == pytest.approx(4.216957, abs=1e-6)


def ones(count: int) -> torch.Tensor:
    return torch.ones(count, dtype=torch.float64)


def dense_loss(model: IALS, data) -> float:
    """The objective from all U x I cells, as the text has it."""
    config, seen = model.config, torch.from_numpy(data.by_user.toarray()).double()
    score = (model.user_embedding.weight @ model.item_embedding.weight.T).double()
    confidence = config.alpha * seen
    if config.zeros == "everywhere":
        fit = (confidence * (1 - score) ** 2 + config.unobserved_weight * score**2).sum()
    else:
        fit = ((confidence + config.unobserved_weight) * (seen - score) ** 2).sum()
    for table, size, other in (
        (model.user_embedding, seen.sum(1), seen.shape[1]),
        (model.item_embedding, seen.sum(0), len(seen)),
    ):
        penalty = config.l2 * (size + config.unobserved_weight * other) ** config.l2_exponent
        fit = fit + (penalty * table.weight.double().square().sum(1)).sum()
    return float(fit.detach())


@pytest.mark.parametrize("zeros", ["everywhere", "unobserved"])
@pytest.mark.parametrize("l2_exponent", [0.0, 0.5, 1.0])
def test_the_loss_in_linear_time_is_the_loss_over_all_cells(zeros, l2_exponent):
    model, inputs = of(embedding_dim=3, zeros=zeros, l2_exponent=l2_exponent, unobserved_weight=0.3, alpha=2.0, stddev=2.0)
    assert model.loss(inputs) == pytest.approx(dense_loss(model, WORKED), rel=1e-5)


@pytest.mark.parametrize("zeros", ["everywhere", "unobserved"])
def test_an_exact_half_sweep_leaves_no_gradient(zeros):
    model, inputs = of(embedding_dim=3, zeros=zeros, unobserved_weight=0.3)
    model.double()
    item_ID = model.item_embedding.weight
    user_UD = IALS.Alternating(method="cholesky").half_sweep(model, item_ID[:3], item_ID, inputs.user_lists, ones(6))
    weight_T, target_T = model.weights(ones(6))
    gram_DD, penalty_U = model.shared(item_ID, inputs.user_lists)
    for user in range(3):
        own = slice(2 * user, 2 * user + 2)
        chosen_LD = item_ID[inputs.user_lists.index[own]]
        score_L = chosen_LD @ user_UD[user]
        half_gradient_D = gram_DD @ user_UD[user] + penalty_U[user] * user_UD[user]
        half_gradient_D = half_gradient_D + chosen_LD.T @ (weight_T[own] * score_L - target_T[own])
        torch.testing.assert_close(half_gradient_D, torch.zeros(3, dtype=torch.float64))


def test_no_exact_sweep_makes_the_loss_rise():
    model, inputs = of(embedding_dim=3, unobserved_weight=0.5, l2=0.01)
    losses = [IALS.Alternating(method="cholesky").epoch(model, inputs, np.random.default_rng(1)) for _ in range(6)]
    assert (np.diff(losses) <= 1e-6).all()


def test_as_many_steps_as_dimensions_solve_as_cholesky_does():
    exact, inputs = of(embedding_dim=3)
    nearly, _ = of(embedding_dim=3)
    IALS.Alternating(method="cholesky").epoch(exact, inputs, np.random.default_rng(1))
    IALS.Alternating(method="cg", steps=6).epoch(nearly, inputs, np.random.default_rng(1))
    torch.testing.assert_close(nearly.item_embedding.weight, exact.item_embedding.weight, atol=1e-4, rtol=1e-3)


def test_counts_weigh_pairs_by_the_power_that_was_chosen():
    count_T = torch.tensor([1.0, 3.0])
    linear, _ = of(alpha=2.0)
    assert linear.weights(count_T)[0].tolist() == [2.0, 6.0]
    logarithmic, _ = of(alpha=2.0, counts="log", epsilon=0.5)
    torch.testing.assert_close(logarithmic.weights(count_T)[0], 2 * torch.tensor([3.0, 7.0]).log())
    binary, _ = of(alpha=2.0, counts="binary", zeros="unobserved", unobserved_weight=0.5)
    assert [part.tolist() for part in binary.weights(count_T)] == [[2.0, 2.0], [2.5, 2.5]]


def test_a_pair_chosen_more_often_scores_higher_on_both_sides_of_the_matrix():
    often = dataclasses.replace(WORKED, count=np.array([1, 9, 1, 1, 1, 1], np.float32))
    model, inputs = of(often, embedding_dim=2)
    plain, plain_inputs = of(embedding_dim=2)
    for one, given in ((model, inputs), (plain, plain_inputs)):
        for _ in range(10):
            IALS.Alternating(method="cholesky").epoch(one, given, np.random.default_rng(1))
    pair = torch.tensor([0]), torch.tensor([2])
    assert model(*pair).item() > plain(*pair).item()


def test_folding_in_a_known_history_gives_the_vector_of_a_half_sweep():
    model, inputs = of(embedding_dim=3)
    IALS.Alternating(method="cholesky").epoch(model, inputs, np.random.default_rng(1))
    item_ID = model.item_embedding.weight
    swept = IALS.Alternating(method="cholesky").half_sweep(model, item_ID[:3], item_ID, inputs.user_lists, torch.ones(6))
    folded = model.fold_in(History.of([[0, 2], [1, 2], [0, 3], []], 4))
    torch.testing.assert_close(folded[:3], swept)
    assert folded[3].tolist() == [0.0, 0.0, 0.0]


def test_folding_in_counts_as_often_as_was_chosen():
    often = dataclasses.replace(WORKED, count=np.array([1, 9, 1, 1, 2, 1], np.float32))
    model, inputs = of(often, embedding_dim=3)
    IALS.Alternating(method="cholesky").epoch(model, inputs, np.random.default_rng(1))
    item_ID = model.item_embedding.weight
    swept = IALS.Alternating(method="cholesky").half_sweep(
        model, item_ID[:3], item_ID, inputs.user_lists, torch.from_numpy(often.count)
    )
    folded = model.fold_in(given_histories(inputs, often.counts_by_user[[2, 0]]))
    torch.testing.assert_close(folded, swept[[2, 0]])


def test_contributions_sum_to_the_score_of_the_folded_vector():
    model, inputs = of(embedding_dim=3)
    IALS.Alternating(method="cholesky").epoch(model, inputs, np.random.default_rng(1))
    history = History.of([[0, 2]], 4)
    score = model.fold_in(history) @ model.item_embedding.weight[3]
    contribution_T = model.attention(torch.tensor([3]), history)["user_history"]
    assert contribution_T.shape == (2,)
    torch.testing.assert_close(contribution_T.sum(), score.squeeze())


def test_without_weight_on_unobserved_cells_only_what_was_chosen_is_fitted():
    model, inputs = of(embedding_dim=2, unobserved_weight=0.0, l2=1e-4)
    for _ in range(30):
        IALS.Alternating(method="cholesky").epoch(model, inputs, np.random.default_rng(1))
    user, item = torch.from_numpy(WORKED.user), torch.from_numpy(WORKED.item)
    torch.testing.assert_close(model(user, item), torch.ones(6), atol=1e-2, rtol=0)


def test_sizes_are_those_of_the_data():
    model = IALS(Sizes(5, 7), IALS.Config(embedding_dim=3))
    assert model.score_catalogue(torch.arange(5)).shape == (5, 7)


def test_equations_that_cannot_be_solved_in_floats_are_refused():
    model, inputs = of(embedding_dim=16, unobserved_weight=0.0, l2=1e-30, l2_exponent=0.0)
    with pytest.raises(ConfigError, match="cannot be solved in floats: the penalty, l2, is too small"):
        IALS.Alternating(method="cholesky").epoch(model, inputs, np.random.default_rng(1))
