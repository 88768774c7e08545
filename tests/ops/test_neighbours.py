import numpy as np

from attlas.ops.neighbours import nearest_columns
from attlas.ops.ragged import Ragged


def nearest(lists: list[list[int]], width: int, k: int, **settings):
    rows = Ragged.of(lists, width)
    first, row, _ = rows.transposed
    return nearest_columns(rows.start.numpy(), rows.index.numpy(), first.numpy(), row.numpy(), k, **settings)


def test_no_column_is_its_own_neighbour_and_equal_ones_come_in_order():
    index, similarity = nearest([[0, 1, 2], [0, 1, 2]], 3, 3)
    assert index.tolist() == [[1, 2, -1], [0, 2, -1], [0, 1, -1]]
    np.testing.assert_allclose(similarity, [[1, 1, 0]] * 3)


def test_columns_without_a_row_in_common_are_no_neighbours():
    index, similarity = nearest([[0], [1], []], 3, 2)
    assert (index == -1).all()
    assert (similarity == 0).all()


def test_rows_that_weigh_nothing_make_no_neighbours():
    index, _ = nearest([[0, 1], [1, 2]], 3, 2, row_weight_U=np.array([0.0, 1.0]))
    assert index.tolist() == [[-1, -1], [2, -1], [1, -1]]
