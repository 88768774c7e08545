"""Two hundred inputs that are not as they should be: each ends in one error of ours that helps, or in the right rows."""

import gzip
import io
import json
import os
import random
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attlas.data.interactions import Interactions
from attlas.data.readers import read
from attlas.errors import AttlasError

HEAD = b"user,item,rating,time\n"
GOOD = HEAD + b"a,x,1,10\nb,y,2,20\nc,x,3,30\n"
ROWS = [("a", "x", 1.0, 10), ("b", "y", 2.0, 20), ("c", "x", 3.0, 30)]
FRAME = pl.DataFrame(ROWS, schema=["user", "item", "rating", "time"], orient="row")


def packed(way: str, frame: pl.DataFrame = FRAME) -> bytes:
    whole = io.BytesIO()
    getattr(frame, way)(whole)
    return whole.getvalue()


def zipped() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("t.csv", GOOD)
    return whole.getvalue()


def base(*statements: str) -> bytes:
    held = sqlite3.connect(":memory:")
    for statement in statements:
        held.execute(statement)
    held.commit()
    return held.serialize()


ORDERS = ("CREATE TABLE t (user, item)", "INSERT INTO t VALUES ('a', 'x'), ('b', 'y')")
PLAIN = ("CREATE TABLE t (user, item, rating, time)", "INSERT INTO t VALUES ('a','x',1,10),('b','y',2,20),('c','x',3,30)")
BLANK = pl.DataFrame({"user": ["a", "b"], "item": [["x"], ["y"]]})

# What a file holds, and either what the error says or the rows that are read. A third part gives options.
TEXT = {
    "an empty file": (b"", "is empty; expected a table with a user and an item"),
    "line ends only": (b"\n\r\n\n", "is empty"),
    "blanks only": (b"   \n  \n", "is empty"),
    "a byte order mark only": (b"\xef\xbb\xbf", "is empty"),
    "a header only": (HEAD, "has no usable row"),
    "a header without a line end": (HEAD.strip(), "has no usable row"),
    "one word": (b"hello", "has only one column with any of the separators"),
    "one column": (b"user\na\nb\n", "has only one column"),
    "prose": (b"Dear all,\nplease find the table attached.\n", "which column is the user|only one column"),
    "no user column": (b"item,rating\nx,1\n", r"which column is the user\?"),
    "no item column": (b"user,rating\na,1\n", r"which column is the item\?"),
    "unknown names": (b"foo,bar\na,x\n", r"which column is the user\?.*'foo', 'bar'"),
    "two user columns": (b"customer_id,client_id,item\na,b,x\n", "fit equally well"),
    "a column twice": (b"user,user,item\na,b,x\n", "column names of t.csv repeat: 'user'"),
    "the rating twice": (b"user,item,rating,rating\na,x,1,2\n", "column names of t.csv repeat: 'rating'"),
    "columns without names": (b"user,item,,\na,x,,\n", [("a", "x")]),
    "an index column without a name": (b",user,item\n0,a,x\n1,b,y\n", [("a", "x"), ("b", "y")]),
    "a line too long": (GOOD + b"d,x,4,40,50\n", "its first line has 4 columns, line 5 has more"),
    "a line too short": (GOOD + b"d,x\n", [*ROWS]),
    "a line of separators": (GOOD + b",,,\n", [*ROWS]),
    "separators at the ends of lines": (b"user,item,\na,x,\nb,y,\n", [("a", "x"), ("b", "y")]),
    "a separator at the end of a row": (b"user,item\na,x,\n", "line 2 has more"),
    "an unclosed quote at the end": (b'user,item\na,x\nb,"y\n', "a quoted cell has no closing quote"),
    "an unclosed quote at the start": (b'user,item\n"a,x\nb,y\n', "a quoted cell has no closing quote"),
    "a quote inside a cell": (b'user,item\na,5" disk\n', "a quoted cell has no closing quote"),
    "quotes in quotes": (b'user,item\na,"5"" disk"\n', [("a", '5" disk')]),
    "a line end in quotes": (b'user,item\n"a\nb",x\n', [("a\nb", "x")]),
    "a separator in quotes": (b'user,item\n"a,b",x\n', [("a,b", "x")]),
    "the wrong separator": (b"user;item\na;x\n", "only one column with separator '!'", {"separator": "!"}),
    "a separator of two letters": (b"user##item\na##x\n", [("a", "x")], {"separator": "##"}),
    "a separator that is no letter of ASCII": ("user→item\na→x\n".encode(), [("a", "x")], {"separator": "→"}),
    "a line end as separator": (GOOD, "only one column", {"separator": "\n"}),
    "blanks between columns": (b"user item\na x\n", "only one column"),
    "mixed separators": (b"user,item\na;x\nb;y\nc;z\n", "only one column"),
    "mixed line ends": (GOOD.replace(b"\n", b"\r\n", 2), ROWS),
    "old line ends": (GOOD.replace(b"\n", b"\r"), ROWS),
    "all three line ends": (HEAD + b"a,x,1,10\r\nb,y,2,20\rc,x,3,30\n", ROWS),
    "no last line end": (GOOD.rstrip(), ROWS),
    "a return before the end": (GOOD.rstrip() + b"\r", ROWS),
    "blank lines": (GOOD.replace(b"\n", b"\n\n\n"), ROWS),
    "Latin-1": (b"user,item\ncaf\xe9,x\n", [("café", "x")]),
    "Latin-1 far down": (b"user,item\n" + b"a,x\n" * 40_000 + b"\xe9,x\n", [("a", "x", 40_000.0), ("é", "x", 1.0)]),
    "UTF-16 of Windows": (GOOD.decode().encode("utf-16"), ROWS),
    "UTF-16 the other way": (b"\xfe\xff" + GOOD.decode().encode("utf-16-be"), ROWS),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), "no text but binary data"),
    "UTF-16 that is cut off": (GOOD.decode().encode("utf-16")[:-1], ROWS[:2]),
    "UTF-32": (GOOD.decode().encode("utf-32"), "no text but binary data|only one column"),
    "UTF-8 that is cut off": ("user,item\na,é".encode()[:-1], [("a", "Ã")]),
    "zero bytes": (GOOD + b"\0" * 50, "no text but binary data"),
    "every byte": (bytes(range(256)), "no text but binary data"),
    "noise": (random.Random(1).randbytes(3000), "no text but binary data"),
    "control letters": (b"user,item\n" + b"\x01\x02,\x03\n" * 9, "no text but binary data"),
    "missing users": (HEAD + b",x,1,1\n,y,1,1\na,x,1,1\n", "missing user id in 2 rows"),
    "one missing user": (GOOD + b",x,1,1\n", ROWS),
    "blank ids": (GOOD + b"   ,x,1,1\n", ROWS),
    "null ids": (GOOD + b"NULL,x,1,1\n", ROWS),
    "no usable id": (b"user,item\n,\n,\n", "missing user id in 2 rows|no usable row"),
    "NaN ratings": (HEAD + b"a,x,nan,1\nb,x,NaN,1\nc,x,1,1\n", "missing rating in 2 rows"),
    "one NaN rating": (GOOD + b"d,x,NaN,1\n", ROWS),
    "infinite ratings": (HEAD + b"a,x,inf,1\nb,x,-inf,1\nc,x,1,1\n", "the rating is not a number in 2 rows"),
    "one infinite rating": (GOOD + b"d,x,inf,1\n", ROWS),
    "a rating beyond float32": (GOOD + b"d,x,1e300,1\n", ROWS),
    "words as ratings": (HEAD + b"a,x,good,1\nb,x,bad,1\n", "does not look like the rating.*or rating='' to read none"),
    "commas in decimals": (b"user;item;rating\na;x;1,5\nb;y;2,5\n", "the rating is not a number in 2 rows"),
    "empty ratings": (HEAD + b"a,x,,1\nb,y,,2\n", "missing rating in 2 rows"),
    "a negative time": (GOOD + b"d,x,1,-5\n", ROWS),
    "negative times": (HEAD + b"a,x,1,-5\nb,x,1,-6\n", "negative time in 2 rows"),
    "an infinite time": (GOOD + b"d,x,1,inf\n", ROWS),
    "a huge time": (GOOD + b"d,x,1,1e300\n", ROWS),
    "words as times": (HEAD + b"a,x,1,monday\nb,x,1,friday\n", "the time is not understood in 2 rows"),
    "the 31st of February": (b"user,item,date\na,x,2020-02-31\nb,x,2020-02-30\n", "the time is not understood in 2 rows"),
    "days before years": (b"user,item,date\na,x,31.12.2020\nb,x,30.12.2020\n", "the time is not understood"),
    "huge whole ids": (b"user,item\n%d,1\n" % 10**40, [(str(10**40), "1")]),
    "ids with signs": (b"user,item\n-1,+1\n", [("-1", "+1")]),
    "leading zeros": (b"user,item\n007,1\n7,1\n", [("007", "1"), ("7", "1")]),
    "one user": (b"user,item\na,x\na,y\n", [("a", "x"), ("a", "y")]),
    "one item": (b"user,item\na,x\nb,x\n", [("a", "x"), ("b", "x")]),
    "one row": (b"user,item\na,x\n", [("a", "x")]),
    "only duplicates": (b"user,item\n" + b"a,x\n" * 99, [("a", "x", 99.0)]),
    "a header twice": (GOOD + HEAD, ROWS),
    "a line of ten megabytes": (b"user,item\n" + b"a" * 10_000_000 + b",x\n", [("a" * 10_000_000, "x")]),
    "a header of ten megabytes": (b"user,item," + b"c" * 10_000_000 + b"\na,x,1\n", [("a", "x")]),
    "one line of ten megabytes": (b"a" * 10_000_000, "only one column"),
    "five thousand columns": (
        ",".join(["user", "item", *map(str, range(5000))]).encode() + b"\na,x" + b",1" * 5000 + b"\n",
        [("a", "x")],
    ),
    "five thousand numbers without a header": (b",".join([b"1"] * 5000), "column names of t.csv repeat"),
    "five columns without a header": (b"1,2,3,4,5\n6,7,8,9,10\n", "which column is the user"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page or XML"),
    "HTML after blanks": (b"\n  <html></html>", "only one column|a web page"),
    "XML": (b"<?xml version='1.0'?><a/>", "a web page or XML"),
    "a zip archive": (zipped(), "a zip archive or an Excel sheet"),
    "an old Excel sheet": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old Excel sheet"),
    "PDF": (b"%PDF-1.7\n", "a PDF document"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "a picture"),
    "bzip2": (b"BZh91AY", "packed with bzip2"),
    "xz": (b"\xfd7zXZ\0", "packed with xz"),
    "zstd": (b"\x28\xb5\x2f\xfd\0", "packed with zstd"),
    "HDF5": (b"\x89HDF\r\n", "an HDF5 file"),
    "Arrow": (b"ARROW1\0\0", "an Arrow or Feather file"),
    "a numpy array": (b"\x93NUMPY\x01\0v\0", "no text but binary data"),
    "a pickle": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0", "no text but binary data"),
    "a JSON array": (b'[{"user": 1, "item": 2}]', "is one JSON array; expected JSON lines"),
    "a JSON array over lines": (b'[\n  {"user": 1, "item": 2}\n]', "is one JSON array"),
    "a JSON array of arrays": (b"[[1, 2], [3, 4]]", "is one JSON array"),
    "one JSON object over lines": (b'{\n "user": 1,\n "item": 2\n}', "line 1 is no whole JSON"),
    "JSON of columns": (b'{"user": [1, 2], "item": [3, 4]}\n', "column 'user' is of type List"),
    "nested JSON": (b'{"user": {"id": 1}, "item": 2}\n', "column 'user' is of type Struct"),
    "JSON lines that are cut off": (b'{"user": 1, "item": 2}\n{"user": 3, "it', "line 2 is no whole JSON"),
    "JSON lines with a number": (b'{"user": 1, "item": 2}\n7\n', "line 2 is no object"),
    "JSON lines with an array": (b'{"user": 1, "item": 2}\n[1]\n', "line 2 is no object"),
    "JSON lines with a comma after": (b'{"user": 1, "item": 2},\n{"user": 3, "item": 4}\n', "line 1 is no whole JSON"),
    "JSON lines with blank lines": (b'{"user": 1, "item": 2}\n\n{"user": 3, "item": 4}\n\n', [(1, 2), (3, 4)]),
    "JSON lines without an item": (b'{"user": 1}\n', r"which column is the item\?"),
    "JSON lines with a late column": (b'{"user": 1}\n{"user": 1, "item": 2}\n{"item": 3, "user": 1}\n', [(1, 2), (1, 3)]),
    "JSON lines with true ids": (b'{"user": true, "item": 2}\n', "column 'user' is of type Boolean"),
    "JSON lines with fractions": (b'{"user": 1.5, "item": 2}\n', "numbers with fractions"),
    "JSON lines with whole floats": (b'{"user": 1.0, "item": 2}\n', [(1, 2)]),
    "JSON lines with an empty id": (b'{"user": "a", "item": 2}\n{"user": "", "item": 3}\n', [("a", 2)]),
    "JSON lines with null ids": (b'{"user": null, "item": 2}\n', "missing user id in 1 rows"),
    "JSON lines with mixed ids": (b'{"user": 0, "item": 2}\n{"user": "0", "item": 2}\n', "holds both text and numbers"),
    "JSON lines with huge ids": (b'{"user": %d, "item": 2}\n' % 10**25, [(str(10**25), 2)]),
    "JSON lines with ids beyond all": (b'{"user": %d, "item": 2}\n' % 10**60, "fractions|type|JSON|not"),
    "JSON lines with lone surrogates": (b'{"user": "\\ud800", "item": 2}\n', "holds half of a letter, which is no text"),
    "JSON lines with whole surrogates": (b'{"user": "\\ud83d\\ude00", "item": 2}\n', [("😀", 2)]),
    "JSON that is not UTF-8": (b'{"user": "\xe9", "item": 2}\n', "begins like JSON lines"),
    "deep JSON": (b'{"user": ' + b"[" * 100_000, "begins like JSON lines"),
    "an empty object": (b"{}\n", r"which column is the user\?|begins like JSON lines"),
    "a brace": (b"{", "begins like JSON lines"),
    "a brace in CSV": (b"{user},{item}\na,x\n", "begins like JSON lines"),
    "Parquet with lists": (packed("write_parquet", BLANK), "column 'item' is of type List"),
    "Parquet without rows": (packed("write_parquet", FRAME.clear()), "has no usable row"),
    "Parquet without an item": (packed("write_parquet", FRAME.drop("item")), r"which column is the item\?"),
    "Parquet that is only its name": (b"PAR1", "is a Parquet file that is cut off or damaged"),
    "SQLite without tables": (base("CREATE TABLE t (a)", "DROP TABLE t"), "has the tables none"),
    "SQLite with an empty table": (base(ORDERS[0]), "has no usable row"),
    "SQLite with other columns": (base("CREATE TABLE t (a, b)"), r"which column is the user\?"),
    "SQLite with two fitting tables": (base(*ORDERS, "CREATE TABLE s (user, item)"), "say which one: t.csv::TABLE"),
    "SQLite with one fitting table": (base(*ORDERS, "CREATE TABLE s (a, b)"), [("a", "x"), ("b", "y")]),
    "SQLite with a view only": (base("CREATE VIEW v AS SELECT 1 AS user, 2 AS item"), "has the tables none"),
    "SQLite with a blob": (base(ORDERS[0], "INSERT INTO t VALUES (x'ff', 'x')"), "column 'user' holds binary data"),
    "SQLite with mixed ids": (base(*ORDERS, "INSERT INTO t VALUES (7, 'x')"), "holds both text and numbers"),
    "SQLite with odd names": (
        base('CREATE TABLE [t ; DROP] ([user], [item "id"], [it\'em])', "INSERT INTO [t ; DROP] VALUES (1, 2, 3)"),
        [(1, 2)],
        {"item": 'item "id"'},
    ),
    "SQLite with a name that is no text": (
        base(*ORDERS).replace(b"(user", b"(\xd0ser"),
        "is a SQLite file that cannot be read",
    ),
    "SQLite that is only its name": (b"SQLite format 3\0", "is a SQLite file that is cut off"),
    "gzip that is only its name": (b"\x1f\x8b", "gzip file that is cut off or damaged"),
    "gzip of nothing": (gzip.compress(b""), "is empty"),
    "gzip of gzip": (gzip.compress(gzip.compress(GOOD)), "no text but binary data"),
    "gzip of two parts": (gzip.compress(GOOD[:30]) + gzip.compress(GOOD[30:]), ROWS),
    "gzip of a zip archive": (gzip.compress(zipped()), "a zip archive"),
    "gzip of SQLite": (gzip.compress(base(*ORDERS)), "binary data"),
    "gzip of noise": (gzip.compress(random.Random(2).randbytes(999)), "binary data"),
    "gzip with noise after it": (gzip.compress(GOOD) + b"noise", "gzip file that is cut off or damaged"),
    "RecBole without rows": (b"user_id:token\titem_id:token\n", "has no usable row"),
    "RecBole with one type unknown": (b"user_id:token\titem_id:text\na\tx\n", [("a", "x")]),
    "RecBole with nothing before the type": (b":token\titem_id:token\na\tx\n", r"which column is the user\?"),
    "adjacency without items": (b"1\n2\n3\n", "only one column"),
    "adjacency with words": (b"1 2 3\n2 3 x\n", "only one column"),
    "adjacency of one user": (b"1 2\n", [("1", "2")]),
    "adjacency with repeats": (b"1 2 2 3\n2 3\n", [("1", "2", 2.0), ("1", "3", 1.0), ("2", "3", 1.0)]),
    "a condition on nothing": (GOOD, "no column 'stars' for positive", {"positive": "stars>3"}),
    "a condition that is none": (GOOD, "is not understood", {"positive": "rating"}),
    "a condition that nobody meets": (GOOD, "none of 3 rows meets", {"positive": "rating>9"}),
    "a sum of words": (GOOD, "the user is not a number in 3 rows", {"repeat": "sum:user"}),
    "a sum of nothing": (GOOD, "no column 'price' for repeat", {"repeat": "sum:price"}),
    "a core that is empty": (GOOD, "expected smaller min_user or min_item", {"min_user": 50}),
    "a moment after all": (
        GOOD,
        "all usable rows are left out, the last of them by 'before 2099-01-01'",
        {"since": "2099-01-01"},
    ),
    "a moment without times": (GOOD, "has no time column", {"since": "2020-01-01", "time": ""}),
    "returns only": (b"user,item,quantity\na,x,-1\n", "everything that was bought was returned", {"returns": "cancel"}),
    "returns without a word": (b"user,item,quantity\na,x,-1\nb,x,2\n", "say what they mean with the option returns"),
    "one column for two roles": (GOOD, "one column was chosen for two roles", {"user": "item", "item": "item"}),
}
FRAMES = {
    "no columns": (pl.DataFrame(), r"which column is the user\?"),
    "no rows": (FRAME.clear(), "has no usable row"),
    "dates as ids": (FRAME.with_columns(user=pl.date(2020, 1, 1)), "column 'user' is of type Date"),
    "objects as ids": (FRAME.with_columns(user=pl.Series([object()] * 3, dtype=pl.Object)), "column 'user' is of type Object"),
    "fractions as ids": (FRAME.with_columns(user=0.5), "numbers with fractions"),
    "NaN as ids": (FRAME.with_columns(user=pl.lit(float("nan"))), "missing user id in 3 rows|fractions"),
    "lists as ratings": (FRAME.with_columns(rating=pl.concat_list("time")), "column 'rating' is of type List"),
    "a duration as time": (FRAME.with_columns(time=pl.duration(days=1)), "column 'time' is of type Duration.*expected dates"),
    "a time of day": (FRAME.with_columns(time=pl.time(1)), "column 'time' is of type Time; expected dates"),
    "true as rating": (FRAME.with_columns(rating=True), [("a", "x", 1.0, 10), ("b", "y", 1.0, 20), ("c", "x", 1.0, 30)]),
    "decimals as ratings": (FRAME.with_columns(pl.col("rating").cast(pl.Decimal(9, 2))), ROWS),
    "pandas with a name twice": (
        pd.DataFrame([[1, 2, 3]], columns=["user", "user", "item"]),
        "column names of the pandas frame",
    ),
    "pandas with 1 and '1'": (pd.DataFrame({"user": [1, "1"], "item": [1, 1]}), "holds both text and numbers"),
    "pandas with objects": (pd.DataFrame({"user": [(1,), (2,)], "item": [1, 1]}), "column 'user' is of type"),
    "pandas with missing whole numbers": (pd.DataFrame({"user": [1.0, 2.0, np.nan], "item": [1, 2, 3]}), [(1, 1), (2, 2)]),
    "pandas with numbers as names": (pd.DataFrame([[1, 2]]), r"which column is the user\?.*'0', '1'"),
    "a lazy frame of no file": (pl.scan_csv("nowhere.csv"), "polars frame cannot be collected; expected a plan"),
    "a lazy frame that fails late": (
        FRAME.lazy().with_columns(pl.col("user").cast(pl.Int64)),
        "polars frame cannot be collected",
    ),
    "a list": ([[1, 2]], "cannot read a list; expected a path"),
    "a dictionary": ({"user": [1]}, "cannot read a dict"),
    "nothing": (None, "cannot read a NoneType"),
    "a number": (7, "cannot read a int"),
    "bytes": (b"user,item\na,x\n", "cannot read a bytes"),
    "an array": (np.ones((2, 2)), "cannot read a ndarray"),
    "an empty path": ("", "is a folder"),
    "a path with a zero byte": ("a\0b", "cannot be read|there is no file"),
    "a path that is too long": ("x" * 5000, "cannot be read"),
    "a table in no file": ("nowhere.db::t", "there is no file nowhere.db"),
    "a file that cannot be read": (
        "/proc/self/mem",
        "cannot be read: Input/output error; expected the path of a readable file",
    ),
    "a file in a file": (__file__ + "/t.csv", "cannot be read"),
}
WHOLE = {
    "t.csv.gz": gzip.compress(GOOD * 1 + b"".join(b"u%d,i%d,1,1\n" % (n, n) for n in range(300))),
    "t.parquet": packed("write_parquet"),
    "t.db": base(*PLAIN),
}
CUTS = {f"{name} cut at {n}/12": (name, whole[: len(whole) * n // 12]) for name, whole in WHOLE.items() for n in range(1, 12)}
CUT = {
    "t.csv.gz": "gzip file that is cut off",
    "t.parquet": "Parquet file that is cut off",
    "t.db": "SQLite file that is cut off",
}


def checked(source, expected, options):
    """The source gives the expected rows, or one error of ours with the expected words and not too many."""
    if isinstance(expected, list):
        assert read(source, **options).to_frame().rows() == expected
        return
    with pytest.raises(AttlasError, match=expected) as caught:
        read(source, **options)
    assert 25 < len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TEXT)
def test_a_malformed_file_is_told_or_read_as_it_should_be(tmp_path, name):
    content, expected, *options = TEXT[name]
    (tmp_path / "t.csv").write_bytes(content)
    checked(tmp_path / "t.csv", expected, options[0] if options else {})


@pytest.mark.parametrize("name", FRAMES)
def test_a_malformed_frame_or_path_is_told_or_read_as_it_should_be(name):
    source, expected = FRAMES[name]
    checked(source, expected, {})


@pytest.mark.parametrize("name", CUTS)
def test_a_packed_file_that_is_cut_off_is_told(tmp_path, name):
    file, content = CUTS[name]
    (tmp_path / file).write_bytes(content)
    checked(tmp_path / file, CUT[file], {})


def test_two_hundred_malformed_inputs_were_tried():
    assert len(TEXT) + len(FRAMES) + len(CUTS) >= 200


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read_is_told(tmp_path):
    (tmp_path / "t.csv").write_bytes(GOOD)
    (tmp_path / "t.csv").chmod(0)
    checked(tmp_path / "t.csv", "cannot be read: Permission denied", {})


@pytest.mark.parametrize("name", ["t.parquet", "t.db", "t.jsonl", "t.ndjson.gz"])
def test_a_file_that_is_only_named_like_its_kind_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(GOOD) if name.endswith("gz") else GOOD)
    checked(tmp_path / name, "is named like (Parquet|SQLite|JSON lines), but its content is not", {})


def is_sound(source) -> bool:
    """Whether reading ends in an error of ours or in interactions that hold together."""
    try:
        data = read(source)
    except AttlasError as error:
        return 25 < len(str(error)) < 1000
    pairs = list(zip(data.user.tolist(), data.item.tolist(), strict=True))
    ids = [*data.users.ids.to_list(), *data.items.ids.to_list()]
    is_finite = all(np.isfinite(values).all() for values in data.facts.values())
    is_counted = len(data) + sum(data.origin.dropped.values()) == data.origin.rows
    return isinstance(data, Interactions) and len(set(pairs)) == len(pairs) > 0 and None not in ids and is_finite and is_counted


PIECES = st.sampled_from([b"user", b"item", b"a", b"1", b"-1", b"NaN", b"1e400", b"", b" ", b"\xe9", "é".encode(), b'"', b"\0"])
JOINTS = st.sampled_from([b",", b"\t", b";", b"::", b"\n", b"\r\n", b"\r", b"\n\n"])


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(st.tuples(PIECES, JOINTS), max_size=30), st.booleans())
def test_pieces_of_tables_in_any_order_end_in_an_error_of_ours_or_in_sound_rows(tmp_path_factory, pieces, has_header):
    path = tmp_path_factory.mktemp("pieces") / "t.csv"
    path.write_bytes((b"user,item,rating,time\n" if has_header else b"") + b"".join(map(b"".join, pieces)))
    assert is_sound(path)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(
    # Not Parquet: polars believes the lengths that stand in it, and ends the process where one asks for too much memory.
    st.sampled_from(
        [*((name, WHOLE[name]) for name in ("t.csv.gz", "t.db")), ("t.csv", GOOD), ("t.jsonl", packed("write_ndjson"))]
    ),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_files_with_a_few_wrong_bytes_end_in_an_error_of_ours_or_in_sound_rows(tmp_path_factory, file, wrong):
    name, content = file[0], bytearray(file[1])
    for place, byte in wrong:
        content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    assert is_sound(path)


CELL = st.one_of(
    st.none(), st.text(max_size=3), st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.lists(st.integers())
)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=6), st.sampled_from(["jsonl", "pandas"]))
def test_cells_of_any_type_end_in_an_error_of_ours_or_in_sound_rows(tmp_path_factory, rows, kind):
    if kind == "pandas":
        assert is_sound(pd.DataFrame(rows, columns=["user", "item", "rating"], dtype=object))
        return
    path = tmp_path_factory.mktemp("cells") / "t.jsonl"
    path.write_text("".join(json.dumps(dict(zip(("user", "item", "rating"), row, strict=True))) + "\n" for row in rows))
    assert is_sound(path)


TYPED = ["an empty file", "prose", "a header only", "a line too long", "an unclosed quote at the end", "noise", "HTML"]
TYPED += [
    "a zip archive",
    "a JSON array",
    "nested JSON",
    "negative times",
    "SQLite without tables",
    "one line of ten megabytes",
]


@pytest.mark.parametrize("name", TYPED)
def test_on_the_command_line_each_ends_in_one_message_and_exit_code_2(tmp_path, command, name):
    (tmp_path / "t.csv").write_bytes(TEXT[name][0])
    said = command("fit", "--data", tmp_path / "t.csv", "--model", "popularity", "--out", tmp_path / "run")
    assert (said.code, said.out) == (2, "")
    assert "t.csv" in said.err
    assert not (tmp_path / "run").exists()


def test_noise_ends_a_process_of_its_own_without_a_traceback(tmp_path, process):
    (tmp_path / "t.csv").write_bytes(TEXT["noise"][0])
    said = process("fit", "--data", tmp_path / "t.csv", "--model", "popularity", "--out", tmp_path / "run")
    assert (said.code, said.out) == (2, "")
    assert "Traceback" not in said.err
    assert "t.csv" in said.err
