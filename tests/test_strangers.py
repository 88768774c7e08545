import copy

import numpy as np
import pytest
import torch
from torch import nn

from attlas.data.inputs import Inputs
from attlas.data.split import Split
from attlas.frozen import LEARNING_RATE, STEPS, descend
from attlas.runner import fit
from attlas.scoring import PAIR_BYTES, Scorer
from attlas.strangers import OpenScorer, fit_users, given_histories, given_history, one_row, score_strangers, way_of
from tests.toy import QUICK, chosen_by, fitted, two_tastes

INPUTS = Inputs(two_tastes().train)


class OneTaste(nn.Module):
    """A factor model of one dimension in which even items stand at +2 and odd ones at -2."""

    user_tables = ("user_embedding",)

    def __init__(self):
        super().__init__()
        self.user_embedding, self.item_embedding = nn.Embedding(16, 1), nn.Embedding(16, 1)
        self.user_embedding.weight.data = torch.tensor([[1.0], [-1.0]]).repeat(8, 1)
        self.item_embedding.weight.data = torch.tensor([[2.0], [-2.0]]).repeat(8, 1)

    def forward(self, user, item):
        return (self.user_embedding(user) * self.item_embedding(item)).sum(-1)


def fit_user(model: nn.Module, scorer: Scorer, items: np.ndarray) -> nn.Module:
    """One stranger alone."""
    return fit_users(model, scorer, one_row(items, scorer.inputs.sizes.num_items))


def vector_of(items: list[int], model: OneTaste | None = None) -> float:
    model = model or OneTaste()
    return fit_user(model, Scorer(model, INPUTS), np.array(items)).user_embedding.weight.item()


def test_a_fitted_vector_points_to_the_taste_of_the_history():
    assert vector_of([0, 2, 4]) > 0.3
    assert vector_of([1, 3, 5]) < -0.3


def test_a_longer_history_moves_the_vector_further_from_the_mean_of_the_known():
    assert abs(vector_of([0])) < abs(vector_of([0, 2, 4, 6, 8, 10]))


def test_where_the_known_hardly_differ_the_stranger_hardly_differs_from_their_mean():
    alike = OneTaste()
    alike.user_embedding.weight.data = 3.0 + 0.01 * alike.user_embedding.weight.data
    assert abs(vector_of([0, 2, 4], alike) - 3.0) < 0.05
    assert abs(vector_of([1, 3, 5], alike) - 3.0) < 0.05


def test_somebody_who_chose_everything_stays_at_the_mean_of_the_known():
    # No other item is left to be drawn, what pulls towards even items pulls as much towards odd ones, and the mean is 0.
    assert abs(vector_of(list(range(16)))) < 1e-3


def test_equal_histories_give_equal_vectors_whatever_was_drawn_before():
    first = vector_of([0, 2, 5])
    torch.manual_seed(3)
    np.random.default_rng(3).random(5)
    assert vector_of([0, 2, 5]) == first


def test_the_model_is_not_changed_and_the_stranger_is_its_only_user():
    model = OneTaste()
    before = copy.deepcopy(model.state_dict())
    stranger = fit_user(model, Scorer(model, INPUTS), np.array([0, 2]))
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not stranger.user_embedding.weight.requires_grad
    assert stranger.user_embedding.weight.shape == (1, 1)
    assert stranger.item_embedding.weight is model.item_embedding.weight


def test_a_descent_takes_the_steps_of_the_optimizer_of_torch():
    start = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    mine, theirs = start.clone(), start.clone().requires_grad_()
    aim = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    descend([mine], lambda: (mine - aim).square().mul(torch.tensor([1.0, 10.0])).sum())
    optimizer = torch.optim.Adam([theirs], lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (theirs - aim).square().mul(torch.tensor([1.0, 10.0])).sum().backward()
        optimizer.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-4, atol=1e-5)


def test_a_given_history_is_asked_for_once():
    history = given_history(INPUTS, np.array([2, 5, 7]))
    assert history.distinct[history.index].tolist() == [2, 5, 7]
    assert (history.row.tolist(), history.left_out.tolist()) == ([0], [-1])


def test_items_of_a_given_history_are_asked_for_without_themselves_and_others_with_all_of_it():
    asked = np.array([7, 3, 2, 9])
    history = given_histories(INPUTS, one_row(np.array([2, 5, 7]), 16), np.zeros(4, np.int64), asked)
    assert history.left_out.tolist() == [2, -1, 0, -1]
    assert history.length.tolist() == [2, 3, 2, 3]


def test_nothing_chosen_is_a_history_of_nothing():
    history = given_history(INPUTS, np.zeros(0, np.int64))
    assert (history.count, history.length.tolist()) == (1, [0])


LISTS = [[0, 2, 4], [1], list(range(16)), [3, 5, 7, 9, 11], [0, 1, 2]]
MANY = chosen_by(LISTS, 16).by_user


@pytest.mark.parametrize("name", ["delf", "one taste"])
@pytest.mark.parametrize("pairs", [1, 30, 10_000])
def test_strangers_fitted_together_get_the_vectors_they_get_alone_whatever_the_memory(name, pairs):
    model = OneTaste() if name == "one taste" else fitted(name).model
    together = fit_users(model, Scorer(model, INPUTS, budget=pairs * PAIR_BYTES), MANY).user_embedding.weight
    for vector, items in zip(together, LISTS, strict=True):
        alone = fit_user(model, Scorer(model, INPUTS), np.array(items)).user_embedding.weight[0]
        torch.testing.assert_close(vector, alone, rtol=0, atol=1e-5)


def test_rows_of_users_who_were_never_trained_on_do_not_move_the_prior():
    model, wide = OneTaste(), OneTaste()
    wide.user_embedding = nn.Embedding.from_pretrained(torch.cat([model.user_embedding.weight, torch.full((4, 1), 50.0)]))
    train = chosen_by([*([[0]] * 16), *([[]] * 4)], 16)
    stranger = fit_user(wide, Scorer(wide, Inputs(train)), np.array([0, 2, 4]))
    assert stranger.user_embedding.weight.item() == vector_of([0, 2, 4], model)


class Folds(nn.Module):
    """A factor model whose user row is the mean of the item rows of the history."""

    user_tables = ("user_embedding",)

    def __init__(self):
        super().__init__()
        self.user_embedding, self.item_embedding = nn.Embedding(16, 2), nn.Embedding(16, 2)
        self.solves = []

    def forward(self, user, item):
        return (self.user_embedding(user) * self.item_embedding(item)).sum(-1)

    def fold_in(self, user_history):
        self.solves.append(user_history.count)
        lists = [user_history.distinct[places] for places in user_history.index.split(user_history.lists.length.tolist())]
        return torch.stack([self.item_embedding(items).mean(0) for items in lists])


def test_a_model_that_folds_in_is_asked_once_for_a_whole_block_of_strangers():
    model = Folds()
    score = score_strangers(Scorer(model, INPUTS), MANY)
    table = model.item_embedding.weight.detach().numpy()
    expected = np.stack([table[items].mean(0) @ table.T for items in LISTS])
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-6)
    assert model.solves == [5]
    assert model.user_embedding.weight.shape == (16, 2)


@pytest.mark.parametrize(
    ("model", "way"),
    [
        (fitted("ease").model, "from the history"),
        (Folds(), "folded in by one solve"),
        (OneTaste(), "fitted user vector"),
        (fitted("popularity").model, "popular"),
    ],
)
def test_the_way_to_strangers_follows_from_what_the_model_can_do(model, way):
    assert way_of(model) == way_of(type(model)) == way


def test_strangers_who_have_chosen_nothing_get_what_is_popular_beside_others_who_have():
    scorer = fitted("ease").scorer
    score = score_strangers(scorer, chosen_by([[], [0, 2], []], 16).by_user)
    assert score[0].tolist() == score[2].tolist() == [7.0] * 16
    np.testing.assert_array_equal(score[1], score_strangers(scorer, one_row(np.array([0, 2]), 16))[0])


@pytest.mark.parametrize("name", ["ease", "delf", "popularity"])
def test_everybody_is_scored_in_their_own_way_in_the_order_asked_for(name):
    # u16 and u17 have no training rows; u16 is known by three items, u17 by none.
    train = chosen_by([*two_tastes().train.by_user.tolil().rows, [], []], 16)
    known = chosen_by([*([[5]] * 16), [1, 5, 9], []], 16).by_user
    scorer = fit(Split(train, None, chosen_by([*([[15]] * 2), *([[]] * 16)], 16), "late"), name, **QUICK.get(name, {})).scorer
    everybody, asked = OpenScorer(scorer, known), np.array([17, 3, 16])
    score = everybody.score_all(asked)
    np.testing.assert_array_equal(score[1], scorer.score_all(np.array([3]))[0])
    np.testing.assert_array_equal(score[[0, 2]], score_strangers(scorer, known[[17, 16]]))
    scorer.budget = 1  # one user at a time
    some = everybody.score(np.array([16, 17, 16]), np.array([0, 1, 2]))
    np.testing.assert_allclose(some, score[[2, 0, 2], [0, 1, 2]], rtol=1e-5, atol=1e-6)
    assert everybody.ways(asked) == ["popular", "known user", way_of(scorer.model)]
