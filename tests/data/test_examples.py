"""Labelled rows of feature fields: how they are read, split, known again and turned into tensors."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from attlas.data.encoding import in_context
from attlas.data.examples import ExampleInputs, Examples, blinded, parts_by_ratio, rows_by_ratio
from attlas.data.inputs import Inputs
from attlas.data.labelled import Layout, given_examples, read_by_ratio, read_examples, read_parts
from attlas.errors import ConfigError, DataError
from tests.toy import two_tastes

TABLE = {
    "user": ["ann", "bob", "ann", "cem"],
    "item": ["x", "y", "y", "x"],
    "hour": [8, 20, 20, 8],
    "price": [1.0, 3.0, 3.0, 1.0],
    "genres": ["war|love", "war", "war", "love|war"],
    "label": [1, 0, 1, 1],
}
LAYOUT = Layout(numbers=("price",), bags=("genres",), item_fields=("price", "genres"))


def table() -> Examples:
    return read_examples(pl.DataFrame(TABLE), LAYOUT)


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def test_fields_follow_the_columns_but_facts_of_an_item_stand_behind():
    fields = table().features.fields
    assert [(one.name, one.role, one.kind, one.size) for one in fields] == [
        ("user", "user", "category", 4),
        ("item", "item", "category", 3),
        ("hour", "context", "category", 3),
        ("price", "item", "number", 2),
        ("genres", "item", "bag", 3),
    ]


def test_a_row_names_a_feature_of_each_field_and_a_bag_behind_the_last():
    rows = table()
    assert rows.index.tolist() == [[0, 4, 7, 10, 15], [1, 5, 8, 10, 16], [0, 5, 8, 10, 16], [2, 4, 7, 10, 17]]
    assert rows.features.bags is not None
    assert [rows.features.said(index) for index in rows.index[[0, 1]]] == [
        ["ann", "x", "8", "price", "war, love"],
        ["bob", "y", "20", "price", "war"],
    ]


def test_a_number_is_centred_and_scaled_and_all_else_weighs_one():
    rows = table()
    assert rows.value is not None
    assert rows.value[:, 3].tolist() == [-1, 1, 1, -1]
    assert (np.delete(rows.value, 3, axis=1) == 1).all()


def test_labels_of_minus_one_are_zeros_and_others_are_refused():
    negative = pl.DataFrame(TABLE).with_columns(pl.col("label") * 2 - 1)
    assert read_examples(negative, LAYOUT).label.tolist() == [1, 0, 1, 1]
    with pytest.raises(DataError, match="labels are 0, 3; expected 0 and 1, or -1 and 1"):
        read_examples(pl.DataFrame(TABLE).with_columns(pl.col("label") * 3), LAYOUT)


def test_buckets_are_cut_at_the_quantiles_and_named_by_their_ends():
    frame = pl.DataFrame({"user": list("abcd"), "item": list("xyxy"), "age": [1, 2, 3, 40], "label": [0, 1, 0, 1]})
    field = (rows := read_examples(frame, Layout(buckets={"age": 2}))).features.fields[2]
    assert field.edges == (2.5,)
    assert field.known.ids.to_list() == ["to 2.5", "over 2.5"]
    assert (rows.index[:, 2] - rows.features.first[2]).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("first", "step"), [(1_700_000_000, 60), (20_240_101, 1), (0.1, 1e-15)])
def test_bounds_that_lie_close_together_are_told_apart(first, step):
    when, row = first + step * np.arange(240), np.arange(240)
    frame = pl.DataFrame({"user": row % 7, "item": row % 5, "when": when, "label": row % 2})
    field = read_examples(frame, Layout(buckets={"when": 24})).features.fields[2]
    names = field.known.ids.to_list()
    assert len(set(names)) == len(names) == len(field.edges) + 1 == 24


def test_a_column_called_label_beside_the_chosen_one_is_a_field():
    frame = pl.DataFrame(TABLE).with_columns(clicked=1 - pl.col("label"))
    rows = read_examples(frame, Layout(label="clicked", bags=("genres",)))
    assert rows.features.names == ("user", "item", "hour", "price", "genres", "label")
    assert rows.label.tolist() == [0, 1, 0, 0]
    with pytest.raises(DataError, match="column 'clicked' has cells such as 'no'; expected numbers"):
        read_examples(frame.with_columns(clicked=pl.lit("no")), Layout(label="clicked", bags=("genres",)))


def test_yes_and_no_are_categories():
    frame = pl.DataFrame(TABLE).with_columns(weekend=pl.Series([True, False, None, True]))
    rows = read_examples(frame, Layout(bags=("genres",)))
    place = rows.features.place_of("weekend")
    assert [rows.features.said(index)[place] for index in rows.index] == ["true", "false", "unknown", "true"]
    for yes in (True, np.True_, "true"):
        fields, unknown = in_context(rows.features, {"weekend": yes}, 1)
        assert "weekend" not in unknown
        assert rows.index[0, place] in fields.index[0].tolist()


def test_numbers_with_fractions_are_told_where_to_go():
    frame = pl.DataFrame(TABLE).with_columns(price=pl.Series([1.5, 3.0, None, float("nan")]))
    with pytest.raises(DataError, match=r"field 'price' holds numbers with fractions; .* named among numbers or buckets"):
        read_examples(frame, Layout(bags=("genres",)))


def test_missing_cells_are_unknown():
    frame = pl.DataFrame(TABLE).with_columns(
        hour=pl.Series([8, None, 20, 8]), price=pl.Series([1.0, 3.0, None, 2.0]), genres=pl.Series(["war", "", None, "love"])
    )
    rows = read_examples(frame, LAYOUT)
    assert rows.features.said(rows.index[1]) == ["bob", "y", "unknown", "price", "unknown"]
    assert rows.features.said(rows.index[2])[3:] == ["unknown", "unknown"]
    assert rows.value is not None
    assert rows.value[2, 3] == 1


def test_what_is_known_of_users_and_items_is_what_their_first_row_says():
    features = table().features
    assert features.user_index.tolist() == [[0], [1], [2]]
    assert features.item_index.tolist() == [[4, 10, 15], [5, 10, 16]]
    assert features.item_value is not None
    assert features.item_value.tolist() == [[1, -1, 1], [1, 1, 1]]


def test_the_positive_pairs_are_interactions():
    chosen = table().chosen
    assert chosen.to_frame().rows() == [("ann", "x"), ("ann", "y"), ("cem", "x")]


@pytest.mark.parametrize("name", ["rows.libfm", "rows.libsvm.gz"])
def test_libfm_text_names_the_user_first_and_the_item_second(name, tmp_path):
    rows = read_examples(write(tmp_path / name, "1 0:1 7:1 9:1\n-1 1:1 8:1 9:1\n1 1:1 7:1 10:1\n"))
    assert [(one.name, one.role) for one in rows.features.fields] == [
        ("field_1", "user"),
        ("field_2", "item"),
        ("field_3", "context"),
    ]
    assert rows.label.tolist() == [1, 0, 1]
    assert rows.value is None
    assert rows.features.said(rows.index[2]) == ["1", "7", "10"]


def test_values_of_libfm_text_weigh_their_features(tmp_path):
    rows = read_examples(write(tmp_path / "rows.libfm", "1 0:1 7:0.5\n0 1:1 7:2\n"), Layout(fields=("user", "item")))
    assert rows.value is not None
    assert rows.value.tolist() == [[1, 0.5], [1, 2]]


@pytest.mark.parametrize(
    "text",
    [
        "1 0:1 7:1 \n0 1:1 8:1 \n",
        "1 0:1 7:1\n0 1:1 8:1 \n",
        "1 0:1 7:1\n 0 1:1 8:1",
        "1\t0:1  7:1\r\n0 1:1 8:1\r\n",
        "1 0:1 7:1\n \n0 1:1 8:1\n",
    ],
)
def test_blanks_of_libfm_text_may_be_many_and_stand_at_both_ends_of_a_line(text, tmp_path):
    rows = read_examples(write(tmp_path / "rows.libfm", text))
    assert rows.label.tolist() == [1, 0]
    assert rows.value is None
    assert [rows.features.said(index) for index in rows.index] == [["0", "7"], ["1", "8"]]


@pytest.mark.parametrize("value", ["0.5", "1"])
@pytest.mark.parametrize("cell", ["7", "7:", "7:nan"])
def test_a_feature_without_a_value_is_refused(cell, value, tmp_path):
    lines = [f"1 0:1 8:{value}"] * 60 + [f"0 1:1 {cell}"]
    with pytest.raises(DataError, match="field 'field_2' has no number behind its colon in row 61"):
        read_examples(write(tmp_path / "rows.libfm", "\n".join(lines) + "\n"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 0:1 7:1\n1 0:1 7:1 9:1\n", "lines of more than 3 cells"),
        ("1 0:1 7:1\n1 0:1\n", "lines of fewer than 3 cells"),
        ("1,2,3\n", "is no libFM text"),
        ("", "is no libFM text"),
        ("x 0:1 7:1\n", "has cells such as 'x'; expected numbers"),
    ],
)
def test_text_that_is_no_libfm_is_refused(text, problem, tmp_path):
    with pytest.raises(DataError, match=problem):
        read_examples(write(tmp_path / "rows.libfm", text))


def test_a_name_for_each_field_of_libfm_text_is_wanted(tmp_path):
    path = write(tmp_path / "rows.libfm", "1 0:1 7:1 9:1\n")
    with pytest.raises(DataError, match="has 3 fields on its first line, and 2 names were given"):
        read_examples(path, Layout(fields=("user", "item")))


def test_a_column_that_is_not_there_is_named_with_its_nearest():
    with pytest.raises(DataError, match="no column 'genre' for a field; did you mean 'genres'"):
        read_examples(pl.DataFrame(TABLE), Layout(bags=("genre",)))
    with pytest.raises(DataError, match="which field is the user"):
        read_examples(pl.DataFrame(TABLE).rename({"user": "who"}), LAYOUT)


@pytest.mark.parametrize(
    ("further", "role"),
    [
        ({"user_fields": ("uid", "age")}, "user"),
        ({"item_fields": ("uid",)}, "user"),
        ({"item_fields": ("genre", "sku")}, "item"),
    ],
)
def test_the_user_and_the_item_are_no_facts_of_themselves_or_each_other(further, role):
    columns = {"age": [20, 30], "genre": ["war", "love"], "uid": ["ann", "bob"], "sku": ["x", "y"], "label": [1, 0]}
    own = {"user": "uid", "item": "sku"}
    with pytest.raises(
        DataError, match=f"field '{own[role]}' is the {role} itself; leave it out of user_fields and item_fields"
    ):
        read_examples(pl.DataFrame(columns), Layout(**own, **further))


def test_given_parts_share_features_and_what_training_has_not_seen_is_unknown(tmp_path):
    for part, text in (("train", "1 0:1 7:1\n0 1:1 8:1\n"), ("validation", "1 2:1 7:1\n"), ("test", "0 1:1 9:1\n")):
        write(tmp_path / f"club.{part}.libfm.gz", text)
    files = given_examples(tmp_path)
    assert sorted(files) == ["test", "train", "valid"]
    train, valid, test = read_parts([files[part] for part in ("train", "valid", "test")])
    assert train.features is valid.features is test.features
    assert valid.features.said(valid.index[0]) == ["unknown", "7"]
    assert test.features.said(test.index[0]) == ["1", "unknown"]
    assert train.features.item_index[2, 0] == train.features.unknown[1]
    assert not given_examples(tmp_path / "nothing")


def test_the_files_of_a_given_split_have_one_name(tmp_path):
    for name in ("a.train", "a.test", "b.validation", "b.test"):
        write(tmp_path / f"{name}.libfm", "1 0:1 7:1\n")
    assert {part: path.name for part, path in given_examples(tmp_path).items()} == {
        "train": "a.train.libfm",
        "test": "a.test.libfm",
    }
    write(tmp_path / "b.train.libfm", "1 0:1 7:1\n")
    assert not given_examples(tmp_path)


def test_a_plain_file_stands_for_a_packed_one_beside_it(tmp_path):
    for name in ("t.train.libfm", "t.test.libfm.gz", "t.train.libfm.gz"):
        write(tmp_path / name, "1 0:1 7:1\n")
    found = given_examples(tmp_path)
    assert [found[part].name for part in ("train", "test")] == ["t.train.libfm", "t.test.libfm.gz"]


def test_parts_may_hold_whole_numbers_here_and_floats_or_nothing_there():
    frame = pl.DataFrame(TABLE)
    floats = frame.with_columns(pl.col("hour").cast(pl.Float64), price=pl.Series([None, 3.0, 1.0, 2.0]))
    nothing = frame.with_columns(hour=pl.Series([None] * 4, dtype=pl.Null))
    train, valid, test = read_parts([frame.with_columns(pl.col("price").cast(pl.Int64)), floats, nothing], LAYOUT)
    assert [valid.features.said(row)[2] for row in valid.index] == ["8", "20", "20", "8"]
    assert [test.features.said(row)[2] for row in test.index] == ["unknown"] * 4
    assert train.features.fields[3].centre == 2
    assert train.value is not None
    assert valid.value is not None
    assert (train.value[:, 3].tolist(), valid.value[:, 3].tolist()) == ([-1, 1, 1, -1], [1, 1, -1, 0])


def test_parts_of_types_that_have_nothing_in_common_are_told():
    frame = pl.DataFrame(TABLE)
    with pytest.raises(DataError, match="column 'hour' is of type Binary"):
        read_parts([frame, frame.with_columns(pl.col("hour").cast(pl.String).cast(pl.Binary))], LAYOUT)


@pytest.mark.parametrize("whole", [0, 1])
def test_a_part_of_libfm_text_in_which_every_value_is_one_goes_with_the_others(whole, tmp_path):
    texts = ["1 0:1 7:0.5\n0 1:1 8:2\n", "1 0:1 7:1\n0 1:1 8:1\n"]
    paths = [write(tmp_path / f"{place}.libfm", texts[(place + 1 - whole) % 2]) for place in (0, 1)]
    parts = read_parts(paths)
    assert parts[whole].value.tolist() == [[1, 1], [1, 1]]
    assert parts[1 - whole].value.tolist() == [[1, 0.5], [1, 2]]


def test_parts_of_other_fields_are_told_by_the_names_of_both(tmp_path):
    paths = [write(tmp_path / "t.train.libfm", "1 0:1 7:0.5\n"), write(tmp_path / "t.test.libfm", "1 0:1 7:2 9:1\n")]
    expected = "t.test.libfm has the fields field_1, field_2, field_3; expected those of the other files: field_1, field_2"
    with pytest.raises(DataError) as caught:
        read_parts(paths)
    assert str(caught.value) == expected


def test_a_random_split_is_disjoint_and_whole_and_blind_to_what_training_has_not_seen():
    rng = np.random.default_rng(1)
    columns = {name: rng.integers(0, 30, 100) for name in ("user", "item")}
    rows = read_examples(pl.DataFrame({**columns, "label": rng.integers(0, 2, 100)}))
    train, valid, test = parts_by_ratio(rows, seed=3)
    assert valid is not None
    assert [len(part) for part in (train, valid, test)] == [70, 20, 10]
    seen = set(train.index.ravel()) | set(train.features.unknown)
    assert set(valid.index.ravel()) | set(test.index.ravel()) <= seen
    assert not set(rows.index.ravel()) <= seen  # or the line above would say nothing
    again = parts_by_ratio(rows, seed=3)[2]
    assert again.fingerprint == test.fingerprint != parts_by_ratio(rows, seed=4)[2].fingerprint
    assert parts_by_ratio(rows, valid=0.0)[1] is None
    with pytest.raises(ConfigError, match="a sum below 1"):
        parts_by_ratio(rows, test=0.5, valid=0.5)


def test_a_table_that_is_split_has_the_buckets_scales_and_facts_of_its_training_rows():
    rng, taken = np.random.default_rng(1), rows_by_ratio(100, seed=3)[0]
    is_train = np.isin(np.arange(100), taken)
    number = np.where(is_train, rng.integers(0, 50, 100), 1000)
    columns = {"user": rng.integers(0, 5, 100), "item": rng.integers(0, 20, 100), "age": number, "weight": number}
    frame = pl.DataFrame({**columns, "place": np.where(is_train, "here", "there"), "label": rng.integers(0, 2, 100)})
    layout = Layout(buckets={"age": 4}, numbers=("weight",), item_fields=("place",))
    train, valid, test = read_by_ratio(frame, layout, seed=3)
    assert valid is not None
    assert [len(part) for part in (train, valid, test)] == [70, 20, 10]
    *_, age, weight, place = train.features.fields
    assert age.edges == tuple(np.unique(np.quantile(number[is_train], [0.25, 0.5, 0.75])))
    assert (weight.centre, weight.spread) == pytest.approx((number[is_train].mean(), number[is_train].std()))
    here = train.features.first[4] + place.known.find(["here"])[0]
    assert (train.features.item_index[train.ids("item"), 1] == here).all()
    assert max(parts_by_ratio(read_examples(frame, layout), seed=3)[0].features.fields[2].edges) == 1000


def test_a_table_that_is_split_has_the_rows_and_categories_that_it_has_as_a_whole():
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({**{name: rng.integers(0, 30, 100) for name in ("user", "item")}, "label": rng.integers(0, 2, 100)})
    for one, other in zip(read_by_ratio(frame, seed=3), parts_by_ratio(read_examples(frame), seed=3), strict=True):
        assert one is not None
        assert other is not None
        assert one.fingerprint == other.fingerprint


def test_bags_lose_what_training_has_not_seen():
    rows = table()
    (train, rest) = blinded(rows.take(np.array([1, 2])), rows.take(np.array([0, 3])))
    assert train.features.bags is not None
    unknown = int(train.features.unknown[4])
    assert train.features.bags.index[train.features.bags.start[0] : train.features.bags.start[1]].tolist() == [12, unknown]
    assert rest.features.said(rest.index[0]) == ["ann", "unknown", "unknown", "price", "war, unknown"]


def test_rows_come_as_tensors_and_pairs_in_no_context():
    inputs = ExampleInputs(table())
    fields, label = inputs.rows(np.array([3, 0]))
    assert fields.index.tolist() == table().index[[3, 0]].tolist()
    assert label.tolist() == [1, 1]
    pair = inputs.gather(("fields",), np.array([2]), np.array([1]))["fields"]
    assert inputs.features.said(pair.index[0].tolist()) == ["cem", "y", "unknown", "price", "war"]
    assert pair.value.tolist() == [[1, 1, 1, 1, 1]]


def test_bags_lie_where_the_rows_do_and_are_moved_once():
    inputs = ExampleInputs(table())
    inputs.device = torch.device("meta")
    fields, _ = inputs.rows(slice(0, 2))
    again, _ = inputs.rows(slice(2, 4))
    assert fields.bags is again.bags is not None
    assert {part.device.type for part in (fields.index, fields.bags.start, fields.bags.index)} == {"meta"}
    assert inputs.features.bags.start.device.type == "cpu"


def test_what_is_said_of_the_moment_becomes_a_row_and_the_rest_is_unknown():
    rows = read_examples(pl.DataFrame(TABLE), Layout(numbers=("price",), bags=("genres",)))
    fields, unknown = in_context(rows.features, {"hour": "8", "price": 4, "genres": ["love"]}, 2)
    assert unknown == []
    assert fields.index.shape == (2, 3)
    assert fields.value is not None
    assert fields.value.tolist() == [[1, 2, 1]] * 2
    assert fields.bags is not None
    bag = int(fields.index[0, 2]) - int(rows.features.first[-1])
    assert fields.bags.index[fields.bags.start[bag] : fields.bags.start[bag + 1]].tolist() == [13]
    _, unknown = in_context(rows.features, {"hour": 9}, 1)
    assert unknown == ["hour", "price", "genres"]
    with pytest.raises(ConfigError, match="context 'hours' is no field of the context; did you mean 'hour'"):
        in_context(rows.features, {"hours": 9}, 1)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"price": [1]}, "number"),
        ({"price": ["a"]}, "number"),
        ({"price": np.array([1.0, 2.0])}, "number"),
        ({"hour": [8, 20]}, "category"),
        ({"hour": {"a": 1}}, "category"),
        ({"hour": pl.Series([8])}, "category"),
    ],
)
def test_several_values_are_refused_where_one_is_expected(said, what):
    rows = read_examples(pl.DataFrame(TABLE), Layout(numbers=("price",), bags=("genres",)))
    with pytest.raises(DataError, match=f"field '{next(iter(said))}' takes one {what}, and a .* of values came; say one"):
        in_context(rows.features, said, 1)


@pytest.mark.parametrize(
    "said",
    ["war|love", ["war", "love"], ("love", "war"), {"war", "love"}, np.array(["war", "love"]), pl.Series(["love", "war"])],
    ids=lambda said: type(said).__name__,
)
def test_a_bag_is_said_in_any_kind_of_list(said):
    rows = read_examples(pl.DataFrame(TABLE), Layout(numbers=("price",), bags=("genres",)))
    assert held_by(rows, {"genres": said}) == [12, 13]


def test_blanks_beside_the_parts_of_a_bag_and_missing_ones_are_no_part_of_it():
    rows = read_examples(pl.DataFrame(TABLE), Layout(numbers=("price",), bags=("genres",)))
    for said in ("war | love", " love|war ", "war|love|", "war|NA||love", [" war", "love ", None, ""], ["war | love"]):
        assert held_by(rows, {"genres": said}) == [12, 13]
    for said in ("", "NA", " | ", [], [None], ["poetry"], "poetry"):
        assert held_by(rows, {"genres": said}) == [14]


def test_what_training_has_not_seen_is_unknown_beside_what_it_has_as_in_a_held_out_row():
    frame, layout = pl.DataFrame(TABLE), Layout(numbers=("price",), bags=("genres",))
    train, test = read_parts([frame, frame.with_columns(genres=pl.lit("war|poetry"))], layout)
    bag = int(test.index[0, -1]) - int(test.features.first[-1])
    bags, unknown = test.features.bags, int(test.features.unknown[-1])
    read = bags.index[bags.start[bag] : bags.start[bag + 1]].tolist()
    war = int(test.features.first[-2])
    assert read == [war, unknown]
    for said in ("war|poetry", ["poetry", "war"], "war|verse"):
        assert held_by(train, {"genres": said}) == read
    assert held_by(train, {"genres": "war|war"}) == [war]


def held_by(rows: Examples, said: dict[str, Any]) -> list[int]:
    """What the bag of the last field holds when this is said of the moment; the unknown of that field where there is no bag."""
    fields, _ = in_context(rows.features, said, 1)
    bag = int(fields.index[0, -1]) - int(rows.features.first[-1])
    if bag < 0:
        return [int(fields.index[0, -1])]
    assert fields.bags is not None
    return fields.bags.index[fields.bags.start[bag] : fields.bags.start[bag + 1]].tolist()


@pytest.mark.parametrize("kind", [pl.List(pl.String), pl.Array(pl.String, 2)])
def test_bags_are_read_from_lists_as_from_text(kind):
    lists = pl.Series("genres", [["war", "love"], ["war", None], ["war", ""], ["love", " war"]])
    rows = read_examples(pl.DataFrame(TABLE).with_columns(lists.cast(kind)), LAYOUT)
    assert [rows.features.said(index)[-1] for index in rows.index] == ["war, love", "war", "war", "war, love"]
    assert rows.features.fields[-1].known.ids.to_list() == ["war", "love"]


def test_bags_of_numbers_empty_lists_and_no_list_are_read():
    lists = pl.Series("genres", [[1, 2], [], None, [2]], dtype=pl.List(pl.Int64))
    rows = read_examples(pl.DataFrame(TABLE).with_columns(lists), LAYOUT)
    assert [rows.features.said(index)[-1] for index in rows.index] == ["1, 2", "unknown", "unknown", "2"]


@pytest.mark.parametrize("layout", [{"numbers": ("price",)}, {"buckets": {"price": 2}}, {"label": "price"}])
def test_a_column_of_lists_is_told_where_numbers_are_expected(layout):
    frame = pl.DataFrame(TABLE).with_columns(price=pl.concat_list("price"))
    with pytest.raises(DataError, match=r"column 'price' is of type List\(Float64\); expected numbers"):
        read_examples(frame.drop("label") if "label" in layout else frame, Layout(bags=("genres",), **layout))


def test_a_row_crossed_with_every_item_is_written_out_as_pairs_are():
    inputs = ExampleInputs(read_examples(pl.DataFrame(TABLE), LAYOUT))
    context, _ = in_context(inputs.features, {"hour": 20}, 2)
    crossed = inputs.crossed(np.array([1, -1]), context)
    rows = crossed.rows(0)
    assert [inputs.features.said(index) for index in rows.index.tolist()] == [
        ["bob", "x", "20", "price", "war, love"],
        ["bob", "y", "20", "price", "war"],
    ]
    assert rows.value is not None
    assert rows.value.tolist() == [[1, 1, 1, -1, 1], [1, 1, 1, 1, 1]]
    assert inputs.features.said(crossed.rows(1).index[0].tolist())[0] == "unknown"


def test_interactions_have_the_user_and_the_item_for_fields():
    inputs = Inputs(two_tastes().train)
    fields = inputs.gather(("fields",), np.array([3]), np.array([5]))["fields"]
    assert fields.index.tolist() == [[3, 17 + 5]]
    assert inputs.sizes.fields == (17, 17)
    assert torch.equal(inputs.crossed(np.array([3])).rows(0).index[5], fields.index[0])


def test_equal_rows_have_equal_fingerprints_and_others_do_not():
    assert table().fingerprint == table().fingerprint != table().take(np.arange(3)).fingerprint
    whole = table().take(np.arange(2)).joined(None, table().take(np.arange(2, 4)))
    assert whole.fingerprint == table().fingerprint
