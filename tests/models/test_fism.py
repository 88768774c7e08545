"""FISM's worked example by hand: three users, four items, rows of the matrix [1,1,0,1], [0,1,1,0], [1,0,1,1]; D is 2."""

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from attlas.data.inputs import History, Inputs, Sizes, whole
from attlas.models.fism import FISM
from attlas.training.objectives import Batch, Pointwise
from attlas.training.whole import WholeData
from tests.toy import chosen_by

INPUTS = Inputs(chosen_by([[0, 1, 3], [1, 2], [0, 2, 3]], 4))
DIGITS = 1e-6  # the example is written to six decimals


def fill(t: int, rows: int, columns: int | None = None) -> torch.Tensor:
    """(((3r + 5c + 2t) mod 11) - 5) / 5."""
    row, column = np.arange(rows)[:, None], np.arange(columns or 1)[None]
    table = ((3 * row + 5 * column + 2 * t) % 11 - 5) / 5
    return torch.from_numpy(table if columns else table[:, 0])


def worked_example(**settings) -> FISM:
    model = FISM(Sizes(3, 4), FISM.Config(embedding_dim=2, **settings)).double()
    tables = {"item_embedding.weight": fill(1, 4, 2), "history_item.weight": fill(2, 4, 2), "item_bias": fill(7, 4)}
    model.load_state_dict(tables)
    return model


def gathered(user: list[int], item: list[int], leave_out: str = "remove") -> dict:
    rng = np.random.default_rng(1)
    return INPUTS.gather(("item", "user_history"), np.array(user), np.array(item), leave_out=leave_out, rng=rng)


@pytest.mark.parametrize(
    ("item", "normalisation", "expected"),
    [(1, 0.0, 1.4), (1, 0.5, 1.048528), (1, 1.0, 0.8), (2, 0.0, 0.32), (2, 0.5, 0.522872), (2, 1.0, 0.64)],
)
def test_the_score_is_that_of_the_worked_example(item, normalisation, expected):
    assert worked_example(normalisation=normalisation)(**gathered([0], [item])).item() == pytest.approx(expected, abs=DIGITS)


@pytest.mark.parametrize(("item", "expected"), [(1, [-0.565685, 0.848528]), (2, [-0.230940, 0.230940])])
def test_the_users_vector_is_that_of_the_worked_example(item, expected):
    code = worked_example(normalisation=0.5).encode_user(gathered([0], [item])["user_history"])[0]
    assert code.tolist() == pytest.approx([*expected, 1.0], abs=DIGITS)


def test_the_loss_is_the_cross_entropy_of_the_worked_examples_scores():
    batch = Batch(gathered([0, 0], [1, 2]), tensor([1.0, 0.0], dtype=torch.float64))
    by_hand = (np.log1p(np.exp(-1.4)) + np.log1p(np.exp(0.32))) / 2
    assert Pointwise().loss(worked_example(), batch).item() == pytest.approx(by_hand, abs=DIGITS)


def random_model(**settings) -> FISM:
    torch.manual_seed(3)
    model = FISM(Sizes(20, 15), FISM.Config(embedding_dim=4, stddev=1.0, **settings)).double()
    if model.item_bias is not None:
        torch.nn.init.normal_(model.item_bias)
    return model


def random_inputs() -> Inputs:
    rng = np.random.default_rng(3)
    return Inputs(chosen_by([sorted(rng.permutation(15)[:count].tolist()) for count in rng.integers(0, 15, 20)], 15))


def literal_scores(model: FISM, item: torch.Tensor, history: History) -> torch.Tensor:
    """The formula, pair by pair and entry by entry."""
    scores = []
    for i, g, left_out in zip(item.tolist(), history.row.tolist(), history.left_out.tolist(), strict=True):
        entries = range(int(history.lists.start[g]), int(history.lists.start[g + 1]))
        places = [int(history.distinct[history.index[t]]) for t in entries if t != left_out]
        n = len(entries) if model.config.counts_target else len(places)
        pooled = model.history_item.weight[places].sum(0) / max(n, 1) ** model.config.normalisation
        scores.append(pooled @ model.item_embedding.weight[i] + (0.0 if model.item_bias is None else model.item_bias[i]))
    return torch.stack(scores)


@pytest.mark.parametrize("leave_out", ["remove", "matched", "keep"])
@pytest.mark.parametrize(
    "settings", [{}, {"normalisation": 0.5}, {"normalisation": 1.0, "counts_target": True}, {"item_bias": False}]
)
def test_scores_and_gradients_are_those_of_the_formula_read_literally(settings, leave_out):
    model, rng = random_model(**settings), np.random.default_rng(4)
    pairs = rng.integers(0, 20, 60), rng.integers(0, 15, 60)
    made = random_inputs().gather(("item", "user_history"), *pairs, leave_out=leave_out, rng=rng)
    fast, literal = model(**made), literal_scores(model, made["item"], made["user_history"])
    mixture = torch.linspace(-1, 2, 60, dtype=torch.float64)
    parameters = list(model.parameters())
    assert_close(fast, literal)
    expected = torch.autograd.grad((literal * mixture).sum(), parameters)
    for found, gradient in zip(torch.autograd.grad((fast * mixture).sum(), parameters), expected, strict=True):
        assert_close(found, gradient)


@pytest.mark.parametrize("leave_out", ["remove", "matched", "keep"])
def test_the_score_is_the_inner_product_of_the_codes(leave_out):
    model, rng = random_model(normalisation=0.5), np.random.default_rng(4)
    pairs = rng.integers(0, 20, 60), rng.integers(0, 15, 60)
    made = random_inputs().gather(("item", "user_history"), *pairs, leave_out=leave_out, rng=rng)
    matched = model.match(model.encode_user(made["user_history"]), model.encode_item(made["item"]))
    assert_close(model(**made), matched)


def test_the_objective_over_the_whole_data_takes_it_for_the_inner_product_that_it_is():
    model, inputs = random_model(), random_inputs()
    block = next(iter(WholeData(users=20).batches(inputs, model, np.random.default_rng(1))))
    target = torch.from_numpy(inputs.train.by_user.toarray())
    score = model.score_catalogue(whole(inputs.user_lists, torch.arange(20)))
    own = model(**block.inputs)
    weight = WholeData().unobserved_weight
    by_cell = (weight * score.square() * (1 - target)).sum() + (own - 1).square().sum()
    assert WholeData(users=20).loss(model, block).item() == pytest.approx(by_cell.item() / len(inputs.train))


def test_the_contributions_are_exact():
    model = random_model(normalisation=0.5)
    history, item = History.of([[1, 4, 6, 9]], 15), tensor([12])
    given = model.attention(item, history)["user_history"]
    assert_close(given.sum() + model.item_bias[12], model(item, history)[0])
    alone = 0.5 * model.history_item.weight[[1, 4, 6, 9]] @ model.item_embedding.weight[12]
    assert_close(given, alone)


def test_alpha_1_is_the_mean_of_the_history_and_0_its_sum():
    history, item = History.of([[1, 4, 6]], 15), tensor([12])
    products = random_model().history_item.weight[[1, 4, 6]] @ random_model().item_embedding.weight[12]
    assert_close(random_model(item_bias=False, normalisation=1.0)(item, history)[0], products.mean())
    assert_close(random_model(item_bias=False, normalisation=0.0)(item, history)[0], products.sum())


def test_an_empty_history_scores_the_bias_of_the_item():
    model = random_model()
    assert_close(model(tensor([4, 7]), History.of([[], []], 15)), model.item_bias[[4, 7]])
    lone = Inputs(chosen_by([[4]], 15)).gather(("item", "user_history"), np.array([0]), np.array([4]))
    assert_close(model(**lone), model.item_bias[[4]])


def test_a_negative_loses_an_entry_too_so_that_no_length_tells_the_label():
    made = gathered([0, 0], [1, 2], "matched")
    assert made["user_history"].length.tolist() == [2, 2]
    assert FISM.Config().leave_out == "matched"


def test_the_two_tables_of_items_are_never_shared():
    model = FISM(Sizes(2, 3))
    assert model.item_embedding.weight is not model.history_item.weight
    assert not torch.equal(model.item_embedding.weight, model.history_item.weight)
