import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attlas.ops.ranks import count_ahead, count_ahead_reference


def ragged(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    start = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return start, np.array([column for row in rows for column in row], np.int64)


@st.composite
def ranked_blocks(draw):
    num_rows, num_columns = draw(st.integers(0, 5)), draw(st.integers(1, 9))
    score = np.array(draw(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, np.inf]), min_size=45, max_size=45)), np.float32)[
        : num_rows * num_columns
    ].reshape(num_rows, num_columns)
    hidden = [draw(st.lists(st.integers(0, num_columns - 1), max_size=6)) for _ in range(num_rows)]
    relevant = [
        [column for column in draw(st.lists(st.integers(0, num_columns - 1), max_size=4)) if column not in row]
        for row in hidden
    ]
    return score, relevant, hidden


@settings(deadline=None)
@given(ranked_blocks())
def test_ranks_equal_their_twin_with_empty_rows_and_repeated_hidden_columns(block):
    score, relevant, hidden = block
    found = count_ahead(score, *ragged(relevant), *ragged(hidden))
    expected = count_ahead_reference(score, *ragged(relevant), *ragged(hidden))
    np.testing.assert_array_equal(found, expected)


def test_ranks_equal_their_twin_on_wide_rows():
    rng = np.random.default_rng(1)
    score = rng.integers(0, 40, (7, 300)).astype(np.float64)
    columns = [rng.permutation(300)[: rng.integers(0, 120)].tolist() for _ in range(7)]
    relevant, hidden = [row[::3] for row in columns], [row[1::3] for row in columns]
    found = count_ahead(score, *ragged(relevant), *ragged(hidden))
    np.testing.assert_array_equal(found, count_ahead_reference(score, *ragged(relevant), *ragged(hidden)))


def test_without_hidden_columns_every_column_is_a_candidate():
    ahead, tied = count_ahead(np.array([[1.0, 3.0, 2.0, 2.0]], np.float32), *ragged([[2, 0]]))
    assert ahead.tolist() == [1, 3]
    assert tied.tolist() == [2, 1]


def test_a_hidden_column_is_neither_ahead_nor_tied():
    ahead, tied = count_ahead(np.array([[1.0, 3.0, 2.0, 2.0]], np.float32), *ragged([[2]]), *ragged([[1, 3]]))
    assert (ahead.tolist(), tied.tolist()) == ([0], [1])


def test_a_block_that_is_not_contiguous_counts_alike():
    score = np.asfortranarray(np.random.default_rng(2).integers(0, 4, (6, 10)).astype(np.float32))[::2]
    relevant = ragged([[1], [2, 3], []])
    np.testing.assert_array_equal(count_ahead(score, *relevant), count_ahead_reference(score, *relevant))
