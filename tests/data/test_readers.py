"""Files, frames and matrices -> Interactions."""

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from attlas.data.columns import best_columns
from attlas.data.interactions import Interactions
from attlas.data.readers import read
from attlas.errors import DataError

DATA = Path(os.environ.get("ATTLAS_DATA", Path(__file__).parents[3] / "shared" / "data"))


def real(file: str) -> Path:
    if not (DATA / file).exists():
        pytest.skip(f"needs {file} in the folder ATTLAS_DATA or ../shared/data")
    return DATA / file


@pytest.fixture
def file(tmp_path):
    """Writes text or bytes to a file and returns its path."""

    def write(content: str | bytes, name: str = "table.csv") -> Path:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return tmp_path / name

    return write


def rows(data: Interactions) -> list[tuple]:
    return data.to_frame().rows()


WALK = [("u17", "i42", 5.0, 881250949), ("u3", "i42", 2.5, 881250950)]


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "::"])
def test_every_usual_separator_is_found_packed_or_not(file, separator, name):
    lines = ["userId,movieId,rating,timestamp", "u17,i42,5,881250949", "u3,i42,2.5,881250950"]
    data = read(file("\n".join(lines).replace(",", separator), name))
    assert rows(data) == WALK
    assert data.origin.columns == {"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"}


def test_windows_line_ends_a_byte_order_mark_blank_lines_and_blanks_beside_cells_change_nothing(file):
    text = b"\xef\xbb\xbfuser, item, rating, time\r\n\r\nu17, i42, 5, 881250949\r\n\r\nu3 , i42, 2.5, 881250950\r\n\r\n"
    assert rows(read(file(text), user="user", item=" item", rating=" rating", time=" time")) == WALK
    assert rows(read(file(text))) == WALK


def test_a_quoted_cell_may_hold_the_separator(file):
    assert rows(read(file('user,item\n"Doe, Jane","x ""1"""\n'))) == [("Doe, Jane", 'x "1"')]


def test_a_lone_quote_between_tabs_is_a_letter(file):
    assert rows(read(file('user\titem\na\t12" single\nb\t"Heroes\n'))) == [("a", '12" single'), ("b", '"Heroes')]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("1::1193::5::978300760", ("1", "1193", 5.0, 978300760)),
        ("196\t242\t3\t881250949", ("196", "242", 3.0, 881250949)),
        ("u17,i42,5", ("u17", "i42", 5.0)),
        ("7,8", ("7", "8")),
        ("7,8,978300760", ("7", "8", 978300760)),
    ],
)
def test_a_first_line_of_numbers_is_data_and_that_is_said(file, line, row):
    data = read(file(line + "\n"))
    assert rows(data) == [row]
    assert "has no header line; its columns were taken as user, item" in data.origin.notes[0]


def test_columns_without_a_header_can_be_swapped_by_name(file):
    assert rows(read(file("7,8,5\n"), user="item", item="user")) == [("8", "7", 5.0)]


@pytest.mark.parametrize(
    ("names", "role", "best"),
    [
        (["userId", "movieId"], "user", ["userId"]),
        (["User-ID", "ISBN", "Book-Rating"], "item", ["ISBN"]),
        (["User-ID", "ISBN", "Book-Rating"], "rating", ["Book-Rating"]),
        (["session_id", "user"], "user", ["user"]),
        (["movie", "movie_id"], "item", ["movie_id"]),
        (["reviewTime", "unixReviewTime"], "time", ["unixReviewTime"]),
        (["user_id:token", "item_id:token"], "item", ["item_id:token"]),
        (["customer_id", "client_id"], "user", ["customer_id", "client_id"]),
        (["colour"], "item", []),
    ],
)
def test_the_most_usual_name_plays_the_role(names, role, best):
    assert best_columns(names, role) == best


def test_two_columns_that_fit_equally_well_must_be_chosen_from(file):
    path = file("customer_id,client_id,sku\na,b,c\n")
    with pytest.raises(DataError, match="'customer_id', 'client_id' fit equally well; choose one with the option user"):
        read(path)
    assert rows(read(path, user="client_id")) == [("b", "c")]


def test_a_table_without_a_user_column_lists_its_columns(file):
    with pytest.raises(
        DataError, match=r"which column is the user\? no name looks like it.*'colour', 'item'.*put a line with the names"
    ):
        read(file("colour,item\nred,1\n"))


def test_a_chosen_column_that_does_not_exist_names_the_nearest(file):
    with pytest.raises(
        DataError, match=r"no column 'raiting' for the rating; did you mean 'rating'\?.*'user', 'item', 'rating'"
    ):
        read(file("user,item,rating\na,b,1\n"), rating="raiting")


def test_one_column_cannot_play_two_roles(file):
    with pytest.raises(DataError, match="chosen for two roles"):
        read(file("user,item\na,b\n"), user="item", item="item")


def test_an_empty_name_leaves_the_rating_out(file):
    assert read(file("user,item,rating\na,b,1\n"), rating="").rating is None


def test_rows_without_an_id_a_rating_or_a_time_are_dropped_and_counted(file):
    lines = [
        "user,item,rating,time",
        ",x,1,5",
        "a,,1,5",
        "a,x,,5",
        "a,x,bad,5",
        "a,x,NaN,5",
        "a,x,1,-5",
        "a,x,1,soon",
        "a,x,1,",
    ]
    good = [f"u{n},x,1,{n}" for n in range(10)]
    data = read(file("\n".join(lines + good)))
    assert len(data) == 10
    assert data.origin.dropped == {
        "missing user id": 1,
        "missing item id": 1,
        "missing rating": 2,
        "the rating is not a number": 1,
        "missing time": 1,
        "negative time": 1,
        "the time is not a number": 1,
    }
    assert data.origin.sentences()[1:3] == ["18 rows read, 10 kept", "1 rows dropped: missing user id"]


def test_a_column_of_which_most_rows_cannot_be_used_is_refused(file):
    with pytest.raises(
        DataError, match="'rating' does not look like the rating: of 3 rows, the rating is not a number in 2 rows"
    ):
        read(file("user,item,rating\na,x,good\nb,x,bad\nc,x,1\n"))
    with pytest.raises(DataError, match="or time='' to read none"):
        read(file("user,item,date\na,x,monday\nb,x,tuesday\n"))


def test_the_last_of_repeated_pairs_is_kept_by_time_and_the_rest_are_counted(file):
    data = read(file("user,item,rating,time\na,x,1,9\na,x,2,5\nb,x,3,1\n"))
    assert rows(data) == [("a", "x", 1.0, 9, 2.0), ("b", "x", 3.0, 1, 1.0)]
    assert data.origin.dropped == {"repeats of the same user and item": 1}


def test_one_row_repeated_is_one_interaction_of_one_user_and_one_item(file):
    data = read(file("user,item\na,x\na,x\na,x\n"))
    assert rows(data) == [("a", "x", 3.0)]
    assert (len(data.users), len(data.items)) == (1, 1)


@pytest.mark.parametrize("odd", ["c,x,", "c,x,soon", "c,x,-5"])
def test_times_are_whole_numbers_whatever_was_left_out(file, odd):
    text = "user,item,time\na,x,1\nb,y,2\nb,x,3\n"
    whole, mixed = read(file(text)), read(file(f"{text}{odd}\n"))
    assert (whole.time.dtype, mixed.time.dtype) == (np.int64, np.int64)
    assert mixed.fingerprint == whole.fingerprint


MOMENT = int(datetime(2020, 1, 31, 12, 30, 15, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (f"{MOMENT}", MOMENT),
        (f"{MOMENT}.7", MOMENT),
        (f"{MOMENT}999", MOMENT),
        (f"{MOMENT}999999", MOMENT),
        (f"{MOMENT}000000000", MOMENT),
        ("2020-01-31 12:30:15", MOMENT),
        ("2020-01-31T12:30:15Z", MOMENT),
        ("2020-01-31T12:30:15.250", MOMENT),
        ("2020-01-31 14:30:15+02:00", MOMENT),
        ("2020-01-31 12:30:15 UTC", MOMENT),
        ("2020/01/31 12:30", MOMENT - 15),
        ("2020-01-31", MOMENT - 45015),
        ("1969-12-31 23:59:59", -1),
    ],
)
def test_times_of_every_usual_kind_become_whole_seconds(file, text, seconds):
    assert read(file(f"user,item,time\na,x,{text}\n")).time.tolist() == [seconds]


def test_a_unit_other_than_seconds_is_said(file):
    notes = read(file(f"user,item,time\na,x,{MOMENT}000\n")).origin.notes
    assert notes == ("times in column 'time' are in milliseconds; they were kept as whole seconds",)


def test_ids_of_files_are_text_and_ids_of_frames_keep_their_type(file):
    assert read(file("user,item\n01,2\n")).users.ids.to_list() == ["01"]
    data = read(pl.DataFrame({"user": [1], "item": ["2"]}))
    assert (data.users.ids.to_list(), data.items.ids.to_list()) == ([1], ["2"])


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "t.csv", "t.csv is empty"),
        ("\n\n", "t.csv", "t.csv is empty"),
        ("user,item\n", "t.csv", "t.csv has no usable row"),
        ("user\na\n", "t.csv", "t.csv has only one column with any of the separators"),
        (bytes(range(256)), "t.csv", "t.csv is no text but binary data"),
        (b"PK\x03\x04rest", "t.zip", "t.zip is no text table but a zip archive"),
        (b'[{"user": 1}]\n', "t.json", r"t.json is one JSON array; expected JSON lines.*pass polars.read_json\(path\)"),
        (b"\x1f\x8b\x08damaged", "t.csv", "t.csv is a gzip file that is cut off or damaged"),
        ("user,item\na,b\nc,d,e\n", "t.csv", "its first line has 2 columns, line 3 has more"),
        ('user,item\n"a,b\nc,d\n', "t.csv", "a quoted cell has no closing quote"),
    ],
)
def test_what_cannot_be_a_table_is_said_in_one_sentence(file, content, name, message):
    with pytest.raises(DataError, match=message):
        read(file(content, name))


def test_a_gzip_file_that_is_cut_off_is_told(file, tmp_path):
    whole = gzip.compress(b"user,item\n" + b"".join(b"%d,%d\n" % (n, n) for n in range(1000)))
    with pytest.raises(DataError, match="cut off or damaged"):
        read(file(whole[: len(whole) // 2]))


def test_a_wrong_separator_is_told(file):
    with pytest.raises(DataError, match=r"only one column with separator ';'.*option separator"):
        read(file("user,item\na,b\n"), separator=";")


def test_a_missing_file_names_one_that_looks_alike(file, tmp_path):
    file("user,item\na,b\n", "ratings.csv")
    with pytest.raises(DataError, match=r"did you mean 'ratings.csv'\?"):
        read(tmp_path / "rating.csv")
    with pytest.raises(DataError, match="is not there either"):
        read(tmp_path / "nowhere" / "rating.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read("x" * 5000)


def test_a_folder_is_told_from_a_folder_with_a_split(file, tmp_path):
    file("user,item\na,b\n", "ratings.csv")
    with pytest.raises(DataError, match=r"is a folder; expected a file; it holds ratings\.csv"):
        read(tmp_path)
    file("0\t1\n", "tiny.train.rating.gz")
    with pytest.raises(DataError, match="is a folder with a split of its own; read it with read_split, or say --data"):
        read(str(tmp_path))


def test_text_that_is_not_utf_8_is_read_as_latin_1_and_that_is_said(file):
    data = read(file("user,item\na,Amélie\n".encode("latin-1")))
    assert data.items.ids.to_list() == ["Amélie"]
    assert data.origin.notes == ("table.csv is not UTF-8; it was read as Latin-1",)


def test_movielens_100k_has_its_published_counts_and_titles():
    data = read(real("ml-100k/u.data.gz"), items=real("ml-100k/u.item.gz"))
    assert (len(data), len(data.users), len(data.items)) == (100_000, 943, 1_682)
    assert np.bincount(data.rating.astype(int)).tolist() == [0, 6_110, 11_370, 27_145, 34_174, 21_201]
    assert data.items.titles_of(data.items.index_of([1, 242])) == ["Toy Story (1995)", "Kolya (1996)"]
    assert data.items.columns["title"].null_count() == 0


def test_movielens_latest_small_has_its_published_counts_and_titles():
    data = read(real("ml-latest-small/ratings.csv.gz"), items=real("ml-latest-small/movies.csv.gz"))
    assert (len(data), len(data.users), len(data.items)) == (100_836, 610, 9_724)
    assert (data.rating.min(), data.rating.max()) == (0.5, 5.0)
    assert data.items.titles_of([0]) == ["Toy Story (1995)"]


def test_movielens_1m_has_its_published_counts_and_titles():
    data = read(real("ml-1m/ratings.csv.gz"), items=real("ml-1m/movies.dat.gz"))
    assert (len(data), len(data.users), len(data.items)) == (1_000_209, 6_040, 3_706)
    assert np.bincount(data.rating.astype(int)).tolist() == [0, 56_174, 107_557, 261_197, 348_971, 226_310]
    assert data.items.titles_of([0]) == ["One Flew Over the Cuckoo's Nest (1975)"]


def test_lastfm_2k_has_its_published_counts_and_artist_names():
    data = read(real("lastfm-2k/user_artists.dat.gz"), items=real("lastfm-2k/artists.dat.gz"))
    assert (len(data), len(data.users), len(data.items)) == (92_834, 1_892, 17_632)
    assert data.items.titles_of(data.items.index_of(["1"])) == ["MALICE MIZER"]
