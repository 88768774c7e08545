"""Every kind of file gives the same interactions; sources with types keep ids apart that are not the same."""

import gzip
import io
import json
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest

from attlas.data.readers import read
from attlas.errors import DataError

TABLE = pl.DataFrame(
    {"user": ["ann", "bob", "ann"], "item": [7, 7, 9], "rating": [4.0, 2.5, 1.0], "time": [10, 20, 30], "note": ["x", "y", "z"]}
)
ROWS = [("ann", 7, 4.0, 10), ("bob", 7, 2.5, 20), ("ann", 9, 1.0, 30)]
SPELLED = [(user, str(item), rating, time) for user, item, rating, time in ROWS]
RECBOLE = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(
    "\t".join(map(str, row)) + "\n" for row in ROWS
)


def base_of(path, **tables):
    """A SQLite file with the given frames as tables."""
    base = sqlite3.connect(path)
    for name, frame in tables.items():
        base.execute(f"CREATE TABLE [{name}] ({', '.join(f'[{column}]' for column in frame.columns)})")
        base.executemany(f"INSERT INTO [{name}] VALUES ({', '.join('?' * frame.width)})", frame.rows())
    base.commit()
    base.close()
    return path


def packed(frame, way):
    whole = io.BytesIO()
    getattr(frame, way)(whole)
    return whole.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("t.parquet", packed(TABLE, "write_parquet"), ROWS),
        ("parquet-without-its-ending", packed(TABLE, "write_parquet"), ROWS),
        ("t.parquet.gz", gzip.compress(packed(TABLE, "write_parquet"), mtime=0), ROWS),
        ("t.jsonl", packed(TABLE, "write_ndjson"), ROWS),
        ("t.ndjson.gz", gzip.compress(packed(TABLE, "write_ndjson"), mtime=0), ROWS),
        ("t.json", b"\xef\xbb\xbf" + packed(TABLE, "write_ndjson").replace(b"\n", b"\r\n\r\n"), ROWS),
        ("t.csv", packed(TABLE, "write_csv"), SPELLED),
        ("t.parquet-in-name-only.csv", packed(TABLE, "write_csv"), SPELLED),
        ("t.inter", RECBOLE.encode(), SPELLED),
        ("t.inter.gz", gzip.compress(RECBOLE.encode(), mtime=0), SPELLED),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name, content, rows):
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path / name).to_frame().rows() == rows


def test_a_table_of_a_sqlite_file_is_read_and_which_one_can_be_said(tmp_path):
    path = base_of(tmp_path / "shop.db", orders=TABLE, items=pl.DataFrame({"item": [7, 9], "title": ["tea", "pot"]}))
    data = read(path, items=f"{path}::items")
    assert data.to_frame().rows() == ROWS
    assert data.items.titles_of([0, 1]) == ["tea", "pot"]
    assert read(f"{path}::orders").to_frame().rows() == ROWS
    with pytest.raises(DataError, match=r"no table 'order'; did you mean 'orders'\?"):
        read(f"{path}::order")
    base_of(path, views=TABLE)
    with pytest.raises(
        DataError, match=r"tables 'items', 'orders', 'views'; 2 of them have a user.*say which one: shop.db::TABLE"
    ):
        read(path)


def test_reading_a_sqlite_file_changes_nothing_and_runs_no_sql_of_its_own(tmp_path):
    path = base_of(tmp_path / "shop.db", orders=TABLE)
    base = sqlite3.connect(path)
    base.execute("CREATE VIEW trap AS SELECT [user], [item], randomblob(1000000000) FROM orders")
    base.commit()
    base.close()
    before = path.read_bytes()
    path.chmod(0o444)
    assert len(read(path)) == 3
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["shop.db"]
    with pytest.raises(DataError, match="no table 'trap'"):
        read(f"{path}::trap")


def test_of_parquet_and_sqlite_only_the_columns_in_use_are_read(tmp_path):
    wide = TABLE.with_columns(junk=pl.lit(None, dtype=pl.Binary))
    wide.write_parquet(tmp_path / "t.parquet")
    path = base_of(tmp_path / "t.db", orders=TABLE.with_columns(junk=pl.lit(b"\xff")))
    assert read(tmp_path / "t.parquet").to_frame().rows() == ROWS
    assert read(path).to_frame().rows() == ROWS
    with pytest.raises(DataError, match="column 'junk' holds binary data; expected text or numbers"):
        read(path, user="junk")


def test_a_user_and_all_its_items_on_a_line_are_read_as_lightgcn_writes_them(tmp_path):
    (tmp_path / "train.txt").write_text("0 5 7 9\n1 5\n2\n\n3 9 7\n")
    data = read(tmp_path / "train.txt")
    assert data.to_frame().rows() == [("0", "5"), ("0", "7"), ("0", "9"), ("1", "5"), ("3", "9"), ("3", "7")]
    assert data.origin.notes == ("train.txt was read as a user and all its items on a line",)
    (tmp_path / "four.txt").write_text("1 5 3 881250949\n2 5 4 881250950\n")
    with pytest.raises(DataError, match=r"only one column.*option separator"):
        read(tmp_path / "four.txt")
    assert len(read(tmp_path / "four.txt", separator=" ").time) == 2


def test_recbole_s_atomic_files_lose_the_types_in_their_names_and_bring_facts(tmp_path):
    (tmp_path / "t.inter").write_text(RECBOLE)
    (tmp_path / "t.item").write_text("item_id:token\tmovie_title:token_seq\n7\tTea for Two\n9\tPot\n")
    (tmp_path / "t.user").write_text("user_id:token\tage:float\nbob\t40\nann\t30\n")
    data = read(
        tmp_path / "t.inter", items=tmp_path / "t.item", users=tmp_path / "t.user", user="user_id", item="item_id:token"
    )
    assert data.origin.columns == {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
    assert data.items.titles_of([0, 1]) == ["Tea for Two", "Pot"]
    assert data.users.columns.to_dicts() == [{"age": "30"}, {"age": "40"}]


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("7|24|M|technician|85711", {"age": "24", "gender": "M", "occupation": "technician", "zip_code": "85711"}),
        ("7::F::1::10::48067", {"age": "1", "gender": "F", "occupation": "10", "zip_code": "48067"}),
        ("7,x,y", {"column_2": "x", "column_3": "y"}),
    ],
)
def test_facts_about_users_are_known_without_a_header_too(tmp_path, line, facts):
    (tmp_path / "users.dat").write_text(line + "\n")
    data = read(pl.DataFrame({"user": [7, 8], "item": [1, 1]}), users=tmp_path / "users.dat")
    assert data.users.columns.row(0, named=True) == facts
    assert data.users.columns.row(1, named=True) == dict.fromkeys(facts)
    assert "facts about 1 of 2 users" in data.origin.notes[-1]


def test_users_with_facts_need_an_id_that_is_known(tmp_path):
    with pytest.raises(DataError, match="no column of polars frame shares an id with the 1 users, such as 'ann'"):
        read(TABLE.head(1), users=pl.DataFrame({"user": ["eve"], "age": [3]}))


MIXED = [(0, 1), ("0", 2), ("a", 1)]


def test_zero_and_the_text_zero_in_one_column_are_refused(tmp_path):
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"user": user, "item": item}) + "\n" for user, item in MIXED))
    base = sqlite3.connect(tmp_path / "t.db")
    base.execute("CREATE TABLE t (user, item)")
    base.executemany("INSERT INTO t VALUES (?, ?)", MIXED)
    base.commit()
    base.close()
    for source in (pd.DataFrame(MIXED, columns=["user", "item"]), tmp_path / "t.jsonl", tmp_path / "t.db"):
        with pytest.raises(
            DataError, match="column 'user' holds both text and numbers, so that user 0 and user '0' would be one"
        ):
            read(source)


def test_text_that_only_looks_like_a_mixed_column_is_not_refused(tmp_path):
    lines = [{"user": "a", "item": '"user": 3', "deep": {"user": 3}}, {"user": "0", "item": "y", "deep": {"user": 4}}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read(tmp_path / "t.jsonl").users.ids.to_list() == ["a", "0"]


USERS = ["0", "", None, "NA", " 0 ", "nan", "00"]


@pytest.mark.parametrize("kind", ["polars", "pandas", "parquet", "jsonl", "sqlite"])
def test_in_sources_with_types_missing_empty_and_na_are_three_things(tmp_path, kind):
    frame = pl.DataFrame({"user": USERS, "item": [1, 2, 3, 4, 5, 6, 7]})
    if kind == "parquet":
        frame.write_parquet(tmp_path / "t")
    elif kind == "jsonl":
        frame.write_ndjson(tmp_path / "t")
    elif kind == "sqlite":
        base_of(tmp_path / "t", t=frame)
    source = {"polars": frame, "pandas": pd.DataFrame(frame.to_dict(as_series=False), dtype=object)}.get(kind, tmp_path / "t")
    data = read(source)
    assert data.users.ids.to_list() == ["0", "NA", "nan", "00"]
    assert data.origin.dropped == {"missing user id": 1, "empty user id": 1}


def test_in_text_an_empty_cell_and_na_are_missing_alike(tmp_path):
    pl.DataFrame({"user": [*USERS, "b"], "item": range(8)}).write_csv(tmp_path / "t.csv")
    data = read(tmp_path / "t.csv")
    assert data.users.ids.to_list() == ["0", "00", "b"]
    assert data.origin.dropped == {"missing user id": 4}


@pytest.mark.parametrize("numbers", [[5, -3, 5, 9], [2**62, -(2**62), 2**62, 0], [10**15, 1, 10**15, 2]])
def test_whole_numbers_of_any_size_are_ids_in_the_order_of_first_appearance(numbers):
    data = read(pl.DataFrame({"user": numbers, "item": [1, 2, 3, 4]}))
    assert data.users.ids.to_list() == [numbers[0], numbers[1], numbers[3]]
    assert data.user.tolist() == [0, 1, 0, 2]
    none = read(pl.DataFrame({"user": [*numbers, None], "item": [1, 2, 3, 4, 5]}))
    assert (none.user.tolist(), none.origin.dropped) == ([0, 1, 0, 2], {"missing user id": 1})


def test_hashes_of_64_bits_without_a_sign_are_ids_too():
    hashes = pl.Series([2**64 - 1, 7, 2**63], dtype=pl.UInt64)
    data = read(pl.DataFrame({"user": hashes, "item": [1, 2, 3]}))
    assert data.users.ids.to_list() == [str(2**64 - 1), "7", str(2**63)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n"])
def test_line_ends_and_blank_lines_change_nothing_wherever_the_pieces_are_cut(tmp_path, monkeypatch, start, end):
    (tmp_path / "t.csv").write_bytes(start + end.join([b"user,item", b"a,x", "é,y".encode(), b"a,z", b""]))
    for size in (1, 2, 3, 7, 1 << 20):
        monkeypatch.setattr("attlas.data.text.CHUNK", size)
        data = read(tmp_path / "t.csv")
        assert data.to_frame().rows() == [("a", "x"), ("é", "y"), ("a", "z")]
        assert data.origin.rows == 3
        assert data.origin.notes == ()


def test_a_line_with_too_many_cells_is_noticed_where_its_column_is_not_in_use(tmp_path):
    (tmp_path / "t.csv").write_text("user,item,title\na,x,one\nb,y,two, with a comma\n")
    with pytest.raises(DataError, match="its first line has 3 columns, line 3 has more"):
        read(tmp_path / "t.csv")


def test_a_path_with_signs_of_a_pattern_is_one_path(tmp_path):
    for name in ("t[1].csv", "t*.parquet"):
        (tmp_path / name).write_bytes(packed(TABLE, "write_csv" if name.endswith("csv") else "write_parquet"))
        assert len(read(tmp_path / name)) == 3


def test_a_pipe_is_read_once():
    code = "import sys, attlas; print(len(attlas.read('/dev/stdin')))"
    run = subprocess.run([sys.executable, "-c", code], input=RECBOLE, capture_output=True, text=True, check=True)
    assert run.stdout == "3\n"


def test_a_frame_with_an_object_column_of_text_is_read():
    frame = pd.DataFrame({"user": ["a", np.nan, None, "b"], "item": ["x", "y", "z", "x"]})
    assert read(frame).origin.dropped == {"missing user id": 2}
