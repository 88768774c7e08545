import numpy as np

from attlas.ops.rows import nth_missing


def test_the_missing_columns_of_a_row_are_counted_upwards():
    start, index = np.array([0, 3, 3]), np.array([0, 2, 3])
    assert nth_missing(start, index, np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 4])).tolist() == [1, 4, 5, 0, 4]
