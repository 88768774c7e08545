"""Train, validation and test: cut by us, or given as files."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attlas.data.interactions import Interactions
from attlas.data.split import (
    CODES,
    STRANGERS,
    Split,
    by_ratio,
    hold_out_one,
    hold_out_users,
    leave_one_out,
    looks_like_split,
    read_split,
    split,
)
from attlas.errors import ConfigError, DataError

DATA = Path(os.environ.get("ATTLAS_DATA", Path(__file__).parents[3] / "shared" / "data"))


def real(folder: str) -> Path:
    if not (DATA / folder).is_dir():
        pytest.skip(f"needs {folder} in the folder ATTLAS_DATA or ../shared/data")
    return DATA / folder


def rows(data: Interactions | None) -> list[tuple]:
    return [] if data is None else data.to_frame().rows()


@pytest.fixture
def three_users() -> Interactions:
    """Anna has three rows out of order, Bo two at the same time, Cy one; Dee has met every item."""
    user = ["anna", "anna", "anna", "bo", "bo", "cy", *["dee"] * 4]
    item = ["x", "y", "z", "x", "y", "z", "x", "y", "z", "w"]
    return Interactions.of(user, item, time=[30, 10, 20, 5, 5, 1, 1, 2, 3, 4])


def test_the_last_row_of_a_user_is_tested_and_the_one_before_validates(three_users):
    parts = leave_one_out(three_users, keep_cold=True)
    assert rows(parts.test) == [("anna", "x", 30), ("bo", "y", 5), ("dee", "w", 4)]
    assert rows(parts.valid) == [("anna", "z", 20), ("dee", "z", 3)]
    assert ("cy", "z", 1) in rows(parts.train)
    assert parts.code == "leave-last-out"


def test_without_validation_the_row_before_the_last_stays_in_training(three_users):
    parts = leave_one_out(three_users, validation=False, keep_cold=True)
    assert parts.valid is None
    assert ("anna", "z", 20) in rows(parts.train)


def test_a_held_out_row_of_an_item_that_training_lacks_is_dropped_and_counted(three_users):
    parts = leave_one_out(three_users)
    assert rows(parts.test) == [("anna", "x", 30), ("bo", "y", 5)]
    assert parts.dropped == {"test rows of items without training rows": 1}


def test_a_held_out_row_of_a_user_that_training_lacks_is_dropped_and_counted():
    data = Interactions.of(["a", "a", "a", "b"], ["x", "y", "z", "x"], time=[1, 2, 3, 4])
    with pytest.raises(DataError, match="1 test rows of users without training rows dropped"):
        by_ratio(data, scope="global", order="time", test=0.25, valid=0)
    assert rows(by_ratio(data, scope="global", order="time", test=0.25, valid=0, keep_cold=True).test) == [("b", "x", 4)]


def test_the_share_of_a_user_is_rounded_to_the_nearest_row_and_leaves_one_for_training():
    data = Interactions.of(["a"] * 15 + ["b"] * 2 + ["c"], [*range(15), 0, 1, 0], time=range(18))
    parts = by_ratio(data, order="time", test=0.1, valid=0.1, keep_cold=True)
    assert np.bincount(parts.test.user).tolist() == [2]
    assert np.bincount(parts.valid.user).tolist() == [1]
    assert np.bincount(by_ratio(data, test=0.4, valid=0.5, keep_cold=True).train.user).tolist() == [1, 1, 1]


def test_the_global_share_by_time_is_the_latest_rows():
    data = Interactions.of(list("aabbaabbab"), list("xyxyxyxyxy"), time=[9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    parts = split(data, "global-time", test=0.2, valid=0.1)
    assert rows(parts.test) == [("a", "x", 9), ("a", "y", 8)]
    assert rows(parts.valid) == [("b", "x", 7)]


def test_auto_goes_by_time_where_times_are_known(three_users):
    data = Interactions.of(list("aabb") * 10, list(range(4)) * 10)
    assert split(data, "auto").code == "user-ratio"
    assert split(three_users, "auto", test=0.4, keep_cold=True).code == "global-time"


def test_splitting_by_time_without_times_is_refused():
    data = Interactions.of(["a", "a"], ["x", "y"])
    for code in ("leave-last-out", "global-time", "user-time"):
        with pytest.raises(ConfigError, match="name the time column, or split at random: order='random'"):
            split(data, code)


def test_an_unknown_code_names_the_nearest():
    with pytest.raises(ConfigError, match="no split 'leave-last'; did you mean 'leave-last-out'"):
        split(Interactions.of(["a"], ["x"]), "leave-last")


def test_a_share_is_refused_where_one_row_is_held_out():
    with pytest.raises(ConfigError, match="takes no fraction"):
        split(Interactions.of(["a"], ["x"]), "leave-random-out", test=0.2)


@pytest.mark.parametrize(("test", "valid"), [(0, 0.1), (0.5, 0.5), (0.1, -0.1), (1.5, 0)])
def test_fractions_that_leave_no_training_or_no_test_are_refused(test, valid):
    with pytest.raises(ConfigError, match="expected fractions"):
        by_ratio(Interactions.of(["a", "a"], ["x", "y"]), test=test, valid=valid)


@pytest.mark.parametrize("code", ["leave-random-out", "user-ratio"])
def test_users_with_one_row_each_are_too_few_to_split(code):
    with pytest.raises(DataError, match="too few to hold out a test part"):
        split(Interactions.of(["a", "b"], ["x", "x"]), code)


def test_holding_out_one_row_never_takes_all_training_rows_of_an_item():
    data = Interactions.of(["a", "a", "b", "b", "c"], ["x", "y", "y", "only", "x"], time=[1, 2, 1, 2, 1])
    train, valid = hold_out_one(data, order="last")
    assert rows(valid) == [("a", "y", 2)]
    assert len(train) == 4
    both = Interactions.of(["a", "a", "b", "b"], ["x", "y", "x", "y"], time=[1, 2, 1, 2])
    assert rows(hold_out_one(both, order="last")[1]) == [("b", "y", 2)]


tables = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40)


@given(table=tables, code=st.sampled_from(CODES[1:]), seed=st.integers(0, 9), keep_cold=st.booleans())
def test_parts_are_disjoint_and_together_the_whole_but_for_what_was_dropped(table, code, seed, keep_cold):
    # The rating numbers the rows, so that each can be recognised.
    data = Interactions.of(*zip(*[(u, i) for u, i, _ in table], strict=True), range(len(table)), [t for *_, t in table])
    try:
        parts = split(data, code, seed, keep_cold=keep_cold)
    except DataError:
        return
    found = (parts.train, parts.valid, parts.test, parts.given)
    places = [row for part in found if part is not None for row in part.rating.tolist()]
    assert len(set(places)) == len(places)
    assert len(places) + sum(parts.dropped.values()) == len(table)
    assert not (keep_cold and parts.dropped)
    if not keep_cold:
        assert set(parts.test.user) <= set((parts.train if parts.given is None else parts.given).user)
        assert set(parts.test.item) <= set(parts.train.item)


@pytest.mark.parametrize("code", CODES[1:])
def test_every_way_splits_ten_users_with_ten_rows_each(code):
    # Where tables are too small to be split, the laws below hold of nothing.
    user, item = np.divmod(np.arange(100), 10)
    parts = split(Interactions.of(user, item, time=np.arange(100)), code, keep_cold=True)
    assert min(len(parts.train), len(parts.valid), len(parts.test)) > 0


@given(table=tables, seed=st.integers(0, 9))
def test_the_same_seed_holds_out_the_same_rows(table, seed):
    data = Interactions.of(*zip(*[(u, i) for u, i, _ in table], strict=True), range(len(table)))

    def attempt() -> list[list[tuple]]:
        parts = leave_one_out(data, order="random", seed=seed, keep_cold=True)
        return [rows(parts.train), rows(parts.valid), rows(parts.test)]

    try:
        assert attempt() == attempt()
    except DataError:
        assert np.bincount(data.user).max() == 1


@given(table=tables)
def test_the_test_row_of_a_user_is_never_older_than_the_rest(table):
    data = Interactions.of(*zip(*[(u, i) for u, i, _ in table], strict=True), None, [t for *_, t in table])
    try:
        parts = leave_one_out(data, keep_cold=True)
    except DataError:
        return
    for user, time in zip(parts.test.user, parts.test.time, strict=True):
        assert time >= max(data.time[data.user == user])


@pytest.fixture
def ten_users() -> Interactions:
    """Users 0 to 9 have each chosen items 0 to 9, item 0 last; user 10 has chosen item 3 only."""
    user, item = np.divmod(np.arange(100), 10)
    return Interactions.of([*user, 10], [*item, 3], time=[*(9 - item), 0])


def test_of_ten_users_one_is_held_out_for_the_test_and_one_for_validation_whole(ten_users):
    parts = split(ten_users, "held-out-users")
    tested, validated = set(parts.test.user), set(parts.valid.user)
    assert (len(tested), len(validated)) == (1, 1)
    assert set(parts.given.user) == tested | validated
    assert set(parts.train.user) == set(range(11)) - tested - validated
    assert (len(parts.train), len(parts.given), len(parts.valid), len(parts.test)) == (81, 16, 2, 2)
    assert (parts.code, parts.dropped) == ("held-out-users", {})


def test_by_time_the_earliest_rows_of_a_held_out_user_are_given(ten_users):
    parts = split(ten_users, "held-out-users-time", test=0.3, valid=0)
    assert parts.valid is None
    assert parts.code == "held-out-users-time"
    assert sorted(parts.given.item.tolist()) == sorted([*range(2, 10)] * 3)
    assert sorted(parts.test.item.tolist()) == [0, 0, 0, 1, 1, 1]


def test_the_seed_decides_who_is_held_out_and_what_is_given(ten_users):
    def held_out(seed: int) -> tuple:
        parts = hold_out_users(ten_users, test=0.3, seed=seed)
        return tuple(rows(parts.test)), tuple(rows(parts.given))

    assert held_out(1) == held_out(1)
    assert len({held_out(seed)[0] for seed in range(5)}) == 5


def test_one_row_of_a_held_out_user_is_ranked_and_one_is_given_however_few_they_are():
    data = Interactions.of([user for user in "abcdefgh" for _ in range(2)], list("xy") * 8)
    for given_share in (0.01, 0.99):
        parts = hold_out_users(data, test=0.25, valid=0, given=given_share)
        assert (len(parts.test), len(parts.given)) == (2, 2)


def test_rows_of_held_out_users_with_an_item_that_training_lacks_are_dropped_and_counted():
    # Item 0 is everybody's; the others are known to one user each, and so to nobody else once that user is held out.
    user, item = np.repeat(range(4), 3), [0, 1, 2, 0, 3, 4, 0, 5, 6, 0, 7, 8]
    data = Interactions.of(user, item, time=[0, 1, 2] * 4)
    parts = hold_out_users(data, order="time", given=0.5, test=0.5, valid=0, keep_cold=True)
    assert (len(parts.given), len(parts.test), parts.dropped) == (2, 4, {})
    with pytest.raises(DataError, match="4 test rows of items without training rows dropped"):
        hold_out_users(data, order="time", given=0.5, test=0.5, valid=0)


def test_held_out_users_without_a_given_row_left_are_not_ranked():
    # By time each user's own item is given and item 0, which everybody has, would be ranked.
    data = Interactions.of(np.repeat(range(4), 2), [1, 0, 2, 0, 3, 0, 4, 0], time=[0, 1] * 4)
    with pytest.raises(DataError, match="1 test rows of users without given rows dropped; 1 given rows of items without"):
        hold_out_users(data, order="time", test=0.25, valid=0)


@pytest.mark.parametrize("share", [0, 1, 1.5])
def test_a_share_that_gives_nothing_or_everything_is_refused(ten_users, share):
    with pytest.raises(ConfigError, match="expected a fraction between 0 and 1 of each held-out user's rows"):
        hold_out_users(ten_users, given=share)


@given(table=tables, code=st.sampled_from([*STRANGERS]), seed=st.integers(0, 9))
def test_nobody_is_both_trained_on_and_held_out_nor_held_out_twice(table, code, seed):
    data = Interactions.of(*zip(*[(u, i) for u, i, _ in table], strict=True), None, [t for *_, t in table])
    try:
        parts = split(data, code, seed, test=0.3, valid=0.3)
    except DataError:
        return
    trained, tested = set(parts.train.user), set(parts.test.user)
    validated = set() if parts.valid is None else set(parts.valid.user)
    assert trained.isdisjoint(tested | validated)
    assert tested.isdisjoint(validated)
    assert set(parts.given.user).isdisjoint(trained)


def write_given(folder: Path, train: str, test: str, negative: str | None = None) -> Path:
    (folder / "tiny.train.rating").write_text(train)
    (folder / "tiny.test.rating").write_bytes(test.encode())
    if negative is not None:
        (folder / "tiny.test.negative.gz").write_bytes(gzip.compress(negative.encode()))
    return folder


def test_a_given_split_knows_the_items_of_its_negatives_in_the_order_of_their_numbers(tmp_path):
    folder = write_given(tmp_path, "1\t10\t5\n0\t2\t4\n0\t10\t3\n", "0\t3\t5\r\n1\t2\t1\r\n", "(0,3)\t7\t3\n(1,2)\t0\t10\n")
    parts = read_split(folder, validation="none")
    assert parts.train.items.ids.to_list() == ["0", "2", "3", "7", "10"]
    assert parts.train.users.ids.to_list() == ["0", "1"]
    assert parts.candidates.tolist() == [[3, 2], [0, 4]]
    assert rows(parts.test) == [("0", "3", 5.0), ("1", "2", 1.0)]
    assert (parts.code, parts.valid) == ("given", None)


def test_validation_of_a_given_split_is_the_last_training_row_where_times_are_known(tmp_path):
    folder = write_given(tmp_path, "0\t1\t5\t30\n0\t2\t5\t20\n1\t1\t4\t9\n2\t2\t3\t9\n", "0\t3\t5\t40\n")
    parts = read_split(folder)
    assert rows(parts.valid) == [("0", "1", 5.0, 30)]
    assert parts.code == "given+leave-last-out"
    assert parts.candidates is None


def test_without_times_the_validation_row_of_a_given_split_is_any(tmp_path):
    folder = write_given(tmp_path, "0\t1\n0\t2\n1\t1\n1\t2\n", "0\t3\n")
    assert read_split(folder).code == "given+leave-random-out"
    with pytest.raises(ConfigError, match="needs times"):
        read_split(folder, validation="leave-last-out")


def test_negatives_that_do_not_go_with_the_test_rows_are_refused(tmp_path):
    folder = write_given(tmp_path, "0\t1\n0\t2\n", "0\t3\n", "(0,4)\t1\n")
    with pytest.raises(DataError, match=r"line 1 is for \(0,4\), that test row is \(0,3\)"):
        read_split(folder)
    with pytest.raises(DataError, match="2 lines for 1 test rows"):
        read_split(write_given(tmp_path, "0\t1\n0\t2\n", "0\t3\n", "(0,3)\t1\n(1,3)\t1\n"))
    with pytest.raises(DataError, match="some lines list fewer than the 2 items"):
        read_split(write_given(tmp_path, "0\t1\n0\t2\n", "0\t3\n1\t3\n", "(0,3)\t1\t2\n(1,3)\t1\n"))


def test_titles_come_along_into_every_part_of_a_given_split(tmp_path):
    folder = write_given(tmp_path, "0\t1\n0\t2\n1\t1\n1\t2\n", "0\t3\n")
    (tmp_path / "titles.csv").write_text("item,title\n3,Three\n1,One\n")
    parts = read_split(folder, items=tmp_path / "titles.csv")
    for part in (parts.train, parts.valid, parts.test):
        assert part.items.titles_of([0, 1, 2]) == ["One", "2", "Three"]


def test_a_user_and_all_items_on_a_line_is_a_given_split_too(tmp_path):
    (tmp_path / "train.txt").write_text("0 5 3\n1 3\n2\n")
    (tmp_path / "test.txt").write_text("0 4\n1 5 4\n")
    parts = read_split(tmp_path, validation="none")
    assert rows(parts.train) == [("0", "5"), ("0", "3"), ("1", "3")]
    assert rows(parts.test) == [("0", "4"), ("1", "5"), ("1", "4")]
    assert parts.train.items.ids.to_list() == ["3", "4", "5"]


@pytest.mark.parametrize("line", ["0 10 5", "0 10 5 881250949", "u1 i7 4.5", "u1 i7"])
@pytest.mark.parametrize(
    "names", [("train.txt", "test.txt"), ("trainingdata.txt", "testdata.txt"), ("t.train.rating", "t.test.rating")]
)
def test_a_given_split_with_blanks_between_its_columns_is_refused(tmp_path, names, line):
    for name in names:
        (tmp_path / name).write_text(f"{line}\n{line}\n")
    with pytest.raises(DataError, match=r"has blanks between its cells.*expected tabs between user, item, rating and time"):
        read_split(tmp_path)


def test_users_of_a_given_split_may_all_have_as_many_items(tmp_path):
    (tmp_path / "train.txt").write_text("0 5 3 1 2\n1 3 5 1 2\n")
    (tmp_path / "test.txt").write_text("0 4\n1 4\n")
    parts = read_split(tmp_path, validation="none")
    assert rows(parts.train) == [(user, item) for user, items in (("0", "5312"), ("1", "3512")) for item in items]
    assert rows(parts.test) == [("0", "4"), ("1", "4")]


def test_a_plain_file_of_a_given_split_stands_for_a_packed_one_beside_it(tmp_path):
    folder = write_given(tmp_path, "0\t1\n0\t2\n", "0\t3\n")
    (tmp_path / "tiny.train.rating.gz").write_bytes(gzip.compress(b"0\t4\n"))
    assert rows(read_split(folder, validation="none").train) == [("0", "1"), ("0", "2")]


def test_a_folder_without_a_given_split_is_told_from_one_with(tmp_path):
    assert not looks_like_split(tmp_path)
    assert not looks_like_split(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no given split; expected exactly one NAME"):
        read_split(tmp_path)
    assert looks_like_split(write_given(tmp_path, "0\t1\n", "0\t2\n"))


@pytest.mark.parametrize(
    ("folder", "users", "items", "train", "test", "among_own_negatives"),
    [
        ("ml-1m-ncf", 6_040, 3_706, 994_169, 6_040, 156),
        ("lastfm-ncf", 1_741, 2_665, 67_408, 1_741, 86),
        ("amusic-ncf", 1_776, 12_929, 44_311, 1_776, 18),
    ],
)
def test_the_published_leave_one_out_files_have_their_known_counts(folder, users, items, train, test, among_own_negatives):
    parts = read_split(real(folder))
    assert isinstance(parts, Split)
    assert (len(parts.train.users), len(parts.train.items)) == (users, items)
    assert (len(parts.train) + len(parts.valid), len(parts.test)) == (train, test)
    assert parts.candidates.shape == (test, 99)
    assert (parts.candidates == parts.test.item[:, None]).any(1).sum() == among_own_negatives
    assert parts.train.items.ids.to_list() == [str(index) for index in range(items)]


@pytest.mark.parametrize(
    ("folder", "users", "items", "train", "test"),
    [("amazon-cds", 43_169, 35_648, 604_475, 172_951), ("epinions-fawmf", 20_259, 34_075, 267_133, 66_783)],
)
def test_the_published_two_file_splits_have_their_known_counts(folder, users, items, train, test):
    parts = read_split(real(folder), validation="none")
    assert (len(parts.train.users), len(parts.train.items)) == (users, items)
    assert (len(parts.train), len(parts.test)) == (train, test)
