"""One audit of whatever there is, in Python and on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attlas
from attlas.auditing.audit import Audit, audit
from attlas.auditing.finding import Finding
from attlas.errors import ArtefactError, ConfigError, DataError
from attlas.loading import DataConfig
from tests.auditing.clean import clean, club, fitted


def codes(found: Audit) -> set[str]:
    return {finding.code for finding in found.findings}


def finding(severity: Any) -> Finding:
    return Finding("code", severity, "rows", "seen", 1.0, None, "do")


def test_the_worst_of_nothing_is_none_and_an_audit_says_how_many_it_found() -> None:
    assert Audit("data", ()).worst is None
    assert not Audit("data", ()).reaches("info")
    found = Audit("data", (finding("warning"), finding("info"), finding("info")))
    assert found.worst == "warning"
    assert found.reaches("info")
    assert not found.reaches("error")
    assert found.sentence() == "data: 1 warning, 2 infos"
    assert Audit("data", ()).sentence() == "data: nothing found"


def test_the_worst_findings_come_first(given_files: Path) -> None:
    order = ["error", "warning", "info"]
    found = [finding.severity for finding in audit(given_files).findings]
    assert "warning" in found
    assert found == sorted(found, key=order.index)


def test_interactions_are_split_and_looked_at_before_and_after() -> None:
    found = audit(club(), config=DataConfig(split="user-ratio"))
    assert found.subject == "Interactions"
    assert {"own-future", "future-of-others"} <= codes(found)


def test_a_split_is_looked_at_as_it_is() -> None:
    assert "sampled-candidates" in codes(audit(clean()))


def test_a_table_is_looked_at_as_it_was_written(tmp_path: Path) -> None:
    rows = club().to_frame()
    rows.vstack(rows.head(30)).write_csv(tmp_path / "rows.csv")
    found = audit(tmp_path / "rows.csv")
    assert "copies" in codes(found)
    assert found.worst == "warning"


def test_a_frame_is_read_like_a_table() -> None:
    rows = club().to_frame()
    assert "copies" in codes(audit(rows.vstack(rows.head(30))))


def test_a_validation_file_that_is_the_test_is_an_error(given_files: Path, tmp_path: Path) -> None:
    shutil.copytree(given_files, tmp_path / "club")
    shutil.copy(tmp_path / "club/club.test.rating", tmp_path / "club/club.valid.rating")
    found = audit(tmp_path / "club")
    (same,) = [finding for finding in found.findings if finding.severity == "error"]
    assert same.code == "validation-is-test"
    assert same.sentence == "club.valid.rating is club.test.rating again, byte by byte"


def test_a_recommender_is_audited_with_the_data_it_was_made_from() -> None:
    found = audit(fitted("ease", clean()), data=clean())
    assert found.subject == "ease"
    assert "popularity-lists" in codes(found)


def test_a_recommender_made_from_other_data_is_refused() -> None:
    with pytest.raises(ArtefactError, match="not those that ease was trained on"):
        audit(fitted("ease", clean()), data=clean("user-ratio"))


def test_a_recommender_made_in_memory_needs_its_data() -> None:
    with pytest.raises(ConfigError, match="pass them again as data"):
        audit(fitted("ease", clean()))


def test_data_beside_data_are_refused() -> None:
    with pytest.raises(ConfigError, match="data goes with a run or with settings"):
        audit(club(), data=club())


def test_a_model_of_ratings_is_audited_by_its_error() -> None:
    split = attlas.split(club(), "global-ratio")
    found = audit(attlas.fit(split, "biased_mf", config={"embedding_dim": 2}, epochs=2), data=split)
    assert found.worst == "info"


def test_a_run_that_was_trained_on_all_rows_is_refused(tmp_path: Path) -> None:
    club().to_frame().write_csv(tmp_path / "rows.csv")
    attlas.fit(str(tmp_path / "rows.csv"), "popularity", out=tmp_path / "run")
    attlas.fit_final(tmp_path / "run", out=tmp_path / "final")
    with pytest.raises(ArtefactError, match=r"has no number to audit; audit .*run"):
        audit(tmp_path / "final")


def test_a_run_is_audited_on_the_command_line(runs: Path, command: Callable[..., Any]) -> None:
    said = command("audit", runs / "delf", "--json")
    assert said.code == 0
    found = {finding["code"]: finding for finding in said.json["findings"]}
    assert {"collapsed-attention", "label-from-length", "popularity-lists"} <= set(found)
    assert said.json["subject"] == str(runs / "delf")
    assert set(found["label-from-length"]) == {"code", "severity", "subject", "sentence", "size", "effect", "advice"}


def test_a_table_is_audited_on_the_command_line(club_files: Path, command: Callable[..., Any]) -> None:
    said = command("audit", "--data", club_files / "ratings.csv", "--split", "leave-last-out")
    assert said.code == 0
    assert "future-of-others" in said.out
    assert said.out.splitlines()[-1].startswith(f"{club_files / 'ratings.csv'}: ")


def test_settings_are_audited_before_anything_is_trained(club_files: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    toml = tmp_path / "delf.toml"
    toml.write_text(
        f'[data]\nsource = "{club_files / "ratings.csv"}"\nvalidation = "none"\n[model]\nname = "delf"\nleave_out = "keep"\n'
    )
    said = command("audit", toml, "--json")
    assert said.code == 0
    assert {"keeps-target", "blind-epochs"} <= {found["code"] for found in said.json["findings"]}


@pytest.mark.parametrize(
    ("fault", "fail_on", "code"),
    [
        ("error", "error", 1),
        ("error", "warning", 1),
        ("error", "never", 0),
        ("warning", "error", 0),
        ("warning", "warning", 1),
        (None, "warning", 0),
    ],
)
def test_the_exit_code_says_whether_the_worst_reaches_what_is_asked(
    fault: str | None, fail_on: str, code: int, given_files: Path, club_files: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    if fault is None:
        source = club_files / "ratings.csv"
    else:
        source = tmp_path / "club"
        shutil.copytree(given_files, source)
        if fault == "error":
            shutil.copy(source / "club.test.rating", source / "club.valid.rating")
    said = command("audit", "--data", source, "--fail-on", fail_on, "--json")
    assert said.json["worst"] == fault
    assert said.code == code


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing to audit; give a run folder, a TOML file, or --data"),
        (["nowhere.toml"], "cannot read nowhere.toml"),
        (["--data", "nowhere.csv"], "there is no file nowhere.csv"),
        (["configs/delf-film-club.toml", "--split", "user-ratio"], "leave out split"),
        (["--data", "nowhere.csv", "--fail-on", "info"], "--fail-on"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], sentence: str, command: Callable[..., Any]) -> None:
    said = command("audit", *words)
    assert said.code == 2
    assert said.out == ""
    assert sentence in said.err


def test_findings_are_json(tmp_path: Path) -> None:
    found = audit(clean())
    assert json.loads(json.dumps(found.to_dict()))["worst"] == found.worst


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError):
        audit(tmp_path / "empty.csv")
