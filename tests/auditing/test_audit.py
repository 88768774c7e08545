"""One audit of whatever there is, in Python and on the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import attlas
from attlas.auditing.audit import Audit, audit
from attlas.auditing.finding import Finding
from attlas.auditing.measuring import Bench, popular
from attlas.data.split import Split
from attlas.errors import ArtefactError, ConfigError, DataError
from attlas.experiment import Experiment
from attlas.loading import DataConfig
from attlas.telling import Teller
from attlas.trial import Trial
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


def test_a_column_of_keys_that_nobody_reads_is_no_warning(tmp_path: Path) -> None:
    rows = club().to_frame()
    rows.with_columns(pl.int_range(len(rows)).alias("event")).write_csv(tmp_path / "rows.csv")
    named = DataConfig(split="leave-last-out", user="user", item="item", time="time")
    found = audit(tmp_path / "rows.csv", config=named)
    assert "key-column" in codes(found)
    assert found.worst == "info"


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


def test_of_drawn_users_too_a_number_that_is_far_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attlas.auditing.measuring.CELLS", 1)  # a hundred of the 150 users are affordable
    split = attlas.split(club(5, 150), "leave-last-out")
    made = fitted("ease", split)
    assert "not-reproduced" not in codes(audit(made, data=split))
    made.card["reports"][0]["means"]["ndcg@10"] += 0.4
    (found,) = [one for one in audit(made, data=split).findings if one.code == "not-reproduced"]
    assert "(full, 100 users)" in found.sentence


def test_where_no_drawn_user_has_a_hit_a_small_number_may_still_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attlas.auditing.measuring.CELLS", 1)
    split = attlas.split(club(5, 150), "leave-last-out")
    bench = Bench(popular(split.train), split, ("full",))
    report = bench.report("full")
    assert report is not None
    report.per_user["hr@10"][:] = 0.0
    assert 0.01 < bench.chance("full", "hr@10", 0.01) < 0.05
    assert bench.chance("full", "hr@10", 0.9) < 0.2


def test_a_model_of_ratings_is_audited_by_its_error() -> None:
    split = attlas.split(club(), "global-ratio")
    found = audit(attlas.fit(split, "biased_mf", config={"embedding_dim": 2}, epochs=2), data=split)
    assert found.worst == "info"


def of_ratings(split: Split) -> Audit:
    return audit(attlas.fit(split, "biased_mf", config={"embedding_dim": 2}, epochs=2), data=split)


def test_effects_on_a_model_of_ratings_are_in_its_own_error() -> None:
    split = attlas.split(club(), "global-ratio")
    rare = split.test.item == split.test.item[0]
    cold = replace(split, train=split.train.take(split.train.item != split.test.item[0]))
    found = {finding.code: finding for finding in of_ratings(cold).findings}
    assert found["cold-test-items"].size == rare.mean()
    assert re.fullmatch(r"biased_mf: rmse \d\.\d{4} -> \d\.\d{4} without them \(rating\)", str(found["cold-test-items"].effect))
    assert "future-of-others" in found
    assert not [each.code for each in found.values() if re.search("ndcg|full|popularity:", str(each.effect))]


def test_before_a_model_of_ratings_is_trained_nothing_is_measured_for_it() -> None:
    split = attlas.split(club(), "global-ratio")
    cold = replace(split, train=split.train.take(split.train.item != split.test.item[0]))
    found = {finding.code: finding for finding in audit(Experiment.of({"model": {"name": "biased_mf"}}), data=cold).findings}
    assert found["cold-test-items"].effect is None
    assert not [each.code for each in found.values() if re.search("ndcg|full|popularity:", str(each.effect))]


def test_a_fit_whose_best_epoch_was_its_last_was_still_rising() -> None:
    made = fitted("mf", clean(), epochs=2)
    assert made.card["training"]["valid"]["epoch"] == 2
    assert "still-rising" in codes(audit(made, data=clean()))


def test_epochs_that_a_search_chose_say_nothing_of_rising() -> None:
    made = fitted("mf", clean(), epochs=2, chosen=True)
    assert made.card["training"]["valid"]["epoch"] == 2
    assert "still-rising" not in codes(audit(made, data=clean()))


def test_epochs_that_a_validation_elsewhere_chose_say_nothing_of_rising() -> None:
    experiment = Experiment.of({"model": {"name": "mf", "embedding_dim": 4}, "training": {"epochs": 2}})
    made = Trial(experiment, clean(), None, Teller()).repeat({"metric": "ndcg@10", "value": 0.5, "epoch": 2})
    assert made.card["training"]["chosen"] is True
    assert "still-rising" not in codes(audit(made, data=clean()))


@pytest.mark.parametrize("name", ["delf", "drnet"])
def test_healthy_attention_is_described_and_not_called_collapsed(name: str) -> None:
    found = codes(audit(fitted(name, clean()), data=clean()))
    assert "attention-entropy" in found
    assert "collapsed-attention" not in found


def test_of_a_comparison_its_runs_are_named(runs: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    (tmp_path / "plan.json").write_text("{}")
    assert f"it has no run yet: attlas compare --resume {tmp_path}" in command("audit", tmp_path).err
    for place in ("winner", "ease/run"):
        shutil.copytree(runs / "ease", tmp_path / place)
    said = command("audit", tmp_path)
    assert said.code == 2
    assert said.err == (
        f"attlas: {tmp_path} is a comparison of many models; audit one of its runs: "
        f"{tmp_path / 'winner'}, {tmp_path / 'ease/run'}\n"
    )
    assert command("audit", tmp_path / "ease/run").code == 0


@pytest.mark.parametrize("table", ["[compare]", "[contenders.plain.model]"])
def test_of_settings_of_a_comparison_the_data_and_their_split_are_audited(table: str, club_files: Path, tmp_path: Path) -> None:
    data, toml = str(club_files / "ratings.csv"), tmp_path / "compare.toml"
    toml.write_text(f'[data]\nsource = "{data}"\nsplit = "user-ratio"\n{table}\n')
    found = audit(toml)
    assert found.subject == str(toml)
    assert "own-future" in codes(found)
    assert found.findings == audit(data, config=DataConfig(split="user-ratio")).findings


def test_unknown_settings_of_a_comparisons_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "compare.toml").write_text('[data]\nsorce = "ratings.csv"\n[compare]\n')
    with pytest.raises(ConfigError, match=r"\[data\] has no setting 'sorce'; did you mean 'source'"):
        audit(tmp_path / "compare.toml")


def test_eighty_columns_hold_every_finding_whole(
    given_files: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = command("audit", "--data", given_files, "--json").json["findings"]
    out = command("audit", "--data", given_files).out
    blocks = [block.splitlines() for block in out.split("\n\n")[:-1]]
    assert len(found) == len(blocks) > 1
    for finding, (head, *body) in zip(found, blocks, strict=True):
        effect = f"effect: {finding['effect']} " if finding["effect"] else ""
        assert head == f"{finding['severity']}  {finding['code']}"
        assert all(line.startswith("    ") and len(line) <= 80 for line in body)
        assert " ".join(" ".join(body).split()) == f"{finding['sentence']} {effect}to do: {finding['advice']}"


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
    assert {"attention-entropy", "label-from-length", "popularity-lists"} <= set(found)
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
