import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attlas.ops.topk import top_k, top_k_reference
from tests.ops.test_ranks import ragged, ranked_blocks


@settings(deadline=None)
@given(ranked_blocks(), st.integers(0, 12))
def test_top_k_equals_its_twin_with_ties_empty_rows_and_more_places_than_columns(block, k):
    score, _, hidden = block
    for found, expected in zip(top_k(score, k, *ragged(hidden)), top_k_reference(score, k, *ragged(hidden)), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("k", [1, 10, 100, 700])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_top_k_equals_its_twin_on_wide_rows(k, dtype):
    rng = np.random.default_rng(k)
    score = np.concatenate([rng.standard_normal((3, 600)), rng.integers(0, 30, (3, 600))]).astype(dtype)
    hidden = ragged([rng.integers(0, 600, rng.integers(0, 300)).tolist() for _ in range(6)])
    for found, expected in zip(top_k(score, k, *hidden), top_k_reference(score, k, *hidden), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_of_equal_scores_the_lower_column_comes_first():
    index, score = top_k(np.array([[1.0, 2.0, 1.0, 2.0, 1.0]], np.float32), 4)
    assert index.tolist() == [[1, 3, 0, 2]]
    assert score.tolist() == [[2.0, 2.0, 1.0, 1.0]]


def test_a_row_with_too_few_columns_ends_in_minus_one_and_minus_infinity():
    index, score = top_k(np.array([[5.0, 6.0, 7.0]], np.float32), 3, *ragged([[2, 0]]))
    assert index.tolist() == [[1, -1, -1]]
    assert score.tolist() == [[6.0, -np.inf, -np.inf]]


def test_a_column_that_scores_minus_infinity_is_still_a_column():
    index, _ = top_k(np.array([[-np.inf, 0.0]], np.float32), 3)
    assert index.tolist() == [[1, 0, -1]]


def test_equal_scores_come_in_an_order_that_is_drawn_per_row_and_equal_in_every_run():
    score, draw = np.zeros((3000, 4), np.float32), np.random.default_rng(2).integers(1, 2**63, 3000, dtype=np.uint64)
    index, _ = top_k(score, 2, draw_U=draw)
    np.testing.assert_array_equal(index, top_k(score, 2, draw_U=draw)[0])
    # Each of the 12 ordered pairs of 4 columns is as likely as any other: 250 of 3,000 each, sd 15.
    pairs, count = np.unique(index, axis=0, return_counts=True)
    assert len(pairs) == 12
    assert np.all(np.abs(count - 250) < 4 * 15)


@settings(deadline=None)
@given(ranked_blocks(), st.integers(0, 6))
def test_a_draw_decides_among_equal_scores_only_and_a_shorter_list_is_the_beginning_of_a_longer_one(block, k):
    score, _, hidden = block
    draw = np.random.default_rng(3).integers(1, 2**63, len(score), dtype=np.uint64)
    index, best = top_k(score, k + 3, *ragged(hidden), draw)
    np.testing.assert_array_equal(best, top_k(score, k + 3, *ragged(hidden))[1])
    np.testing.assert_array_equal(index[:, :k], top_k(score, k, *ragged(hidden), draw)[0])
