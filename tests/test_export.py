"""The k best items of very many users in one file, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import attlas
from attlas.errors import ArtefactError, ConfigError, UnknownId
from attlas.export import export_recommendations
from attlas.scoring import CODE_FLOATS
from attlas.telling import Bar, Teller

READERS = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}
EVERY_KIND = pytest.mark.parametrize("kind", READERS)


@pytest.fixture(scope="module")
def recommender(club: Any) -> attlas.Recommender:
    """EASE on the club, with a budget that makes seven blocks of 80 users."""
    made = attlas.fit(club.interactions, "ease", config={"l2": 10})
    rows_of_twelve = 12 * 4 * (3 * 40 + CODE_FLOATS)
    return attlas.Recommender(made.model, made.inputs, card=made.card, seen=made.seen, budget=rows_of_twelve)


@EVERY_KIND
def test_everybody_in_a_file_gets_what_recommend_answers(kind: str, recommender: attlas.Recommender, tmp_path: Path) -> None:
    rows = export_recommendations(recommender, None, 5, tmp_path / f"recs.{kind}")
    found = READERS[kind](tmp_path / f"recs.{kind}")
    expected = recommender.recommend(recommender.users.ids.to_list(), 5)
    assert rows == found.height == 400
    assert found.drop("score").equals(expected.drop("score").cast({"rank": found.schema["rank"]}))
    assert found["score"].to_list() == pytest.approx(expected["score"].to_list(), rel=1e-6)


@EVERY_KIND
def test_some_users_and_all_options_reach_the_file(kind: str, recommender: attlas.Recommender, tmp_path: Path) -> None:
    options: dict[str, Any] = {"exclude_seen": False, "candidates": ["f1", "f2"], "unknown": "popular"}
    rows = export_recommendations(recommender, ["m3", "nobody"], 5, tmp_path / f"recs.{kind}", **options)
    found = READERS[kind](tmp_path / f"recs.{kind}")
    assert rows == found.height == 4
    assert set(found["item"]) == {"f1", "f2"}
    assert found["way"].to_list() == ["known user"] * 2 + ["popular"] * 2


@EVERY_KIND
def test_users_with_nothing_left_to_recommend_are_left_out_of_the_file(
    kind: str, recommender: attlas.Recommender, tmp_path: Path
) -> None:
    film = recommender.items.ids_of(recommender.hidden[[0]].indices[:1])
    one_by_one = attlas.Recommender(recommender.model, recommender.inputs, card={}, seen=recommender.seen, budget=1)
    rows = export_recommendations(one_by_one, None, 5, tmp_path / f"recs.{kind}", candidates=film)
    found = READERS[kind](tmp_path / f"recs.{kind}")
    assert found["user"].to_list() == recommender.recommend(recommender.users.ids, 5, candidates=film)["user"].to_list()
    assert 0 < rows == found.height < 80


def test_the_folder_is_made_and_nothing_else_is_left_in_it(recommender: attlas.Recommender, tmp_path: Path) -> None:
    export_recommendations(recommender, ["m3"], 2, tmp_path / "new" / "recs.csv")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["recs.csv"]


@EVERY_KIND
def test_a_file_with_signs_of_a_pattern_in_its_path_is_written(
    kind: str, recommender: attlas.Recommender, tmp_path: Path
) -> None:
    path = tmp_path / "model=ease [1]" / f"recs[2].{kind}"
    rows = export_recommendations(recommender, None, 2, path)
    found = READERS[kind](io.BytesIO(path.read_bytes()))
    assert rows == found.height == 160
    assert found.columns == recommender.recommend(["m3"]).columns
    assert found["user"].to_list() == [user for user in recommender.users.ids for _ in range(2)]


def test_one_user_may_be_written_without_a_list(recommender: attlas.Recommender, tmp_path: Path) -> None:
    assert export_recommendations(recommender, "m3", 2, tmp_path / "recs.csv") == 2


def test_an_older_file_is_replaced(recommender: attlas.Recommender, tmp_path: Path) -> None:
    (tmp_path / "recs.csv").write_text("old")
    export_recommendations(recommender, ["m3"], 2, tmp_path / "recs.csv")
    assert pl.read_csv(tmp_path / "recs.csv").height == 2


def test_another_ending_is_refused_before_anything_is_computed(recommender: attlas.Recommender, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recs\.xlsx has no known ending; expected one of \.parquet, \.csv, \.jsonl"):
        export_recommendations(recommender, None, 5, tmp_path / "recs.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_the_older_file_and_nothing_else(recommender: attlas.Recommender, tmp_path: Path) -> None:
    (tmp_path / "recs.csv").write_text("old")
    with pytest.raises(UnknownId, match="user 'nobody'"):
        export_recommendations(recommender, ["m3", "nobody"], 2, tmp_path / "recs.csv")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("recs.csv", "old")]


def test_a_stop_half_way_leaves_the_older_file_and_nothing_else(
    recommender: attlas.Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*words: Any, **options: Any) -> Iterator[pl.DataFrame]:
        yield blocks(*words, **options).__next__()
        raise KeyboardInterrupt

    blocks = recommender.recommend_blocks
    monkeypatch.setattr(recommender, "recommend_blocks", stopping)
    (tmp_path / "recs.parquet").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        export_recommendations(recommender, None, 2, tmp_path / "recs.parquet")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("recs.parquet", "old")]


def test_a_place_that_cannot_be_written_to_is_named(recommender: attlas.Recommender, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match=r"could not write .*recs\.csv"):
        export_recommendations(recommender, ["m3"], 2, tmp_path / "file" / "recs.csv")


@EVERY_KIND
def test_nobody_asked_for_is_a_file_without_rows(kind: str, recommender: attlas.Recommender, tmp_path: Path) -> None:
    assert export_recommendations(recommender, [], 5, tmp_path / f"recs.{kind}") == 0
    assert (tmp_path / f"recs.{kind}").is_file()


def test_progress_counts_users_block_by_block(recommender: attlas.Recommender, tmp_path: Path) -> None:
    class Counting(Teller, Bar):
        done: list[int]

        def bar(self, label: str, total: int) -> Any:
            self.done = []
            self.total = total
            return self

        def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
            self.done.append(done)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    counting = Counting()
    export_recommendations(recommender, None, 2, tmp_path / "recs.csv", tell=counting)
    assert (counting.done, counting.total) == ([12, 24, 36, 48, 60, 72, 80], 80)
