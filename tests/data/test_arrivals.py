"""Later rows joined to those of before: indices stay, pairs have one row, and what cannot be understood is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from attlas.data.arrivals import end_to_end, joined, read_events
from attlas.data.interactions import Interactions
from attlas.data.readers import read
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, DataError

KNOWN = Interactions.of(["a", "a", "b"], ["x", "y", "x"])


def table(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user", "item", "rating", "time"], orient="row")


def pairs(data: Interactions) -> list[tuple]:
    return list(zip(data.users.ids_of(data.user), data.items.ids_of(data.item), strict=True))


def test_whoever_was_known_keeps_the_index_and_newcomers_stand_behind_in_the_order_they_came():
    came = joined(KNOWN, Interactions.of(["c", "a", "d"], ["z", "w", "x"]))
    assert came.data.users.ids.to_list() == ["a", "b", "c", "d"]
    assert came.data.items.ids.to_list() == ["x", "y", "z", "w"]
    assert pairs(came.data) == [*pairs(KNOWN), ("c", "z"), ("a", "w"), ("d", "x")]
    assert (came.new.user.tolist(), came.new.item.tolist()) == ([2, 0, 3], [2, 3, 0])
    assert (came.num_users, came.num_items) == (2, 2)


FIRST = table(("a", "x", 4.0, 100), ("a", "y", 3.0, 110), ("b", "x", 5.0, 120), ("a", "x", 2.0, 130))
LATER = table(("c", "x", 1.0, 200), ("a", "x", 5.0, 210), ("b", "x", 4.0, 90), ("c", "w", 3.0, 220), ("c", "w", 2.0, 230))


@pytest.mark.parametrize("repeat", ["count", "first", "last", "sum:rating"])
def test_rows_that_come_in_two_tables_end_as_those_of_one(repeat):
    apart = joined(read(FIRST, repeat=repeat), read(LATER, repeat=repeat), repeat=repeat).data
    once = read(pl.concat([FIRST, LATER]), repeat=repeat)
    columns = {
        "pair": lambda data: pairs(data),
        "rating": lambda data: None if data.rating is None else data.rating.tolist(),
        "time": lambda data: data.time.tolist(),
        "count": lambda data: None if data.count is None else data.count.tolist(),
    }
    for name, of in columns.items():
        mine, theirs = of(apart), of(once)
        if theirs is None:
            assert mine is None, name
            continue
        mine_by, theirs_by = dict(zip(pairs(apart), mine, strict=True)), dict(zip(pairs(once), theirs, strict=True))
        assert mine_by == theirs_by, name


def test_without_repeats_nothing_is_counted():
    assert joined(KNOWN, Interactions.of(["c"], ["x"])).data.count is None
    assert joined(KNOWN, Interactions.of(["a"], ["x"])).data.count.tolist() == [1, 1, 2]


def test_a_fact_that_the_new_rows_lack_is_left_out_and_said():
    known = Interactions.of(["a"], ["x"], rating=[4.0], time=[7])
    came = joined(known, Interactions.of(["b"], ["x"], time=[9]))
    assert came.data.rating is None
    assert came.data.time.tolist() == [7, 9]
    assert came.notes == ("the new rows have no rating, so that the history has none from now on",)


def test_titles_of_newcomers_join_those_that_are_known_by_the_known_columns():
    known = KNOWN.with_items(pl.DataFrame({"title": ["Ex", "Why"], "year": [1990, 1991]}))
    events = Interactions.of(["a"], ["z"]).with_items(pl.DataFrame({"title": ["Zed"], "colour": ["red"]}))
    columns = joined(known, events).data.items.columns
    assert columns.to_dict(as_series=False) == {"title": ["Ex", "Why", "Zed"], "year": [1990, 1991, None]}


def test_newcomers_without_titles_have_none():
    known = KNOWN.with_items(pl.DataFrame({"title": ["Ex", "Why"]}))
    assert joined(known, Interactions.of(["a"], ["z"])).data.items.titles_of([0, 2]) == ["Ex", "z"]


def test_titles_that_come_with_newcomers_alone_are_kept_too():
    events = Interactions.of(["a"], ["z"]).with_items(pl.DataFrame({"title": ["Zed"]}))
    assert joined(KNOWN, events).data.items.titles_of([0, 2]) == ["x", "Zed"]


def test_whole_numbers_and_the_text_that_spells_them_are_the_same_id():
    known = Interactions.of([1, 2], [10, 11])
    came = joined(known, Interactions.of(["2", "3"], ["10", "12"]))
    assert came.data.users.ids.to_list() == [1, 2, 3]
    text = joined(KNOWN, Interactions.of([7], [8]))
    assert text.data.users.ids.to_list() == ["a", "b", "7"]


def test_an_id_that_cannot_be_spelled_as_the_known_ones_is_refused():
    with pytest.raises(DataError, match="item 'ten' is no whole number, and all known items are, such as 10"):
        joined(Interactions.of([1], [10]), Interactions.of([1], ["ten"]))


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no new rows came"):
        joined(KNOWN, KNOWN.take(np.zeros(0, np.int64)))


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "x"), ("c", "z")],
        [["a", "x"], ["c", "z"]],
        [{"user": "a", "item": "x"}, {"item": "z", "user": "c"}],
        pl.DataFrame({"item": ["x", "z"], "user": ["a", "c"]}),
    ],
)
def test_rows_come_in_many_forms(rows):
    assert pairs(read_events(rows, {})) == [("a", "x"), ("c", "z")]


def test_later_tables_are_read_as_the_first_one_was_unless_told_otherwise():
    settings = {"user": "who", "item": "what", "positive": "stars>=4", "since": "2020-01-01", "min_user": 5, "split": "auto"}
    frame = pl.DataFrame({"who": ["a", "b"], "what": ["x", "y"], "stars": [5, 2], "thing": ["s", "t"]})
    assert pairs(read_events(frame, settings)) == [("a", "x")]
    assert pairs(read_events(frame, settings, item="thing")) == [("a", "s")]
    with pytest.raises(DataError, match="has no column 'who'"):
        read_events(pl.DataFrame({"user": ["a"], "what": ["x"], "stars": [5]}), settings)


def test_a_setting_that_holds_for_first_tables_only_is_refused():
    with pytest.raises(ConfigError, match="new rows have no setting 'min_user'"):
        read_events([("a", "x")], {}, min_user=5)


def test_rows_end_to_end_count_one_where_nothing_was_counted():
    counted = Interactions(KNOWN.users, KNOWN.items, KNOWN.user, KNOWN.item, count=np.array([2, 1, 3], np.float32))
    assert end_to_end(counted, KNOWN).count.tolist() == [2, 1, 3, 1, 1, 1]


def test_the_first_rows_may_be_of_nobody():
    nobody = Interactions(Vocabulary([], noun="user"), Vocabulary([], noun="item"), *np.zeros((2, 0), np.int64))
    assert joined(nobody, Interactions.of([3, 4], ["x", "y"])).data.users.ids.to_list() == [3, 4]
