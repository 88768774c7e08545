import math

import numpy as np
import pytest
import torch

from attlas.data.inputs import History, Inputs, Sizes
from attlas.data.interactions import Interactions
from attlas.errors import ConfigError
from attlas.models import expomf
from attlas.models.expomf import ExpoMF, Side
from attlas.ops.packed import ridge_packed
from attlas.ops.ridge import ridge_rows
from tests.toy import chosen_by, fitted

WORKED = chosen_by([[0, 2], [1, 2], [0, 3]], 4)
PAPER = {"embedding_dim": 2, "l2": 0.01, "prior_start": 0.25}
EM = ExpoMF.EM()
P = [[1, 0.090625, 1, 0.117243], [0.144793, 1, 1, 0.117186], [1, 0.090427, 0.207970, 1]]
P_OF_THE_AUTHORS = [[1, 0.238431, 1, 0.294408], [0.347214, 1, 1, 0.294294], [1, 0.237995, 0.452030, 1]]


def of(data=WORKED, **config) -> tuple[ExpoMF, Inputs]:
    """A model of that data in double precision."""
    inputs = Inputs(data)
    torch.manual_seed(1)
    return ExpoMF(inputs.sizes, ExpoMF.Config(**config)).double(), inputs


def worked_example(**config) -> tuple[ExpoMF, Inputs]:
    model, inputs = of(**(PAPER | config))
    model.user_embedding.weight.data = torch.tensor([[0.1, 0.2], [0.3, -0.1], [0.2, 0.4]], dtype=torch.float64)
    items = [[0.5, 0.1], [-0.2, 0.3], [0.4, 0.2], [0.1, -0.3]]
    model.item_embedding.weight.data = torch.tensor(items, dtype=torch.float64)
    model.prior_I = torch.tensor([0.3, 0.2, 0.4, 0.25], dtype=torch.float64)
    return model, inputs


def random_data(num_users: int = 30, num_items: int = 20, share: float = 0.15) -> Interactions:
    rng = np.random.default_rng(1)
    return chosen_by([np.flatnonzero(rng.random(num_items) < share).tolist() for _ in range(num_users)], num_items)


def seen(model: ExpoMF, side: Side) -> torch.Tensor:
    """p of all cells at once, [G, E]."""
    return model.block(side, slice(0, len(side.own)), slice(0, len(side.other)), chosen=math.inf).sigmoid()


def solved_by_hand(model: ExpoMF, p_GE: torch.Tensor, other_ED: torch.Tensor, y_GE: torch.Tensor) -> torch.Tensor:
    """The M-step of one side as the text has it, row by row."""
    precision, l2 = model.config.click_precision, model.config.l2
    rows = []
    for p_E, y_E in zip(p_GE, y_GE, strict=True):
        normal_DD = precision * other_ED.T @ (p_E[:, None] * other_ED) + l2 * torch.eye(other_ED.shape[1], dtype=torch.float64)
        rows.append(torch.linalg.solve(normal_DD, precision * other_ED.T @ (p_E * y_E)))
    return torch.stack(rows)


def literal_objective(model: ExpoMF, y_UI: torch.Tensor, user_UD: torch.Tensor, item_ID: torch.Tensor) -> torch.Tensor:
    """L over all cells, as the text has it."""
    config, mu_I, score_UI = model.config, model.prior_I, user_UD @ item_ID.T

    def density(at: float) -> torch.Tensor:
        height = math.sqrt(config.click_precision / (2 * math.pi))
        return height * torch.exp(-0.5 * config.click_precision * (at - score_UI) ** 2)

    cells = torch.where(y_UI > 0, (mu_I * density(1.0)).log(), (mu_I * density(0.0) + 1 - mu_I).log())
    beta = (config.prior_a - 1) * mu_I.log() + (config.prior_b - 1) * (1 - mu_I).log()
    return cells.sum() + beta.sum() - 0.5 * config.l2 * (user_UD.square().sum() + item_ID.square().sum())


def matrix_of(inputs: Inputs) -> torch.Tensor:
    return torch.from_numpy(inputs.train.by_user.toarray()).double()


@pytest.mark.parametrize(("constant", "expected"), [("exact", P), ("authors", P_OF_THE_AUTHORS)])
def test_exposures_are_those_of_the_worked_example(constant, expected):
    model, inputs = worked_example(constant=constant)
    np.testing.assert_allclose(seen(model, model.side(inputs, "user")).detach(), expected, atol=5e-7)
    np.testing.assert_allclose(seen(model, model.side(inputs, "item")).detach().T, expected, atol=5e-7)
    user, item = torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2])
    picked = np.array(expected)[user, item]
    np.testing.assert_allclose(model.exposure(user, item).detach(), picked, atol=5e-7)


def test_a_sweep_gives_the_vectors_the_prior_and_the_objective_of_the_worked_example():
    model, inputs = worked_example()
    assert model.bound(inputs) == pytest.approx(-16.645050, abs=5e-7)
    EM.epoch(model, inputs, np.random.default_rng(1))
    users = [[1.838025, 0.984852], [0.500509, 3.211467], [2.170416, -2.117261]]
    np.testing.assert_allclose(model.user_embedding.weight.detach(), users, atol=5e-7)
    items = [[0.500472, 0.023554], [0.067336, 0.291890], [0.364179, 0.269376], [0.284396, -0.166875]]
    np.testing.assert_allclose(model.item_embedding.weight.detach(), items, atol=5e-7)
    np.testing.assert_allclose(model.prior_I, [0.713168, 0.388624, 0.735365, 0.406822], atol=5e-7)
    assert model.bound(inputs) == pytest.approx(-11.121688, abs=5e-7)


def test_items_with_the_exposures_that_users_were_solved_with_are_those_of_the_worked_example_and_not_ours():
    model, inputs = worked_example()
    p_UI = seen(model, model.side(inputs, "user"))
    model.user_embedding.weight.data = model.solve(model.side(inputs, "user"))
    stale = solved_by_hand(model, p_UI.T, model.user_embedding.weight, matrix_of(inputs).T).detach()
    expected = [[0.499104, 0.020344], [0.119067, 0.281972], [0.362263, 0.270289], [0.303324, -0.145293]]
    np.testing.assert_allclose(stale, expected, atol=5e-7)
    assert (model.solve(model.side(inputs, "item")) - stale).abs().max() > 0.01


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("constant", ["exact", "authors"])
def test_a_step_in_blocks_is_the_step_over_all_cells_at_once(side, constant, monkeypatch):
    model, inputs = of(random_data(), embedding_dim=3, stddev=0.5, click_precision=2.0, l2=0.1, constant=constant)
    given = model.side(inputs, side)
    y_GE = matrix_of(inputs) if side == "user" else matrix_of(inputs).T
    expected = solved_by_hand(model, seen(model, given), given.other, y_GE).detach()
    torch.testing.assert_close(model.solve(given), expected)
    sums, bound = model.expect(inputs)
    monkeypatch.setattr(expomf, "BLOCK_FLOATS", 7 * 6)
    assert expomf._block_shape(3) == (7, 3, 6)
    torch.testing.assert_close(model.solve(given), expected)
    torch.testing.assert_close(model.expect(inputs)[0], sums)
    assert model.bound(inputs) == pytest.approx(bound)


def test_where_single_precision_cannot_hold_the_penalty_the_step_is_taken_in_double():
    model, inputs = of(random_data(), embedding_dim=24, l2=1e-5)
    EM.epoch(model, inputs, np.random.default_rng(1))
    model.float()
    side, rows = model.side(inputs, "item"), slice(0, 20)
    with pytest.raises(ConfigError, match="cannot be solved in floats: the penalty, l2, is too small"):
        ridge_packed(*model.equations(side, rows, torch.float32))
    exact_ID = ridge_packed(*model.equations(side, rows, torch.float64))
    torch.testing.assert_close(model.solve(side), exact_ID.float())


def test_no_block_is_larger_than_what_it_may_hold(monkeypatch):
    model, inputs = of(random_data(), embedding_dim=3)
    monkeypatch.setattr(expomf, "BLOCK_FLOATS", 7 * 6)
    shapes, block = [], model.block

    def told(*given, chosen):
        shapes.append(block(*given, chosen=chosen).shape)
        return block(*given, chosen=chosen)

    monkeypatch.setattr(model, "block", told)
    model.solve(model.side(inputs, "user"))
    model.expect(inputs)
    assert max(rows for rows, _ in shapes) == 7
    assert max(columns for _, columns in shapes) == 3


def test_the_bound_is_the_objective_with_exposure_summed_out():
    settings = {"stddev": 0.7, "click_precision": 2.0, "l2": 0.1, "prior_start": 0.2, "prior_a": 2.0, "prior_b": 3.0}
    model, inputs = of(random_data(), embedding_dim=3, **settings)
    tables = model.user_embedding.weight, model.item_embedding.weight
    assert model.bound(inputs) == pytest.approx(literal_objective(model, matrix_of(inputs), *tables).item(), rel=1e-10)


def test_the_gradient_of_the_objective_is_that_of_the_m_step_at_the_exposures_that_stand():
    model, inputs = of(random_data(), embedding_dim=3, stddev=0.7, click_precision=2.0, l2=0.1)
    user_UD, item_ID, y_UI = model.user_embedding.weight, model.item_embedding.weight, matrix_of(inputs)
    (gradient_UD,) = torch.autograd.grad(literal_objective(model, y_UI, user_UD, item_ID), user_UD)
    p_UI = seen(model, model.side(inputs, "user"))
    pull_UI = 2.0 * p_UI * (y_UI - user_UD @ item_ID.T)
    torch.testing.assert_close(gradient_UD, pull_UI @ item_ID - 0.1 * user_UD)


@pytest.mark.parametrize("prior", ["popularity", "constant"])
def test_the_bound_never_falls(prior):
    settings = {"click_precision": 1.5, "l2": 0.01, "prior_start": 0.1, "prior_a": 1.5, "prior_b": 2.0, "stddev": 0.1}
    model, inputs = of(random_data(), embedding_dim=4, prior=prior, **settings)
    bounds = [model.bound(inputs)]
    for _ in range(50):
        before_its_last_step = -EM.epoch(model, inputs, np.random.default_rng(1)) * len(inputs.train)
        bounds += [before_its_last_step, model.bound(inputs)]
    assert (np.diff(bounds) >= -1e-9).all()
    assert bounds[-1] > bounds[0] + 10


def test_with_vectors_of_zeros_and_one_prior_a_step_is_that_of_a_factorisation_that_weighs_all_missing_cells_alike():
    model, inputs = of(random_data(), embedding_dim=3, prior="constant", prior_start=0.2, click_precision=2.0, l2=0.3)
    model.user_embedding.weight.data.zero_()
    lists, item_ID = inputs.user_lists, model.item_embedding.weight
    height = math.sqrt(2.0 / (2 * math.pi))
    everywhere = 0.2 * height / (0.2 * height + 0.8)
    torch.testing.assert_close(
        model.exposure(*torch.tensor([[0, 1], [2, 3]])), torch.full((2,), everywhere, dtype=torch.float64)
    )
    ones_T, penalty_U = torch.ones(len(lists.index), dtype=torch.float64), torch.full((30,), 0.3 / 2.0, dtype=torch.float64)
    weighed = ridge_rows(item_ID, lists, (1 - everywhere) * ones_T, ones_T, everywhere * item_ID.T @ item_ID, penalty_U)
    torch.testing.assert_close(model.solve(model.side(inputs, "user")), weighed)


def test_a_constant_prior_stays_where_it_began_and_that_of_popularity_follows_the_item():
    constant, inputs = of(embedding_dim=2, prior="constant", prior_start=0.2)
    popularity, _ = of(chosen_by([[0, 1], [0], [0], [0]], 3), embedding_dim=2, prior_start=0.2)
    EM.epoch(constant, inputs, np.random.default_rng(1))
    EM.epoch(popularity, Inputs(chosen_by([[0, 1], [0], [0], [0]], 3)), np.random.default_rng(1))
    assert constant.prior_I.tolist() == pytest.approx([0.2] * 4)
    assert popularity.prior_I[0] == pytest.approx(1 - expomf.SURE)
    assert popularity.prior_I[0] > popularity.prior_I[1] > popularity.prior_I[2]


def test_the_beta_prior_holds_the_prior_near_its_mode():
    model, inputs = of(embedding_dim=2, prior_start=0.2, prior_a=1001.0, prior_b=4001.0)
    EM.epoch(model, inputs, np.random.default_rng(1))
    np.testing.assert_allclose(model.prior_I, 0.2, atol=2e-3)


def test_with_the_authors_constant_the_prior_of_random_choices_grows_to_one_and_without_it_does_not():
    rng = np.random.default_rng(1)
    data = chosen_by([np.flatnonzero(rng.random(300) < 0.05).tolist() for _ in range(200)], 300)
    means = {}
    for constant in ("exact", "authors"):
        model, inputs = of(data, embedding_dim=5, prior_start=0.05, constant=constant)
        for _ in range(40):
            EM.epoch(model, inputs, np.random.default_rng(1))
        means[constant] = model.prior_I.mean().item()
    assert means["exact"] < 0.1
    assert means["authors"] > 0.99


def test_the_expected_choice_is_the_preference_times_the_prior():
    expected, _ = worked_example(score="expected")
    preference, _ = worked_example()
    torch.testing.assert_close(
        expected.score_catalogue(torch.arange(3)), preference.score_catalogue(torch.arange(3)) * expected.prior_I
    )
    user, item = torch.from_numpy(WORKED.user), torch.from_numpy(WORKED.item)
    torch.testing.assert_close(expected(user, item), preference(user, item) * expected.prior_I[item])


def test_folding_in_ends_where_another_step_changes_nothing():
    model, inputs = of(random_data(), embedding_dim=3, l2=0.1, prior_start=0.1)
    for _ in range(5):
        EM.epoch(model, inputs, np.random.default_rng(1))
    history = History.of([[0, 2, 5], [], [0, 2, 5, 7, 8]], 20)
    folded = model.fold_in(history)
    side = Side(folded, model.item_embedding.weight, history.lists, model.odds_at_zero(model.prior_I).expand(3, -1))
    torch.testing.assert_close(model.solve(side), folded, atol=1e-4, rtol=1e-4)
    assert folded[1].tolist() == [0.0, 0.0, 0.0]


def test_folding_in_the_known_histories_gives_the_vectors_that_em_ends_at():
    model, inputs = of(random_data(), embedding_dim=3, l2=0.5, prior_start=0.1)
    for _ in range(150):
        EM.epoch(model, inputs, np.random.default_rng(1))
    lists = [inputs.train.item[inputs.train.user == user].tolist() for user in range(5)]
    torch.testing.assert_close(
        model.fold_in(History.of(lists, 20)), model.user_embedding.weight.detach()[:5], atol=2e-2, rtol=2e-2
    )


@pytest.mark.parametrize("score", ["preference", "expected"])
def test_contributions_sum_to_the_score_of_the_folded_vector(score):
    model, inputs = of(random_data(), embedding_dim=3, l2=0.1, prior_start=0.1, score=score)
    EM.epoch(model, inputs, np.random.default_rng(1))
    history, item = History.of([[0, 2]], 20), torch.tensor([3])
    contribution_T = model.attention(item, history)["user_history"]
    assert contribution_T.shape == (2,)
    torch.testing.assert_close(contribution_T.sum(), (model.fold_in(history) @ model.encode_item(item)[0]).squeeze())


def test_predicted_memory_does_not_grow_with_the_number_of_cells():
    small, large = (ExpoMF.memory(Sizes(size, size), ExpoMF.Config())["a block of cells"] for size in (10_000, 10_000_000))
    assert small == large


@pytest.mark.parametrize("items", [[0, 2, 4], [1, 3, 5]])
def test_a_stranger_is_served_what_others_of_the_same_taste_chose(items):
    made = fitted("expomf")
    answer = made.recommend_for([f"i{item}" for item in items], k=5)
    assert {int(item.removeprefix("i")) % 2 for item in answer["item"]} == {items[0] % 2}
    assert set(answer["way"]) == {"folded in by one solve"}
