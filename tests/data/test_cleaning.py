"""What the rows of a table become: repeats, returns, conditions, cores."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attlas.data.cleaning import Cleaning, in_core, one_row_per_pair, seconds_of, settle
from attlas.data.conditions import parse_conditions
from attlas.data.readers import read
from attlas.errors import ConfigError, DataError

SHOP = pl.DataFrame(
    [
        ("ann", "tea", 2, 5.0, 10, "purchase"),
        ("ann", "tea", 3, 4.0, 30, "purchase"),
        ("ann", "tea", 1, 1.0, 20, "purchase"),
        ("bob", "tea", 4, 3.0, 10, "view"),
        ("bob", "pot", 1, 2.0, 40, "purchase"),
    ],
    schema=["customer", "sku", "quantity", "stars", "date", "event"],
    orient="row",
)
RETURNED = pl.DataFrame(
    [("ann", "tea", 2, 1), ("ann", "tea", -1, 2), ("bob", "tea", 1, 1), ("bob", "tea", -3, 2), ("bob", "pot", 5, 3)],
    schema=["user", "item", "quantity", "time"],
    orient="row",
)


@pytest.mark.parametrize(
    ("repeat", "row"),
    [
        ("count", ("ann", "tea", 4.0, 30, 3.0)),
        ("sum:quantity", ("ann", "tea", 4.0, 30, 6.0)),
        ("first", ("ann", "tea", 5.0, 10)),
        ("last", ("ann", "tea", 4.0, 30)),
    ],
)
def test_the_rows_of_a_pair_become_one_by_the_rule_that_was_chosen(repeat, row):
    data = read(SHOP, repeat=repeat)
    assert data.to_frame().rows()[0] == row
    assert (len(data), data.origin.repeats) == (3, 2)
    assert data.origin.dropped == {"repeats of the same user and item": 2}
    assert any(said.startswith("40% of rows repeat an earlier choice") for said in data.origin.sentences())


def test_where_every_pair_comes_once_nothing_is_counted():
    assert read(SHOP.tail(2)).count is None
    assert read(SHOP.tail(2), repeat="sum:quantity").count.tolist() == [4, 1]


def test_of_equal_times_the_later_row_is_the_last_and_the_earlier_the_first():
    frame = pl.DataFrame({"user": [1, 1], "item": [1, 1], "rating": [2, 3], "time": [7, 7]})
    assert read(frame).rating.tolist() == [3]
    assert read(frame, repeat="first").rating.tolist() == [2]
    assert read(frame.drop("time"), repeat="last").rating.tolist() == [3]


def slowly(rows, cleaning):
    """A twin of one_row_per_pair in loops: pair -> (row, size, count)."""
    pairs = {}
    for row in sorted(rows, key=lambda row: (row["time"], row["row"])):
        pairs.setdefault(row["pair"], []).append(row)
    found = {}
    for pair, mine in pairs.items():
        balance, kept, bought = 0, 0, [row for row in mine if row["amount"] >= 0]
        for row in mine:
            balance = max(0, balance + row["amount"]) if cleaning.returns == "cancel" else balance + max(0, row["amount"])
            kept = max(0, kept + (1 if row["amount"] >= 0 else -1)) if cleaning.returns == "cancel" else len(bought)
        has_returns = cleaning.returns == "cancel" and len(bought) < len(mine)
        if not bought or (has_returns and balance <= 0):
            continue
        row = bought[0] if cleaning.repeat == "first" else bought[-1]
        found[pair] = (row["row"], len(bought), float(balance) if cleaning.summed else float(max(1, kept)))
    return found


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-3, 4)), max_size=12),
    st.sampled_from(["count", "sum:amount", "first", "last"]),
    st.sampled_from(["drop", "cancel"]),
)
def test_rows_of_pairs_with_returns_become_what_a_loop_makes_of_them(rows, repeat, returns):
    rows = [{"pair": p, "time": t, "amount": a, "row": n} for n, (p, t, a) in enumerate(rows)]
    schema = {"pair": pl.Int64, "time": pl.Int64, "amount": pl.Float64, "row": pl.Int64}
    cleaning = Cleaning(repeat, returns=returns)
    frame = pl.DataFrame(rows, schema=schema)
    expected = slowly(rows, cleaning)
    assert {pair: (row, size, count) for pair, row, size, count in one_row_per_pair(frame, cleaning).rows()} == expected
    settled = settle(frame["pair"].to_numpy(), cleaning, frame["time"].to_numpy(), frame["amount"].to_numpy())
    assert list(zip(settled.row, settled.size, strict=True)) == sorted((row, size) for row, size, _ in expected.values())


def test_negative_amounts_are_refused_until_they_have_a_meaning():
    with pytest.raises(DataError, match=r"column 'quantity' holds negative amounts in 2 rows, such as -1; .*option returns"):
        read(RETURNED)
    dropped = read(RETURNED, returns="drop", repeat="sum:quantity")
    assert dropped.count.tolist() == [2, 1, 5]
    assert dropped.origin.dropped == {"returns (negative quantity)": 2}
    cancelled = read(RETURNED, returns="cancel", repeat="sum:quantity")
    assert cancelled.to_frame().rows() == [("ann", "tea", 1, 1.0), ("bob", "pot", 3, 5.0)]
    assert cancelled.origin.dropped == {"returns (negative quantity)": 2, "bought and returned": 1}


def test_a_return_is_taken_from_what_was_bought_before_it_and_not_after():
    frame = pl.DataFrame({"user": [1, 1], "item": [1, 1], "quantity": [-2, 3], "time": [1, 2]})
    assert read(frame, returns="cancel", repeat="sum:quantity").count.tolist() == [3]


def test_rows_with_a_zero_amount_add_nothing_and_are_left_out_however_many():
    frame = pl.DataFrame({"user": [1, 1, 2, 2, 2], "item": [1, 2, 1, 2, 3], "clicks": [0, 0, 0, 3, 1]})
    data = read(frame, repeat="sum:clicks")
    assert (data.to_frame().rows(), data.origin.dropped) == ([(2, 2, 3.0), (2, 3, 1.0)], {"zero clicks": 3})
    assert data.origin.columns == {"user": "user", "item": "item", "count": "clicks"}
    with pytest.raises(DataError, match="all usable rows are left out, the last of them by 'zero clicks'"):
        read(frame.head(3), repeat="sum:clicks")


def test_a_true_rating_may_be_negative():
    assert read(pl.DataFrame({"user": [1], "item": [1], "rating": [-7.5]})).rating.tolist() == [-7.5]


@pytest.mark.parametrize("returns", [None, "drop", "cancel"])
def test_a_true_rating_may_be_negative_beside_amounts_that_are_not(returns):
    frame = pl.DataFrame({"user": [1, 2], "item": [1, 1], "rating": [-1.0, 1.0], "plays": [3, 4]})
    data = read(frame, returns=returns)
    assert (data.rating.tolist(), data.origin.dropped) == ([-1.0, 1.0], {})


def test_an_amount_that_was_taken_for_a_rating_is_said_with_the_way_to_add_it_up():
    frame = SHOP.drop("stars")
    assert "--repeat sum:quantity" in read(frame).origin.notes[0]
    assert read(frame, rating="quantity").origin.notes == ()
    summed = read(frame, repeat="sum:quantity")
    assert (summed.rating, summed.origin.notes) == (None, ())


@pytest.mark.parametrize(
    ("positive", "kept"),
    [
        ("stars>=4", [0, 1]),
        ("stars > 4.5", [0]),
        ("stars=4", [1]),
        ("stars==4.0", [1]),
        ("stars<3", [2, 4]),
        ("event=purchase", [0, 1, 2, 4]),
        ("event != purchase", [3]),
        ("event='purchase' and stars>3", [0, 1]),
        ('"sku" = "tea" AND quantity <= 2', [0, 2]),
        ("sku=pot and event=view", []),
    ],
)
def test_a_condition_holds_where_it_should(positive, kept):
    holds = np.ones(SHOP.height, bool)
    for term in parse_conditions(positive, SHOP.columns, "shop"):
        holds &= term.holds(SHOP[term.column]).to_numpy()
    assert np.flatnonzero(holds).tolist() == kept


def test_rows_that_do_not_meet_the_condition_are_counted(tmp_path):
    SHOP.write_csv(tmp_path / "shop.csv")
    data = read(tmp_path / "shop.csv", positive="event=purchase and stars>=2")
    assert data.to_frame().rows() == [("ann", "tea", 4.0, 30, 2.0), ("bob", "pot", 2.0, 40, 1.0)]
    assert data.origin.dropped == {
        "event=purchase and stars>=2 does not hold": 2,
        "repeats of the same user and item": 1,
    }


def test_a_condition_holds_in_no_row_whose_cell_is_missing():
    cells = pl.Series("event", ["view", None, "", "buy"])
    assert parse_conditions("event!=view", ["event"], "t")[0].holds(cells).to_list() == [False, False, False, True]
    numbers = pl.Series("stars", [float("nan"), 5.0, None])
    assert parse_conditions("stars>1", ["stars"], "t")[0].holds(numbers).to_list() == [False, True, False]


def test_digits_with_leading_zeros_or_in_quotes_are_text():
    shops = pl.Series("shop", ["01", "1", "1.0"])
    for positive, kept in (("shop=01", ["01"]), ("shop='1'", ["1"]), ("shop=1", ["01", "1", "1.0"])):
        assert shops.filter(parse_conditions(positive, ["shop"], "t")[0].holds(shops)).to_list() == kept


@pytest.mark.parametrize(
    ("positive", "error", "message"),
    [
        ("strs>3", DataError, r"no column 'strs' for positive; did you mean 'stars'\?"),
        ("stars=>3", ConfigError, "is not understood at 'stars=>3'; expected comparisons"),
        ("stars~3", ConfigError, "is not understood"),
        ("stars", ConfigError, "is not understood"),
        ("", None, ""),
        ("stars>3 and", ConfigError, "> needs a number, '3 and' is none"),
        ("event=view and ", ConfigError, "is not understood at ''"),
        ("stars>3 or stars<1", ConfigError, "> needs a number, '3 or stars' is none|is not understood"),
        ("stars>high", ConfigError, "> needs a number, 'high' is none"),
        ("event>3", DataError, "column 'event' does not hold numbers but for instance 'purchase'"),
        ("stars>9", DataError, "none of 5 rows meets positive='stars>9'"),
        ("__import__('os')", ConfigError, "is not understood"),
    ],
)
def test_a_condition_that_does_not_fit_is_told(positive, error, message):
    if error is None:
        assert len(read(SHOP, positive=positive)) == 3
    else:
        with pytest.raises(error, match=message):
            read(SHOP, positive=positive)


CHAIN = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 3), ("d", 3)]


def test_a_core_is_what_is_left_when_all_have_enough():
    frame = pl.DataFrame(CHAIN, schema=["user", "item"], orient="row")
    data = read(frame, min_user=2, min_item=2)
    assert sorted(data.to_frame().rows()) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert (data.users.ids.to_list(), data.items.ids.to_list()) == (["a", "b"], [1, 2])
    assert data.origin.dropped == {"of users with fewer than 2 items or items with fewer than 2 users": 3}
    with pytest.raises(DataError, match="all rows are of users with fewer than 9 items"):
        read(frame, min_user=9)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), unique=True, max_size=25), st.integers(0, 4), st.integers(0, 4)
)
def test_a_core_is_the_largest_set_of_rows_in_which_all_have_enough(pairs, min_user, min_item):
    left = set(pairs)
    while True:
        few = {(u, i) for u, i in left if sum(a == u for a, _ in left) < min_user or sum(b == i for _, b in left) < min_item}
        if not few:
            break
        left -= few
    user, item = (np.array([pair[axis] for pair in pairs], dtype=np.int64) for axis in (0, 1))
    keep = in_core(user, item, min_user, min_item)
    assert {pair for pair, kept in zip(pairs, keep, strict=True) if kept} == left


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01T00:01", 60),
        ("1970-01-01 01:00+01:00", 0),
        ("1970-01-01T00:00:05Z", 5),
        ("30", 30),
        (30, 30),
        (86400, 86400),
        (date(1970, 1, 2), 86_400),
        (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60),
    ],
)
def test_a_moment_is_told_by_a_date_or_by_seconds(moment, seconds):
    assert seconds_of(moment) == seconds


def test_rows_before_a_moment_are_left_out_and_counted():
    data = read(SHOP, since=30)
    assert (data.time.tolist(), data.origin.dropped) == ([30, 40], {"before 30": 3})
    with pytest.raises(DataError, match="all usable rows are left out, the last of them by 'before 2020-01-01'"):
        read(SHOP, since="2020-01-01")
    with pytest.raises(DataError, match="has no time column, so since=30 cannot be told; name it with the option time"):
        read(SHOP.drop("date"), since=30)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"repeat": "mean"}, "repeat='mean' is not known"),
        ({"repeat": "sum:"}, "repeat='sum:' is not known"),
        ({"returns": "cancle"}, r"returns='cancle' is not known; did you mean 'cancel'\?"),
        ({"min_user": -1}, "min_user=-1 does not fit"),
        ({"min_item": 2.5}, "min_item=2.5 does not fit"),
        ({"since": "yesterday"}, "since='yesterday' is no moment"),
        ({"since": "2020"}, "since='2020' is no moment"),
        ({"since": 2020}, "since=2020 is no moment"),
        ({"positive": 4}, "positive=4 is no condition"),
        ({"since": True}, "since=True is no moment"),
        ({"since": 1_600_000_000_000}, "too large for seconds"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(wrong, message):
    with pytest.raises(ConfigError, match=message):
        read(SHOP, **wrong)


def test_a_column_to_add_up_must_exist_and_hold_numbers():
    with pytest.raises(DataError, match=r"no column 'quantty' for repeat; did you mean 'quantity'\?"):
        read(SHOP, repeat="sum:quantty")
    with pytest.raises(DataError, match="the event is not a number in 5 rows; choose another column with the option repeat"):
        read(SHOP, repeat="sum:event")


def test_returns_are_read_from_an_amount_that_plays_no_role():
    frame = pl.DataFrame({"user": [1, 1, 2], "item": [1, 1, 2], "rating": [5, 4, 3], "quantity": [2, -1, 1]})
    with pytest.raises(DataError, match="column 'quantity' holds negative amounts"):
        read(frame)
    dropped = read(frame, returns="drop")
    assert (dropped.rating.tolist(), dropped.count) == ([5.0, 3.0], None)
    assert dropped.origin.dropped == {"returns (negative quantity)": 1}
    assert read(frame, returns="cancel").rating.tolist() == [5.0, 3.0]
    assert read(frame.with_columns(quantity=pl.Series([2, -2, 1])), returns="cancel").rating.tolist() == [3.0]


def test_a_return_takes_one_counted_purchase_back():
    frame = pl.DataFrame({"user": [1] * 5 + [2], "item": [1] * 6, "quantity": [1, 1, 1, -1, -1, 1]})
    assert read(frame, returns="cancel").count.tolist() == [1.0, 1.0]
    more = pl.DataFrame({"user": [1] * 5 + [2], "item": [1] * 6, "quantity": [1, 1, 1, 1, -1, 1]})
    assert read(more, returns="cancel").count.tolist() == [3.0, 1.0]


def test_returns_without_an_amount_are_refused():
    with pytest.raises(ConfigError, match="returns='drop' needs a column of amounts"):
        read(pl.DataFrame({"user": [1], "item": [1]}), returns="drop")
