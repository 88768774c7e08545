import numpy as np
import pytest
from scipy.stats import chisquare

from attlas.data.negatives import draw_negatives
from attlas.errors import DataError
from tests.toy import chosen_by


def test_an_item_that_the_user_has_chosen_is_never_drawn():
    rng = np.random.default_rng(1)
    chosen = rng.random((30, 20)) < rng.random((30, 1))
    chosen[:, 0] = False
    matrix = chosen_by([np.flatnonzero(row).tolist() for row in chosen], 20).by_user
    user = np.repeat(np.arange(30), 20)
    drawn = draw_negatives(matrix, user, 5, rng)
    assert drawn.shape == (600, 5)
    assert drawn.min() >= 0
    assert drawn.max() < 20
    assert not chosen[user[:, None], drawn].any()


def test_every_other_item_is_drawn_equally_often():
    matrix = chosen_by([[0, 3, 4, 9]], 10).by_user
    drawn = draw_negatives(matrix, np.zeros(3000, np.int64), 4, np.random.default_rng(1))
    count = np.bincount(drawn.ravel(), minlength=10)
    assert count[[0, 3, 4, 9]].sum() == 0
    # Under equal chances a value below 0.001 comes once in a thousand seeds, and this seed is fixed.
    assert chisquare(count[[1, 2, 5, 6, 7, 8]]).pvalue > 0.001


def test_the_only_item_left_is_always_drawn():
    matrix = chosen_by([[0, 1, 3]], 4).by_user
    assert (draw_negatives(matrix, np.zeros(50, np.int64), 2, np.random.default_rng(1)) == 2).all()


def test_a_user_who_has_chosen_everything_is_an_error_that_names_the_user():
    matrix = chosen_by([[0], [0, 1, 2]], 3).by_user
    with pytest.raises(DataError, match="the user with index 1 has chosen all 3 items, so that no negative can be drawn"):
        draw_negatives(matrix, np.array([0, 1]), 1, np.random.default_rng(1))


def test_such_a_user_harms_nobody_else():
    matrix = chosen_by([[0], [0, 1, 2]], 3).by_user
    assert draw_negatives(matrix, np.array([0]), 2, np.random.default_rng(1)).shape == (1, 2)


def test_equal_generators_draw_equal_items_and_the_same_generator_goes_on():
    matrix, user = chosen_by([[0], [1]], 50).by_user, np.array([0, 1, 0])
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    first = draw_negatives(matrix, user, 4, one)
    assert first.tolist() == draw_negatives(matrix, user, 4, other).tolist()
    assert first.tolist() != draw_negatives(matrix, user, 4, one).tolist()


def test_nobody_gets_nothing():
    assert draw_negatives(chosen_by([[0]], 2).by_user, np.zeros(0, np.int64), 4, np.random.default_rng(1)).shape == (0, 4)
