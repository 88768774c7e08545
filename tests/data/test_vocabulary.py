"""Ids, indices and titles."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from attlas.data.readers import read
from attlas.data.vocabulary import Vocabulary
from attlas.errors import DataError, UnknownId


def test_an_index_is_the_place_of_its_id():
    known = Vocabulary(["u17", "u3"])
    assert known.index_of(["u3", "u17"]).tolist() == [1, 0]
    assert known.ids_of([1, 0]) == ["u3", "u17"]


def test_whole_numbers_find_text_ids_that_spell_them_and_the_other_way_round():
    assert Vocabulary(["7", "8"]).find([8, 9]).tolist() == [1, -1]
    assert Vocabulary([7, 8]).find(["8", "x"]).tolist() == [1, -1]


@pytest.mark.parametrize("spelling", [7, 7.0, "7", " +7 ", np.int32(7), np.float32(7.0)])
def test_a_whole_number_is_found_however_it_comes(spelling):
    assert Vocabulary([7, 1]).find([spelling]).tolist() == [0]
    assert Vocabulary([7, 1]).spell(spelling) == 7


@pytest.mark.parametrize("spelling", [7, 7.0, np.int32(7), np.float64(7), np.float32(7), "7", " 7 "])
def test_a_text_id_is_found_however_it_comes(spelling):
    assert Vocabulary(["a b", "7"]).find([spelling]).tolist() == [1]
    assert Vocabulary(["a b"]).spell(spelling) == "7"


def test_a_text_id_that_stands_as_it_was_said_comes_first():
    known = Vocabulary(["7", "7.0", " 7", " a "])
    assert known.find([7.0, " 7", "7 ", " a ", "a", "a b"]).tolist() == [1, 2, 0, 3, -1, -1]


@pytest.mark.parametrize("stranger", [7.5, float("nan"), float("inf"), "", " "])
def test_what_spells_no_text_id_is_unknown(stranger):
    assert Vocabulary(["7", "8"]).find([stranger]).tolist() == [-1]


@pytest.mark.parametrize("stranger", [7.5, float("nan"), float("inf"), None, True, np.True_, "7.0", "1_0", "", 2**64])
def test_what_is_no_whole_number_is_unknown_among_whole_numbers(stranger):
    assert Vocabulary([7, 1, 10]).find([stranger]).tolist() == [-1]
    assert Vocabulary([7, 1, 10]).spell(stranger) is None


@pytest.mark.parametrize("stranger", [None, True])
def test_what_is_missing_or_a_truth_value_is_no_text_id(stranger):
    assert Vocabulary(["None", "True"]).find([stranger]).tolist() == [-1]


def test_an_unknown_id_is_named_with_the_number_of_others():
    with pytest.raises(UnknownId, match=r"user 'u42' \(and 1 more\) is not among the 1 known users; a history"):
        Vocabulary(["u1"], noun="user").index_of(["u1", "u42", "u43"])


def test_an_unknown_user_is_told_both_ways_to_an_answer_in_python_and_at_the_terminal_and_an_unknown_item_none():
    with pytest.raises(UnknownId, match=r"recommend_for\(item_ids\) or --history; .*unknown='popular' or --unknown popular$"):
        Vocabulary(["u1"], noun="user").index_of(["u2"])
    with pytest.raises(UnknownId, match=r"item 'i2' is not among the 1 known items$"):
        Vocabulary(["i1"], noun="item").index_of(["i2"])


def test_repeated_and_missing_ids_are_refused():
    with pytest.raises(DataError, match="item ids repeat: 2 given, 1 distinct"):
        Vocabulary(["a", "a"], noun="item")
    with pytest.raises(DataError, match="1 item ids are missing"):
        Vocabulary(pl.Series(["a", None]), noun="item")


def test_ids_must_be_text_or_whole_numbers():
    with pytest.raises(DataError, match="Float64; expected text or whole numbers"):
        Vocabulary(pl.Series([0.5]))


def test_columns_need_a_row_per_id():
    with pytest.raises(DataError, match="1 rows of item columns for 2 ids"):
        Vocabulary(["a", "b"], pl.DataFrame({"title": ["A"]}), noun="item")


def test_the_title_is_shown_where_one_is_known_and_the_id_elsewhere():
    known = Vocabulary(["a", "b", "c"], pl.DataFrame({"Title": ["Alien", None, ""]}))
    assert known.titles_of([0, 1, 2]) == ["Alien", "b", "c"]
    assert Vocabulary([7]).titles_of([0]) == ["7"]


def test_an_empty_vocabulary_knows_nobody():
    assert len(Vocabulary([])) == 0
    assert Vocabulary([]).find(["a"]).tolist() == [-1]


def test_vocabularies_are_equal_when_their_ids_are_in_type_and_order():
    assert Vocabulary(["a", "b"]) == Vocabulary(["a", "b"])
    assert Vocabulary(["a", "b"]) != Vocabulary(["b", "a"])
    assert Vocabulary(["1"]) != Vocabulary([1])


@pytest.mark.parametrize(
    ("facts", "columns"),
    [
        ("movieId,title,genres\n2,Two,a|b\n1,One,c\n2,Again,d\n9,Nine,e\n", ["title", "genres"]),
        ("1::One::c\n2::Two::a|b\n", ["title", "genres"]),
        ("id\tname\n2\tTwo\n1\tOne\n", ["name"]),
        ("code,title\n2,Two\n1,One\n", ["title"]),
    ],
)
def test_titles_come_along_in_the_order_of_the_items(tmp_path, facts, columns):
    (tmp_path / "facts").write_text(facts)
    data = read(pl.DataFrame({"user": ["a", "a", "b"], "item": ["2", "3", "1"]}), items=tmp_path / "facts")
    assert data.items.titles_of([0, 1, 2]) == ["Two", "3", "One"]
    assert data.items.columns.columns == columns
    assert "facts about 2 of 3 items" in data.origin.notes[-1]


def test_repeated_rows_of_an_item_are_counted_and_the_first_is_kept():
    data = read(pl.DataFrame({"user": ["a"], "item": ["2"]}), items=pl.DataFrame({"item": [2, 2], "title": ["Two", "Again"]}))
    assert data.items.titles_of([0]) == ["Two"]
    assert "of repeated ids the first row was kept (1 repeats)" in data.origin.notes[-1]


def test_text_ids_of_a_file_find_the_numbers_of_a_frame():
    data = read(pl.DataFrame({"user": [1], "item": [7]}), items=pd.DataFrame({"item": ["7"], "title": ["Seven"]}))
    assert data.items.titles_of([0]) == ["Seven"]


def test_a_table_of_items_that_shares_no_id_is_refused():
    with pytest.raises(DataError, match="shares an id with the 1 items, such as 'x'"):
        read(pl.DataFrame({"user": ["a"], "item": ["x"]}), items=pl.DataFrame({"item": ["y"], "title": ["Y"]}))
    with pytest.raises(DataError, match="has only the column"):
        read(pl.DataFrame({"user": ["a"], "item": ["x"]}), items=pl.DataFrame({"item": ["x"]}))
