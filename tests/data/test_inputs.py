import numpy as np
import pytest
import torch

from attlas.data.inputs import History, Inputs, Sizes
from attlas.errors import ConfigError, DataError
from attlas.models.delf import DELF
from attlas.models.protocol import asked_by
from attlas.ops.ragged import Ragged
from tests.toy import chosen_by, two_tastes

NAMES = ("user", "item", "user_history", "item_history")

LISTS = [[0, 1, 3], [1], [], [0, 2]]


def inputs_of(lists: list[list[int]] = LISTS, num_items: int = 5) -> Inputs:
    return Inputs(chosen_by(lists, num_items))


def entries_of(history: History) -> list[list[int]]:
    """What each pair is left with, spelled out."""
    lists = history.lists
    places = [range(int(lists.start[row]), int(lists.start[row + 1])) for row in history.row]
    return [
        history.distinct[lists.index[[place for place in mine if place != left_out]]].tolist()
        for mine, left_out in zip(places, history.left_out.tolist(), strict=True)
    ]


def test_only_what_is_named_is_gathered():
    made = inputs_of().gather(("item", "user"), np.array([3]), np.array([4]))
    assert {name: tensor.tolist() for name, tensor in made.items()} == {"item": [4], "user": [3]}


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match="no input is called 'user_histroy'; did you mean 'user_history'"):
        inputs_of().gather(["user_histroy"], np.array([0]), np.array([0]))


def test_indices_of_fewer_bits_are_widened():
    made = inputs_of().gather(("item", "user"), np.array([3], np.int32), torch.tensor([4], dtype=torch.int32))
    assert {tensor.dtype for tensor in made.values()} == {torch.int64}


def test_without_kernels_a_pair_whose_place_among_all_cells_has_more_than_32_bits_is_found(monkeypatch):
    monkeypatch.setattr("attlas.ops._numba.READABLE", "nothing")
    lists = Ragged(torch.tensor([0] * 60_000 + [2]), torch.tensor([7, 39_999]), 40_000)
    row_B, wanted_B = torch.tensor([59_999, 59_999], dtype=torch.int32), torch.tensor([39_999, 8], dtype=torch.int32)
    assert lists.find(row_B, wanted_B).tolist() == [1, -1]


def test_what_scoring_asked_for_first_may_be_learned_from():
    inputs = inputs_of()
    with torch.inference_mode():
        observed = inputs.observed
        kept = [observed.user_value, observed.item_value, *inputs.user_lists.transposed]
        kept += [part for lists in (inputs.user_lists, inputs.item_lists) for part in (lists.start, lists.index, lists.owner)]
    assert not any(tensor.is_inference() for tensor in kept)


def test_sizes_count_the_ids_and_not_the_rows():
    assert inputs_of().sizes == Sizes(num_users=4, num_items=5)


def test_the_target_is_left_out_of_both_histories_and_a_target_that_is_not_there_leaves_them_whole():
    made = inputs_of().gather(NAMES, np.array([0, 0, 2, 3]), np.array([1, 2, 0, 4]))
    assert entries_of(made["user_history"]) == [[0, 3], [0, 1, 3], [], [0, 2]]
    assert entries_of(made["item_history"]) == [[1], [3], [0, 3], []]
    assert made["user_history"].length.tolist() == [2, 3, 0, 2]
    assert made["item_history"].length.tolist() == [1, 1, 2, 0]


def test_keep_leaves_every_target_in():
    made = inputs_of().gather(NAMES, np.array([0, 1]), np.array([1, 1]), leave_out="keep")
    assert entries_of(made["user_history"]) == [[0, 1, 3], [1]]
    assert entries_of(made["item_history"]) == [[0, 1], [0, 1]]


def test_matched_takes_one_entry_out_of_every_history_that_has_one_and_the_target_where_it_is_listed():
    user, item = np.array([0, 0, 1, 2, 3]), np.array([1, 2, 0, 0, 4])
    made = inputs_of().gather(NAMES, user, item, leave_out="matched", rng=np.random.default_rng(1))
    assert made["user_history"].length.tolist() == [2, 2, 0, 0, 1]
    assert made["item_history"].length.tolist() == [1, 0, 1, 1, 0]
    assert entries_of(made["user_history"])[0] == [0, 3]
    for left, whole in zip(entries_of(made["user_history"]), [LISTS[place] for place in user], strict=True):
        assert set(left) < set(whole) or not whole


def test_matched_takes_every_entry_of_a_negatives_history_equally_often():
    pairs = np.zeros(3000, np.int64), np.full(3000, 2)
    made = inputs_of().gather(["user_history"], *pairs, leave_out="matched", rng=np.random.default_rng(1))
    count = torch.bincount(made["user_history"].left_out, minlength=3).tolist()
    # 1000 each; the standard deviation is 26.
    assert all(abs(times - 1000) < 120 for times in count)


def test_matched_without_a_generator_is_an_error():
    with pytest.raises(ConfigError, match="leave_out='matched' draws random entries; pass rng"):
        inputs_of().gather(["user_history"], np.array([0]), np.array([2]), leave_out="matched")


def test_pairs_of_one_user_share_one_history():
    made = inputs_of([[0, 1], [2], [3], [4], [0], [1], [2], [3], [4]]).gather(["user_history"], np.zeros(2, np.int64), [0, 1])
    assert made["user_history"].count == 1
    assert made["user_history"].distinct.tolist() == [0, 1]
    assert entries_of(made["user_history"]) == [[1], [0]]


def test_a_pair_that_is_listed_twice_counts_once():
    assert entries_of(inputs_of([[1, 0, 1], [0]]).gather(["user_history"], [0], [4])["user_history"]) == [[0, 1]]


def test_a_few_pairs_with_a_table_of_their_own_score_as_among_many_with_the_whole_table():
    train = two_tastes().train
    torch.manual_seed(1)
    model = DELF(Sizes(16, 16), DELF.Config(embedding_dim=4, attention_dim=3, layers=(5,), stddev=1.0)).double()
    inputs = Inputs(train)
    user, item = np.random.default_rng(1).integers(0, 16, (2, 24))
    names = asked_by(model)
    many = inputs.gather(names, user, item)
    few = [inputs.gather(names, user[place : place + 2], item[place : place + 2]) for place in range(0, 24, 2)]
    assert len(many["user_history"].distinct) == 16
    assert all(len(made["user_history"].distinct) < 16 for made in few)
    torch.testing.assert_close(torch.cat([model(**made) for made in few]), model(**many), rtol=0, atol=1e-12)


def test_the_order_of_the_training_rows_changes_no_input():
    train = two_tastes().train
    shuffled = train.take(np.random.default_rng(1).permutation(len(train)))
    user, item = np.array([0, 1, 2, 3, 3]), np.array([2, 3, 4, 5, 4])
    one, other = (Inputs(data).gather(NAMES, user, item) for data in (train, shuffled))
    for side in ("user_history", "item_history"):
        assert entries_of(one[side]) == entries_of(other[side])
        assert one[side].left_out.tolist() == other[side].left_out.tolist()


def test_a_history_that_is_spelled_out_is_asked_for_once_per_list_or_as_told():
    assert entries_of(History.of([[2, 0], []], 3)) == [[0, 2], []]
    assert entries_of(History.of([[2, 0], []], 3, row=[1, 0, 0])) == [[], [0, 2], [0, 2]]


def test_some_of_the_pairs_read_the_same_lists():
    whole = inputs_of().gather(["user_history"], np.array([0, 1, 3]), np.array([1, 2, 0]))["user_history"]
    assert entries_of(whole.of_pairs(slice(1, 3))) == entries_of(whole)[1:]


@pytest.mark.parametrize(
    ("user", "item", "said"), [(16, 0, "user indices reach from 16 to 16; expected 0 to 15"), (0, -1, "item")]
)
def test_an_index_out_of_range_is_refused(user, item, said):
    with pytest.raises(DataError, match=said):
        Inputs(two_tastes().train).gather(NAMES, np.array([user]), np.array([item]))


@pytest.mark.parametrize("name", ["tpu", "cuda:x", ""])
def test_a_device_that_does_not_exist_is_refused(name):
    with pytest.raises(ConfigError, match="use cpu or cuda"):
        Inputs(two_tastes().train, device=name)


def test_one_asker_gets_a_table_of_its_own_with_what_it_would_get_among_many():
    rows = [[0, 1, 3], [1], [], [0, 2], [4], [1, 2, 3, 4], [0], [3], [2, 4]]
    inputs = inputs_of(rows)
    for user, items in enumerate(rows):
        kept = inputs.gather(("user_history",), np.array([user]), np.array([0]), leave_out="keep")
        assert entries_of(kept["user_history"]) == [items]
        for item in range(5):
            history = inputs.gather(("user_history",), np.array([user]), np.array([item]))["user_history"]
            assert entries_of(history) == [[other for other in items if other != item]]
            assert history.length.tolist() == [len(items) - (item in items)]
            assert history.distinct.tolist() == items
