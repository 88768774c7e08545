"""Rows of user and item, from frames and matrices, and what is derived from them."""

import dataclasses
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from attlas.data.interactions import Interactions, Origin
from attlas.data.readers import read
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, DataError

MOMENT = int(datetime(2020, 1, 31, 12, 30, 15, tzinfo=UTC).timestamp())


def test_indices_follow_the_order_of_first_appearance():
    data = Interactions.of(["b", "a", "b"], [20, 10, 10])
    assert data.users.ids.to_list() == ["b", "a"]
    assert data.user.tolist() == [0, 1, 0]
    assert data.item.tolist() == [0, 1, 1]


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(DataError, match="rating has 1 values for 2 interactions"):
        Interactions.of(["a", "b"], ["x", "y"], [1.0])


def test_an_index_outside_its_vocabulary_is_refused():
    with pytest.raises(DataError, match="item indices reach from 0 to 1; expected 0 to 0"):
        Interactions(Vocabulary(["a"]), Vocabulary(["x"]), np.array([0, 0]), np.array([0, 1]))


def test_a_pair_counts_once_in_the_set_of_items_of_a_user():
    data = Interactions.of(["a", "a", "b"], ["x", "x", "y"])
    assert data.by_user.toarray().tolist() == [[1, 0], [0, 1]]
    assert data.by_item.toarray().tolist() == [[1, 0], [0, 1]]


def test_of_repeats_the_latest_is_kept_and_of_equal_times_the_later_row():
    timed = Interactions.of(["a", "a", "b", "b"], ["x", "x", "y", "y"], rating=[1, 2, 3, 4], time=[9, 5, 7, 7])
    assert timed.without_repeats().rating.tolist() == [1, 4]
    untimed = Interactions.of(["a", "b", "a"], ["x", "x", "x"], rating=[1, 2, 3])
    assert untimed.without_repeats().rating.tolist() == [2, 3]


def test_a_matrix_keeps_its_places_as_ids_and_drops_explicit_zeros():
    matrix = sparse.csr_array((np.array([4.0, 0.0, 2.0]), (np.array([0, 0, 2]), np.array([1, 2, 0]))), shape=(3, 3))
    data = Interactions.of_matrix(matrix)
    assert data.to_frame().rows() == [(0, 1, 4.0), (2, 0, 2.0)]
    assert data.origin.dropped == {"explicit zeros": 1}
    assert "1 users and 1 items of the matrix have no interaction" in data.origin.notes
    assert matrix.nnz == 3


def test_a_matrix_of_ones_has_no_ratings():
    assert Interactions.of_matrix(sparse.coo_matrix(np.eye(2))).rating is None


def test_an_empty_matrix_is_refused():
    with pytest.raises(DataError, match=r"shape \(2, 3\) is empty"):
        Interactions.of_matrix(sparse.csr_array((2, 3)))


def test_taken_rows_keep_the_vocabularies():
    data = Interactions.of(["a", "b"], ["x", "y"], rating=[1, 2], time=[3, 4])
    taken = data.take(np.array([False, True]))
    assert taken.to_frame().rows() == [("b", "y", 2.0, 4)]
    assert taken.users is data.users


def test_the_fingerprint_tells_ratings_and_orders_apart():
    data = Interactions.of(["a", "b"], ["x", "y"], rating=[1, 2])
    assert data.fingerprint == Interactions.of(["a", "b"], ["x", "y"], rating=[1, 2]).fingerprint
    assert data.fingerprint != Interactions.of(["a", "b"], ["x", "y"], rating=[1, 3]).fingerprint
    assert data.fingerprint != Interactions.of(["b", "a"], ["y", "x"], rating=[2, 1]).fingerprint


def test_an_origin_tells_in_sentences_what_was_kept():
    origin = Origin("r.csv", 10, {"user": "uid", "item": "sku"}, {"missing user id": 2}, notes=("a note",))
    assert origin.sentences() == [
        "r.csv: columns user = 'uid', item = 'sku'",
        "10 rows read, 8 kept",
        "2 rows dropped: missing user id",
        "a note",
    ]


def test_an_origin_says_which_share_of_the_rows_repeats_a_choice():
    said = Origin("r.csv", 10, dropped={"missing user id": 2, "repeats of the same user and item": 2}, repeats=2).sentences()
    hint = "think about --include-seen (exclude_seen=False)"
    assert said[-1] == f"25% of rows repeat an earlier choice of the same user and item; {hint}"
    assert "repeat an" not in " ".join(Origin("r.csv", 1000, repeats=2).sentences())


def test_a_lazy_frame_with_dates_and_categories_is_read():
    frame = pl.LazyFrame(
        {"user": ["a", "b"], "item": ["x", None], "date": [date(1970, 1, 2), None], "junk": [[1], [2]]},
        schema_overrides={"item": pl.Categorical},
    )
    assert read(frame).to_frame().rows() == [("a", "x", 86_400)]


def test_datetimes_with_a_zone_are_counted_in_universal_time():
    at = datetime(2020, 1, 31, 12, 30, 15, tzinfo=UTC)
    frame = pl.DataFrame({"user": ["a"], "item": ["x"], "time": [at]}).with_columns(
        pl.col("time").dt.convert_time_zone("Asia/Tokyo")
    )
    assert read(frame).time.tolist() == [MOMENT]


def test_unsigned_hashes_that_do_not_fit_become_text():
    frame = pl.DataFrame({"user": pl.Series([2**64 - 1], dtype=pl.UInt64), "item": [1]})
    assert read(frame).users.ids.to_list() == [str(2**64 - 1)]


def test_whole_numbers_that_pandas_made_floats_become_whole_again_without_the_missing():
    data = read(pd.DataFrame({"user": [1.0, np.nan, 3.0], "item": [7, 8, 9], "rating": [1, 2, 3]}))
    assert data.to_frame().rows() == [(1, 7, 1.0), (3, 9, 3.0)]
    assert data.origin.dropped == {"missing user id": 1}


def test_ids_that_floats_cannot_tell_apart_are_refused():
    wide = [76_561_198_012_345_679, 76_561_198_012_345_681]
    lost = pd.DataFrame({"user": [*wide, None], "item": [1, 2, 3]})  # pandas makes floats of them
    with pytest.raises(
        DataError, match="column 'user' holds user ids of 9,007,199,254,740,992 and more as Float64, which cannot"
    ):
        read(lost)
    kept = pd.DataFrame({"user": pd.array([*wide, None], dtype="Int64"), "item": [1, 2, 3]})
    assert read(kept).users.ids.to_list() == wide


@pytest.mark.parametrize(("kind", "least"), [(pl.Float32, 2**24), (pl.Float64, 2**53)])
def test_ids_that_floats_can_tell_apart_become_whole_numbers_again(kind, least):
    for sign in (1, -1):
        frame = pl.DataFrame({"user": pl.Series([sign * (least - 1), sign * (least - 2)]).cast(kind), "item": [1, 2]})
        assert read(frame).users.ids.to_list() == [sign * (least - 1), sign * (least - 2)]
        with pytest.raises(DataError, match=f"ids of {least:,} and more as {kind.__name__}"):
            read(pl.DataFrame({"user": pl.Series([1, sign * least]).cast(kind), "item": [1, 2]}))


@pytest.mark.parametrize("kind", ["object", "str", "string", "category"])
def test_text_of_every_pandas_kind_is_read(kind):
    frame = pd.DataFrame({"user": pd.Series(["a", "b", None], dtype=kind), "item": pd.Series([1, 2, 3], dtype="Int64")})
    assert read(frame).to_frame().rows() == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("zone", [None, "Europe/Paris"])
def test_datetimes_of_pandas_become_seconds(zone):
    time = pd.Series(pd.to_datetime(["2020-01-31 12:30:15", None, "2020-01-31 12:30:15"], utc=True)).dt.tz_convert(zone)
    data = read(pd.DataFrame({"user": ["a", "b", "c"], "item": ["x", "x", "x"], "time": time}))
    assert data.time.tolist() == [MOMENT, MOMENT]
    assert data.origin.dropped == {"missing time": 1}


def test_numbered_columns_of_pandas_can_be_named():
    assert read(pd.DataFrame([[1, 2]]), user="0", item="1").to_frame().rows() == [(1, 2)]


def test_ids_with_fractions_are_refused():
    with pytest.raises(DataError, match="'user' holds numbers with fractions; expected user ids"):
        read(pl.DataFrame({"user": [0.5], "item": [1]}))


def test_lists_are_refused_as_ids_and_as_ratings():
    with pytest.raises(DataError, match="is of type List"):
        read(pl.DataFrame({"user": [[1]], "item": [1]}))
    with pytest.raises(DataError, match=r"'rating' is of type List.* expected numbers"):
        read(pl.DataFrame({"user": [1], "item": [1], "rating": [[1]]}))


def test_a_sparse_matrix_is_read_and_takes_no_column_names():
    matrix = sparse.coo_array(np.array([[0, 5.0], [3.0, 0]]))
    assert read(matrix).to_frame().rows() == [(0, 1, 5.0), (1, 0, 3.0)]
    with pytest.raises(ConfigError, match="no named columns; leave out user"):
        read(matrix, user="0")


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError, match="cannot read a list; expected a path, a frame"):
        read([1, 2])


@given(pairs=st.lists(st.tuples(st.integers(-5, 5), st.text("abc", min_size=1, max_size=2)), min_size=1, max_size=30))
def test_what_is_read_from_a_frame_is_the_set_of_its_pairs_in_order_of_first_appearance(pairs):
    data = read(pl.DataFrame(pairs, schema=["user", "item"], orient="row"))
    assert sorted(data.to_frame().select("user", "item").rows()) == sorted(set(pairs))
    assert data.users.ids.to_list() == list(dict.fromkeys(user for user, _ in pairs))


def test_counts_stay_with_their_rows_and_are_part_of_the_fingerprint():
    plain = Interactions.of(["a", "b"], ["x", "y"])
    counted = dataclasses.replace(plain, count=np.array([3.0, 1.0], np.float32))
    assert counted.take(np.array([1])).count.tolist() == [1.0]
    assert counted.fingerprint != plain.fingerprint
    assert counted.to_frame().columns == ["user", "item", "count"]
