"""Facts and suspicions, worked out by hand on a few rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attlas
from attlas.cli.sheet import description_lines
from attlas.data.describing import Bar, Description, Spread, describe, describe_source, held_by_top, rating_bars, time_bars
from attlas.data.interactions import Interactions

DAY = 86_400
YEAR_2000 = 946_684_800
NOW = 1_700_000_000  # November 2023


def told(data: Any, **columns: str) -> dict[str, str]:
    """The findings about a table by their codes."""
    frame = pl.DataFrame(data)
    rows = attlas.read(frame, **columns)
    return {finding.code: finding.sentence for finding in describe(rows, now=NOW, table=frame).findings}


def four_rows() -> Interactions:
    """ann chose x, y and z, bob chose x."""
    times = [YEAR_2000, YEAR_2000 + 1, YEAR_2000 + 2, YEAR_2000 + 40 * DAY]
    return Interactions.of(["ann", "ann", "ann", "bob"], ["x", "y", "z", "x"], [1, 2, 2, 5], times)


def test_the_facts_of_four_rows() -> None:
    found = describe(four_rows(), now=NOW)
    assert (found.rows, found.pairs, found.users, found.items, found.filled) == (4, 4, 2, 3, 4 / 6)
    assert (found.first, found.last) == ("2000-01-01 00:00:00", "2000-02-10 00:00:00")
    assert found.per_user == Spread(median=2.0, mean=2.0, p90=pytest.approx(2.8), max=3)
    assert found.per_item == Spread(median=1.0, mean=4 / 3, p90=pytest.approx(1.8), max=2)
    assert (found.single_users, found.rare_items, found.top_users) == (1, 3, 3 / 4)
    assert found.top_items == {"0.01": 0.5, "0.05": 0.5, "0.1": 0.5, "0.2": 0.5, "0.5": 0.75}
    assert found.ratings == (Bar("1", 1), Bar("2", 2), Bar("5", 1))
    assert found.times is not None
    assert (found.times[0], found.times[-1], len(found.times)) == (Bar("1999-12-27", 3), Bar("2000-02-07", 1), 7)


def test_repeats_are_a_share_of_the_usable_rows() -> None:
    found = describe(attlas.read(pl.DataFrame({"user": [1, 1, 1, 2], "item": [7, 7, 7, 8]})), now=NOW)
    assert (found.rows, found.pairs, found.repeats, found.repeat_share) == (4, 2, 2, 0.5)


def test_negative_ratings_beside_amounts_are_described_too() -> None:
    frame = pl.DataFrame({"user": [1, 1, 2], "item": [7, 8, 8], "rating": [-1, 1, -1], "plays": [3, 4, 5]})
    found = describe_source(frame)
    assert (found.pairs, found.ratings, found.dropped) == (3, (Bar("-1", 2), Bar("1", 1)), {})


def test_the_top_hold_what_they_hold() -> None:
    count = np.array([1, 1, 1, 1, 6])
    assert [held_by_top(count, share) for share in (0.2, 0.4, 1.0)] == [0.6, 0.7, 1.0]


def test_many_ratings_that_span_powers_of_ten_are_put_in_those() -> None:
    assert rating_bars(np.array([*range(1, 15), 99, 100, 5000.0])) == (
        Bar("1 to 9", 9),
        Bar("10 to 99", 6),
        Bar("100 to 999", 1),
        Bar("1,000 to 9,999", 1),
    )


def test_many_other_ratings_are_put_in_ten_equal_ranges() -> None:
    found = rating_bars(np.arange(-50.0, 51.0))
    assert (len(found), found[0].label, sum(bar.rows for bar in found)) == (10, "-50 to -41", 101)
    assert found[-1] == Bar("40 to 50", 11)


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (0, ["2000-01-01 00:00"]),
        (3 * 3600, ["2000-01-01 00:00", "2000-01-01 03:00"]),
        (5 * DAY, ["2000-01-01", "2000-01-06"]),
        (300 * DAY, ["2000-01", "2000-10"]),
        (700 * DAY, ["2000-01", "2001-10"]),
        (3000 * DAY, ["2000", "2008"]),
        (30_000 * DAY, ["2000", "2077"]),
    ],
)
def test_time_is_cut_into_at_most_twelve_periods_of_the_calendar(span: int, labels: list[str]) -> None:
    found = time_bars(np.array([YEAR_2000, YEAR_2000 + span]))
    assert list(dict.fromkeys([found[0].label, found[-1].label])) == labels
    assert len(found) <= 12
    assert sum(bar.rows for bar in found) == 2


def test_no_more_periods_are_laid_out_than_may_be_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, laid_out = [], pl.datetime_range

    def noted(begin: Any, end: Any, period: str) -> Any:
        seconds = (end - begin).total_seconds()
        lengths.append(
            seconds / {"1h": 3600, "1d": DAY, "1w": 7 * DAY, "1mo": 28 * DAY, "1q": 90 * DAY, "1y": 365 * DAY}[period]
        )
        return laid_out(begin, end, period)

    monkeypatch.setattr(pl, "datetime_range", noted)
    for span in (0, 5 * 3600, 11 * DAY, 100 * DAY, 370 * DAY, 1000 * DAY, 3000 * DAY):
        assert sum(bar.rows for bar in time_bars(np.array([YEAR_2000, YEAR_2000 + span]))) == 2
    assert 0 < max(lengths) < 16
    lengths.clear()
    time_bars(np.array([0, 1_700_000_000_000]))  # one time in milliseconds among seconds
    assert len(lengths) == 1


def test_a_sound_table_gives_no_finding() -> None:
    rows = {"user": [1, 1, 2, 2], "item": [7, 8, 8, 7], "rating": [1, 2, 3, 3], "time": [1e9, 1e9 + 5, 1e9 + 7, 1e9 + 8]}
    assert told(rows) == {}


PAIRS = {"user": [1, 1, 2, 2], "item": [7, 8, 8, 7]}
SUSPECTS = {
    "single-users": ({"user": [1, 1, 2], "item": [7, 8, 8]}, r"1 of 2 users \(50\.0 %\) have one row: .* never measured$"),
    "repeats": ({"user": [1, 1, 2, 2], "item": [7, 7, 8, 7]}, r"25\.0 % of the rows choose an item again: .*exclude_seen"),
    "copies": ({"user": [1, 1, 1], "item": [7, 7, 7], "n": [1, 1, 2]}, "1 rows say the same as another in every column"),
    "items-are-users": ({"user": ["a", "a", "b", "b"], "item": ["b", "c", "a", "c"]}, r"2 of 3 item ids are user ids too"),
    "equal-times": (PAIRS | {"time": [1e9] * 4}, r"all times are 2001-09-09 01:46:40: .*--time ''"),
    "future-times": (PAIRS | {"time": [1e9, 1e9, 2e9, 3e9]}, r"2 times lie in the future, up to 2065-01-24"),
    "early-times": (PAIRS | {"time": [1, 2, 3, 4]}, r"4 times lie before 1990, from 1970-01-01 00:00:01"),
    "whole-days": (PAIRS | {"time": ["2020-01-01", "2020-01-02", "2020-01-02", "2020-01-05"]}, "times are whole days"),
    "equal-ratings": (PAIRS | {"rating": [5] * 4}, r"all ratings are 5: they say nothing; read none with --rating ''"),
    "empty-column": (PAIRS | {"shop": [None, None, "", "NA"]}, "column 'shop' is empty$"),
    "mostly-missing": (PAIRS | {"shop": [None, "", "NA", "x"]}, r"column 'shop' is empty in 75 % of the rows"),
    "constant-column": (PAIRS | {"shop": ["x"] * 4}, r"column 'shop' says 'x' in every row: it tells nothing"),
    "all-distinct": ({"user": [1, 1, 2, 2], "item": [9, 3, 8, 5]}, r"column 'item' has a new item in every row, as a row"),
    "key-column": (PAIRS | {"review": list("abcd")}, r"column 'review' has a new value in every row, .* it is not read"),
    "row-number": ({"user": [1, 1, 2, 2], "item": [3, 4, 5, 6]}, r"column 'item' counts 3, 4, \.\.\.: it numbers the rows"),
    "one-to-one": (PAIRS | {"title": ["x", "y", "y", "x"]}, r"'item' and 'title' go one to one; if one names the items"),
}


@pytest.mark.parametrize("code", SUSPECTS)
def test_there_is_a_finding_about(code: str, assert_match: Callable[[str, str], None]) -> None:
    rows, said = SUSPECTS[code]
    found = told(rows, user="user", item="item")
    assert code in found
    assert_match(said, found[code])


@pytest.fixture
def assert_match() -> Callable[[str, str], None]:
    import re

    def check(pattern: str, text: str) -> None:
        assert re.search(pattern, text), text

    return check


@pytest.mark.parametrize(
    ("code", "size"),
    [
        ("single-users", 1 / 2),
        ("repeats", 1 / 4),
        ("copies", 1 / 3),
        ("items-are-users", 2 / 3),
        ("future-times", 1 / 2),
        ("early-times", 1.0),
        ("mostly-missing", 3 / 4),
        ("row-number", 1.0),
    ],
)
def test_a_finding_is_as_large_as_its_sentence_says(code: str, size: float) -> None:
    frame = pl.DataFrame(SUSPECTS[code][0])
    found = describe(attlas.read(frame, user="user", item="item"), now=NOW, table=frame).findings
    assert {finding.code: finding.size for finding in found}[code] == pytest.approx(size)


def test_an_item_column_that_is_called_like_a_user_is_told() -> None:
    assert "items-named-as-users" in told({"who": [1, 1, 2, 2], "memberId": [3, 4, 3, 4]}, user="who", item="memberId")


def test_a_user_of_many_who_holds_a_twentieth_of_the_rows_is_told() -> None:
    rows = [(user, item) for user in range(100) for item in range(2)] + [(100, item) for item in range(11)]
    users, items = zip(*rows, strict=True)
    sentence = told({"user": users, "item": items})["heavy-user"]
    assert sentence.startswith("user 100 alone has 5.2 % of the rows")


def test_users_and_items_that_go_one_to_one_connect_nothing() -> None:
    assert "nothing connects them" in told({"user": [1, 2, 1, 2], "item": [7, 8, 7, 8]})["one-to-one"]


def test_a_file_is_described_with_the_columns_that_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,shop\n1,7,x\n1,8,x\n2,7,x\n2,8,x\n")
    found = describe_source(str(tmp_path / "r.csv"))
    assert [finding.code for finding in found.findings] == ["constant-column"]


def test_a_given_split_is_described_as_one(given_files: Path) -> None:
    found = describe_source(str(given_files))
    assert found.parts is not None
    assert (found.parts["test"], sum(found.parts.values()), found.rows, found.pairs) == (4, 16, 16, 16)
    assert (found.users, found.items, found.per_user.max) == (4, 8, 4)


def test_a_given_split_takes_no_names_of_columns(given_files: Path) -> None:
    with pytest.raises(attlas.errors.ConfigError, match="is split already and its columns are known; leave out user"):
        describe_source(given_files, user="u")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(-1e6, 1e6), st.integers(0, 10**15)), min_size=1, max_size=40
    )
)
def test_every_row_is_in_one_bar_and_every_share_is_a_fraction(rows: list) -> None:
    frame = pl.DataFrame(rows, schema=["user", "item", "rating", "time"], orient="row")
    data = attlas.read(frame)
    found = describe(data, now=NOW, table=frame)
    assert found.ratings is not None
    assert found.times is not None
    assert sum(bar.rows for bar in found.ratings) == sum(bar.rows for bar in found.times) == found.pairs == len(data)
    assert len(found.times) <= 12 >= len(found.ratings)
    assert all(0 < share <= 1 for share in (found.filled, found.top_users, *found.top_items.values()))
    assert found.pairs + found.repeats == found.rows
    json.dumps(found.to_dict(), allow_nan=False)
    assert max(map(len, description_lines(found))) <= 80


def test_a_sparse_matrix_is_described_by_its_rows_alone() -> None:
    from scipy import sparse

    found = describe_source(sparse.csr_array(np.array([[1, 0], [1, 1]])))
    assert (found.users, found.items, found.pairs, found.filled) == (2, 2, 3, 0.75)


def test_the_command_prints_one_document(club_files: Path, command: Callable) -> None:
    said = command("data", "describe", club_files / "ratings.csv", "--json")
    assert (said.code, said.err) == (0, "")
    assert said.json.keys() == Description.__dataclass_fields__.keys()
    assert (said.json["users"], said.json["items"], said.json["pairs"]) == (80, 40, 900)


def test_a_terminal_without_blocks_gets_other_bars(club_files: Path, process: Callable, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    said = process("data", "describe", club_files / "ratings.csv")
    assert said.code == 0, said.err
    assert "#####" in said.out


def test_the_sheet_fits_eighty_columns(club_files: Path, command: Callable) -> None:
    said = command("data", "describe", club_files / "ratings.csv")
    assert "rows     900 read, 900 kept" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_the_list_of_sets_fits_eighty_columns(command: Callable) -> None:
    names = [line.split()[0] for line in command("data", "list").out.splitlines() if line.startswith("  ml-")]
    assert names == ["ml-100k", "ml-1m", "ml-latest-small", "ml-20m", "ml-32m", "ml-tag"]
    assert max(map(len, command("data", "list").out.rstrip().splitlines())) <= 80
    assert {one["name"] for one in command("data", "list", "--json").json} >= set(names)


def test_one_set_is_told_in_full(command: Callable) -> None:
    said = command("data", "list", "ml-100k").out
    assert "checksum  sha256:50d2a982" in said
    assert "terms    research only" in said
    assert "no public source is known; put the file into" in command("data", "list", "douban").out
