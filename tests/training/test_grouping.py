import numpy as np
import pytest

from attlas.training.grouping import in_blocks, in_whole_groups

GROUP = np.array([3, 0, 3, 1, 3, 5, 1, 3, 0, 5])


def test_blocks_hold_every_row_once_and_as_many_as_was_said():
    blocks = list(in_blocks(10, 4, np.random.default_rng(1)))
    assert [len(rows) for rows in blocks] == [4, 4, 2]
    assert sorted(np.concatenate(blocks)) == list(range(10))


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_every_row_comes_once_and_a_group_is_never_cut(size):
    blocks = list(in_whole_groups(GROUP, size, np.random.default_rng(1)))
    assert sorted(np.concatenate(blocks)) == list(range(10))
    assert all(len(rows) for rows in blocks)
    owners = [set(GROUP[rows]) for rows in blocks]
    assert sum(len(owner) for owner in owners) == len(set(GROUP))


def test_a_block_ends_with_the_group_that_reaches_its_size():
    lengths = {len(rows) for seed in range(20) for rows in in_whole_groups(GROUP, 4, np.random.default_rng(seed))}
    assert max(lengths) <= 4 + 3  # three rows of one group before the boundary, four of the next across it
    assert len(list(in_whole_groups(GROUP, 100, np.random.default_rng(1)))) == 1


def test_groups_come_in_another_order_with_another_seed_and_in_the_same_with_the_same():
    one, again, other = (np.concatenate(list(in_whole_groups(GROUP, 4, np.random.default_rng(seed)))) for seed in (1, 1, 2))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


def test_no_rows_give_no_block():
    assert list(in_whole_groups(np.empty(0, np.int64), 4, np.random.default_rng(1))) == []
