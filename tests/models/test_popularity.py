import math

import numpy as np
import torch

from attlas.data.inputs import Inputs
from attlas.models.popularity import Popularity
from tests.toy import chosen_by


def counted() -> tuple[Popularity, Inputs]:
    inputs = Inputs(chosen_by([[0, 1, 1], [1], [], [1, 3]], 5))
    model = Popularity(inputs.sizes)
    assert math.isnan(Popularity.Count().epoch(model, inputs, np.random.default_rng(1)))
    return model, inputs


def test_a_score_is_the_number_of_users_who_chose_the_item_and_a_repeated_row_counts_once():
    model, _ = counted()
    assert model(torch.arange(5)).tolist() == [1.0, 3.0, 0.0, 1.0, 0.0]


def test_everybody_sees_the_same_catalogue():
    model, inputs = counted()
    history = inputs.gather(["user_history"], np.array([0, 2]), np.array([4, 4]))["user_history"]
    assert model.score_catalogue(history).tolist() == [[1.0, 3.0, 0.0, 1.0, 0.0]] * 2
