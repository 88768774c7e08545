import numpy as np
import pytest
import torch

from attlas.data.inputs import Inputs
from attlas.data.interactions import Interactions
from tests.toy import chosen_by


def rated() -> Inputs:
    """u rates x 1 and z 3; v rates y 2."""
    return Inputs(Interactions.of(["u", "v", "u"], ["x", "y", "z"], rating=[1.0, 2.0, 3.0]))


def dense(observed, side):
    lists = observed.lists(side)
    matrix = torch.zeros(lists.count, lists.width)
    matrix[lists.owner, lists.index] = observed.without_hidden(observed.values(side), side)
    return matrix.tolist()


def test_the_matrix_holds_every_rating_either_way():
    observed = rated().observed
    assert dense(observed, "user") == [[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]]
    assert dense(observed, "item") == [[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]


def test_the_cells_of_a_batch_are_hidden_together_either_way_and_others_hide_nothing():
    observed = rated().gather(["observed"], np.array([0, 1, 0, 1]), np.array([0, 1, 0, 2]))["observed"]
    assert dense(observed, "user") == [[0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]
    assert dense(observed, "item") == [[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]
    assert observed.count("user").tolist() == [1, 0]
    assert observed.count("item").tolist() == [0, 0, 1]


def test_what_is_kept_is_the_whole_matrix():
    observed = rated().gather(["observed"], np.array([0]), np.array([0]), leave_out="keep")["observed"]
    assert dense(observed, "user") == [[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]]


def test_several_ratings_of_one_pair_are_their_mean():
    observed = Inputs(Interactions.of(["u", "u", "v"], ["x", "x", "y"], rating=[1.0, 4.0, 3.0])).observed
    assert dense(observed, "user") == [[2.5, 0.0], [0.0, 3.0]]


def test_without_ratings_every_choice_is_a_one():
    assert dense(Inputs(chosen_by([[0, 2], []], 3)).observed, "user") == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("side", ["user", "item"])
def test_hiding_all_leaves_nothing(side):
    user, item = np.array([0, 0, 1]), np.array([0, 2, 1])
    observed = rated().gather(["observed"], user, item)["observed"]
    assert not observed.count(side).any()
    assert len(observed.hidden(side)) == 3
