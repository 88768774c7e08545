"""From TOML to an Experiment and back; every setting that does not fit is refused by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import attlas
from attlas.data.examples import parts_by_ratio
from attlas.data.interactions import Interactions
from attlas.data.labelled import Layout, read_by_ratio, read_examples
from attlas.errors import ArtefactError, AttlasError, ConfigError
from attlas.experiment import Experiment, read_toml, recall, remember, versions
from attlas.loading import DataConfig, load_split

WHOLE = """
[data]
source = "ratings.csv"
split = "leave-last-out"
items = "films.csv"

[model]
name = "delf"
embedding_dim = 16
layers = [8, 4]

[solver]
negatives = 2
learning_rate = 0.01

[training]
epochs = 7
refit = true

[evaluation]
protocol = ["full", "ncf"]
k = [5]
"""


def written(folder: Path, text: str) -> Path:
    """A TOML file."""
    (folder / "experiment.toml").write_text(text)
    return folder / "experiment.toml"


def test_a_toml_file_becomes_an_experiment(tmp_path: Path) -> None:
    made = Experiment.from_file(written(tmp_path, WHOLE))
    assert made.data == DataConfig(source="ratings.csv", split="leave-last-out", items="films.csv")
    assert made.model == {"name": "delf", "embedding_dim": 16, "layers": [8, 4]}
    assert made.model_config().layers == (8, 4)
    assert made.solver == {"negatives": 2, "learning_rate": 0.01}
    assert (made.training.epochs, made.training.refit) == (7, True)
    assert (made.evaluation.protocol, made.evaluation.k) == (("full", "ncf"), (5,))


def test_an_empty_file_is_an_experiment_with_popularity_and_the_defaults_spelled_out(tmp_path: Path) -> None:
    tables = Experiment.from_file(written(tmp_path, "")).to_dict()
    none = dict.fromkeys(["user", "item", "rating", "time", "separator", "items", "users", "positive", "since", "returns"])
    whole = {"repeat": "count", "min_user": 0, "min_item": 0, "label": None, "buckets": {}}
    whole |= dict.fromkeys(["fields", "numbers", "bags", "user_fields", "item_fields"], ())
    assert tables["data"] == {"source": "", "split": "auto", "validation": "auto", "seed": 1, **none, **whole}
    assert tables["model"] == {"name": "popularity"}
    assert tables["solver"] == {}
    assert tables["evaluation"] == {"protocol": (), "k": (10, 20), "beyond": True}
    training = {"epochs": 100, "patience": 5, "metric": "ndcg@10", "refit": False, "seed": 1, "device": "cpu", "memory": None}
    assert tables["training"] == {**training, "start": (), "chosen": False}


def test_defaults_of_a_model_are_spelled_out_beside_what_was_set(tmp_path: Path) -> None:
    model = Experiment.from_file(written(tmp_path, WHOLE)).to_dict()["model"]
    assert {name: model[name] for name in ("embedding_dim", "attention_dim", "layers", "smoothing")} == {
        "embedding_dim": 16,
        "attention_dim": 64,
        "layers": (8, 4),
        "smoothing": 1.0,
    }


@pytest.mark.parametrize("text", ["", WHOLE])
def test_what_json_keeps_of_an_experiment_makes_the_same_experiment(text: str, tmp_path: Path) -> None:
    made = Experiment.from_file(written(tmp_path, text))
    again = Experiment.of(json.loads(json.dumps(made.to_dict())))
    assert again.to_dict() == made.to_dict()
    assert (again.data, again.training, again.evaluation) == (made.data, made.training, made.evaluation)


CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", [path for path in CONFIGS if not path.stem.startswith("compare-")], ids=lambda path: path.stem)
def test_the_configuration_is_read(path: Path) -> None:
    assert Experiment.from_file(path).model["name"] == path.stem.split("-")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trainign]", r"no table is called \[trainign\]; did you mean 'training'\?"),
        ("epochs = 3", "no table is called .epochs."),
        ("training = 3", r"training = 3 stands alone; write it as a table: \[training\]"),
        ("[data]\nsorce = 'a'", r"\[data\] has no setting 'sorce'; did you mean 'source'\?"),
        ("[training]\nepoch = 3", r"\[training\] has no setting 'epoch'; did you mean 'epochs'\?"),
        ("[training]\nepochs = 'many'", r"\[training\] epochs = 'many' does not fit: input should be a valid integer"),
        ("[training]\nepochs = 0", r"\[training\] epochs = 0 does not fit: input should be greater than or equal to 1"),
        ("[training]\npatience = 0", r"\[training\] patience = 0 does not fit"),
        ("[training]\nseed = -1", r"\[training\] seed = -1 does not fit"),
        ("[training]\nrefit = 'perhaps'", r"\[training\] refit = 'perhaps' does not fit"),
        ("[training]\nmetric = 'ndgc@10'", r"^metric = 'ndgc@10' is not known for ranking; did you mean 'ndcg'\?"),
        ("[training]\nmetric = 'ndcg'", r"^metric = 'ndcg' does not fit; write for instance 'ndcg@10'"),
        ("[training]\nmetric = 'ndcg@x'", "write for instance 'ndcg@10'"),
        ("[training]\nmetric = 'ndcg@0'", "write for instance 'ndcg@10'"),
        ("[training]\nmetric = 'auc@10'", "write for instance 'auc'"),
        ("[training]\nmemory = 'lots'", "'lots' is no size of memory; write for instance 4GB"),
        ("[evaluation]\nprotocol = ['fulll']", "there is no protocol 'fulll'; did you mean 'full'"),
        ("[evaluation]\nprotocol = 'full'", r"\[evaluation\] protocol = 'full' does not fit"),
        ("[evaluation]\nk = 10", r"\[evaluation\] k = 10 does not fit"),
        ("[evaluation]\nk = [0]", r"\[evaluation\] k.0 = 0 does not fit"),
        ("[evaluation]\nk = []", r"\[evaluation\] k = \[\] does not fit"),
        ("[model]\nname = 3", r"\[model\] name = 3; expected the name of a model"),
        ("[data]\nseed = -1", r"\[data\] seed = -1 does not fit"),
        ("[model]\nname = 'eas'", r"no model is called 'eas'; did you mean 'ease'\?"),
        ("[model]\nname = 'ease'\nl3 = 1", r"\[model\] has no setting 'l3'; known are: l2"),
        ("[model]\nname = 'ease'\nl2 = -1", r"\[model\] l2 = -1 does not fit: input should be greater than 0"),
        ("[model]\nname = 'popularity'\nl2 = 1", r"\[model\] has no setting 'l2'; there is nothing to set"),
        ("[model]\nname = 'delf'\nkey = 'sigmoid'", r"\[model\] key = 'sigmoid' does not fit"),
        ("[model", "is no TOML: "),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Experiment.from_file(written(tmp_path, text))


def test_the_metric_may_be_one_without_a_cut_off(tmp_path: Path) -> None:
    assert Experiment.from_file(written(tmp_path, "[training]\nmetric = 'auc'")).training.metric == "auc"


def test_a_file_that_is_not_there_a_folder_and_bytes_are_no_toml(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"cannot read .*No such file or directory; expected a TOML file"):
        read_toml(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match=r"cannot read .*Is a directory"):
        read_toml(tmp_path)
    with pytest.raises(ConfigError, match="bytes is no TOML"):
        read_toml(tmp_path / "bytes")


def test_memory_is_read_in_bytes() -> None:
    assert Experiment.of({"training": {"memory": "4GB"}}).training.memory_bytes() == 4_000_000_000
    assert Experiment.of({}).training.memory_bytes() is None


def test_a_split_is_used_as_it_is(club: Any) -> None:
    given = attlas.split(club.interactions, "leave-last-out")
    assert load_split(DataConfig(split="user-ratio"), given) == (given, [])


@pytest.mark.parametrize("kind", ["interactions", "frame", "path"])
def test_interactions_a_frame_and_a_path_are_split_as_the_settings_say(kind: str, club: Any, club_files: Path) -> None:
    rows: Interactions = club.interactions
    config = DataConfig(source=str(club_files / "ratings.csv") if kind == "path" else "", split="leave-last-out")
    made, said = load_split(config, {"interactions": rows, "frame": rows.to_frame(), "path": None}[kind])
    assert (made.code, len(made.train), len(made.test)) == ("leave-last-out", 740, 80)
    assert said[-1] == "split leave-last-out: 740 rows train, 80 validation, 80 test"


def test_without_validation_all_but_the_test_part_is_trained_on(club: Any) -> None:
    made, said = load_split(DataConfig(validation="none"), club.interactions)
    assert (made.valid, len(made.train), len(made.test)) == (None, 810, 90)
    assert said[-1] == "split global-time (chosen since times are known): 810 rows train, 0 validation, 90 test"


def test_labelled_rows_in_one_table_get_the_buckets_of_their_training_part() -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.integers(0, 5, 100) for name in ("user", "item")}
    table = pl.DataFrame({**columns, "age": rng.random(100), "label": rng.integers(0, 2, 100)})
    made, _ = load_split(DataConfig(label="label", buckets={"age": 3}, seed=3), table)
    layout = Layout(buckets={"age": 3})
    assert made.train.fingerprint == read_by_ratio(table, layout, seed=3)[0].fingerprint
    assert made.train.fingerprint != parts_by_ratio(read_examples(table, layout), seed=3)[0].fingerprint


@pytest.mark.parametrize("setting", [{"min_user": 5}, {"items": "films.csv"}, {"time": "t"}, {"rating": "r"}])
def test_what_is_for_interactions_is_refused_of_labelled_rows(setting: dict[str, Any]) -> None:
    table = pl.DataFrame({"user": [1, 2], "item": [1, 2], "label": [0, 1]})
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} is for interactions, and labelled rows are read as they are"):
        load_split(DataConfig(label="label", **setting), table)


@pytest.mark.parametrize("validation", ["leave-last-out", "nonne"])
def test_a_way_to_cut_validation_from_given_files_is_refused_elsewhere(validation: str, club: Any, tmp_path: Path) -> None:
    said = rf"\[data\] validation = '{validation}' is for given files such as NAME.train.rating"
    with pytest.raises(ConfigError, match=said):
        load_split(DataConfig(validation=validation), club.interactions)
    (tmp_path / "rows.csv").write_text("user,item,label\n" + "".join(f"{n % 5},{n % 4},{n % 2}\n" for n in range(40)))
    with pytest.raises(ConfigError, match=said):
        load_split(DataConfig(source=str(tmp_path / "rows.csv"), label="label", validation=validation))


def test_of_labelled_files_validation_is_the_file_or_none(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.libfm").write_text("1 0:1 4:1\n0 1:1 5:1\n")
    config = DataConfig(source=str(tmp_path), label="label")
    assert load_split(config)[0].valid is not None
    made, said = load_split(dataclasses.replace(config, validation="none"))
    assert made.valid is None
    assert "split given: 2 rows train, 0 validation, 2 test" in said


def test_rows_that_a_split_drops_are_told(tmp_path: Path) -> None:
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "y", 3), ("b", "x", 4), ("c", "x", 5), ("c", "z", 6)]
    _, said = load_split(DataConfig(split="leave-last-out"), pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))
    assert said[-1].startswith("1 test rows of items without training rows")


def test_a_folder_of_given_files_keeps_its_split_and_its_candidates(given_files: Path) -> None:
    made, said = load_split(DataConfig(source=str(given_files), validation="none"))
    assert (made.code, len(made.train), len(made.test)) == ("given", 12, 4)
    assert made.candidates is not None
    assert said[-1] == "split given: 12 rows train, 0 validation, 4 test"


def test_a_folder_of_given_files_is_not_split_again(given_files: Path) -> None:
    with pytest.raises(ConfigError, match=r"is split already; leave \[data\] split out"):
        load_split(DataConfig(source=str(given_files), split="leave-last-out"))


def test_the_rows_of_given_files_are_not_cleaned(given_files: Path) -> None:
    with pytest.raises(ConfigError, match=r"its rows stay as they are; leave out \[data\] repeat, min_user$"):
        load_split(DataConfig(source=str(given_files), repeat="last", min_user=2))


def test_a_shop_s_table_is_cleaned_as_the_settings_say(tmp_path: Path) -> None:
    rows = [f"u{user},i{item},{item % 2 + 1},2024-0{1 + item}-01" for user in range(6) for item in range(5) for _ in "ab"]
    (tmp_path / "shop.csv").write_text("\n".join(["customer,sku,quantity,date", *rows, "u0,i0,-1,2024-09-09"]))
    told = f'[data]\nsource = "{tmp_path / "shop.csv"}"\nrepeat = "sum:quantity"\npositive = "sku!=i4"\nsince = 2024-02-01\n'
    config = Experiment.from_file(written(tmp_path, told + 'returns = "cancel"\nmin_user = 2\nsplit = "global-ratio"')).data
    split, said = load_split(config)
    assert config.since == "2024-02-01"
    assert sorted(set(split.train.to_frame()["item"])) == ["i1", "i2", "i3"]
    assert set(split.train.count.tolist()) == {2.0, 4.0}
    assert "50% of rows repeat an earlier choice of the same user and item" in " ".join(said)


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing to learn from; give a file or a folder"):
        load_split(DataConfig())


def test_what_is_remembered_in_a_folder_is_recalled(tmp_path: Path) -> None:
    made = Experiment.from_file(written(tmp_path, WHOLE))
    remember(tmp_path / "run", made, "abc")
    again, fingerprint, _ = recall(tmp_path / "run")
    assert (again.to_dict(), fingerprint) == (made.to_dict(), "abc")


def test_a_folder_without_a_begun_fit_has_nothing_to_recall(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="holds no fit to resume; begin one with: attlas fit --data FILE --out"):
        recall(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"experiment": {}}', '{"experiment": 3, "fingerprint": ""}', "\x00"]
)
def test_a_damaged_note_of_a_begun_fit_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"experiment\.json is not whole; delete the folder and fit anew"):
        recall(tmp_path)


def test_a_note_of_settings_that_this_version_does_not_know_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text('{"experiment": {"training": {"warmup": 3}}, "fingerprint": ""}')
    with pytest.raises(AttlasError, match="has no setting 'warmup'"):
        recall(tmp_path)


def test_versions_name_python_and_what_computes() -> None:
    assert versions().keys() == {"python", "attlas", "torch", "numpy", "scipy", "numba", "polars"}
    assert versions()["attlas"] == "0.1.0"
