import numpy as np
import torch

from attlas.data.inputs import Inputs
from attlas.ops.gram import cooccurrence
from tests.toy import chosen_by


def counted(lists: list[list[int]], num_items: int) -> torch.Tensor:
    inputs = Inputs(chosen_by(lists, num_items))
    return cooccurrence(inputs.user_lists, inputs.item_lists)


def test_the_diagonal_counts_each_column_and_the_rest_counts_pairs():
    assert counted([[0, 1], [], [0, 1], [0], [2]], 4).tolist() == [
        [3.0, 2.0, 0.0, 0.0],
        [2.0, 2.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
    ]


def test_wide_tables_that_take_several_blocks_equal_the_dense_product():
    chosen = np.random.default_rng(1).random((40, 150)) < 0.2
    lists = [np.flatnonzero(row).tolist() for row in chosen]
    np.testing.assert_array_equal(counted(lists, 150), chosen.T.astype(np.float32) @ chosen.astype(np.float32))
