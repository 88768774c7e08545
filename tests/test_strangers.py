import copy

import numpy as np
import torch
from torch import nn

from attlas.data.inputs import Inputs
from attlas.scoring import Scorer
from attlas.strangers import fit_user, given_history
from tests.toy import two_tastes

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


def test_a_given_history_is_asked_for_once():
    history = given_history(INPUTS, np.array([2, 5, 7]))
    assert history.distinct[history.index].tolist() == [2, 5, 7]
    assert (history.row.tolist(), history.left_out.tolist()) == ([0], [-1])


def test_items_of_a_given_history_are_asked_for_without_themselves_and_others_with_all_of_it():
    history = given_history(INPUTS, np.array([2, 5, 7]), np.array([7, 3, 2, 9]))
    assert history.left_out.tolist() == [2, -1, 0, -1]
    assert history.length.tolist() == [2, 3, 2, 3]


def test_nothing_chosen_is_a_history_of_nothing():
    history = given_history(INPUTS, np.zeros(0, np.int64))
    assert (history.count, history.length.tolist()) == (1, [0])
