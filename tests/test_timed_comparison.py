"""Comparisons by the clock: what two finished ones say alike, and a command that is killed and begun again."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
timed: Any = importlib.import_module("compare")
machine: Any = importlib.import_module("machine")


def finished(folder: Path, *, seconds: float, winner: str = "ease", trials: int = 2) -> Path:
    """A folder with the JSON of a comparison."""
    contender = {
        "name": "ease",
        "run": str(folder / "ease/run"),
        "search_seconds": seconds,
        "settings": {"training": {"memory": None, "seed": 1}},
        "trials": [{"number": number, "value": 0.5, "seconds": seconds} for number in range(trials)],
    }
    folder.mkdir()
    found = {"winner": winner, "contenders": [contender], "seconds": seconds, "data": {"source": str(folder), "users": 4}}
    (folder / "comparison.json").write_text(json.dumps(found))
    return folder


def test_seconds_and_places_are_not_of_the_table(tmp_path: Path) -> None:
    one, other = (timed.table_of(finished(tmp_path / name, seconds=seconds)) for name, seconds in (("one", 1.0), ("two", 2.0)))
    assert one == other
    assert timed.digest(one) == timed.digest(other)
    assert one["contenders"][0]["trials"] == [{"number": 0, "value": 0.5}, {"number": 1, "value": 0.5}]


def test_what_differs_is_named_with_both_values(tmp_path: Path) -> None:
    one = timed.table_of(finished(tmp_path / "one", seconds=1.0))
    other = timed.table_of(finished(tmp_path / "two", seconds=1.0, winner="mf", trials=1))
    first, second = timed.differences(one, other)
    assert first == "winner: 'ease' / 'mf'"
    assert second.startswith("contenders.0.trials: [")
    assert list(timed.differences({"a": 1}, {})) == ["a: 1 / 'absent'"]


@pytest.mark.parametrize(("winner", "code", "said"), [("ease", 0, "the same table, "), ("mf", 1, "winner: 'ease' / 'mf'")])
def test_two_folders_are_held_against_each_other(
    winner: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [finished(tmp_path / "one", seconds=1.0), finished(tmp_path / "two", seconds=2.0, winner=winner)]
    monkeypatch.setattr(sys, "argv", ["compare.py", "same", *map(str, folders)])
    assert timed.main() == code
    assert capsys.readouterr().out.startswith(said)


def test_a_folder_without_a_finished_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no finished comparison"):
        timed.table_of(tmp_path)


def test_a_command_is_killed_at_its_moments_and_begun_again_until_it_ends(tmp_path: Path) -> None:
    begun = tmp_path / "begun.txt"
    steps = f"begun = open({str(begun)!r}, 'a+'); begun.write('x'); begun.flush(); begun.seek(0)"
    child = f"import time; {steps}; time.sleep(0 if len(begun.read()) > 2 else 60)"
    first, second, last = timed.run_killed([sys.executable, "-c", child], [2.0, 2.0, 30.0], tmp_path / "out.stretches.json")
    assert min(first, second) >= 2
    assert last < 30
    assert begun.read_text() == "xxx"  # the third ended by itself, and was not begun again


def test_what_was_killed_itself_goes_on_with_the_moments_that_are_left(tmp_path: Path) -> None:
    told, log = tmp_path / "out.stretches.json", tmp_path / "out.log"
    told.write_text(json.dumps({"begun": 1000.0, "seconds": [300]}))
    log.write_text("trial 3\n")
    os.utime(log, (1400.0, 1400.0))
    before = timed.run_killed([sys.executable, "-c", "print('trial 4')"], [300.0, 500.0, 30.0], told)[:-1]
    assert before == [300, 400]
    assert log.read_text() == "trial 3\ntrial 4\n"


def test_a_command_that_fails_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"exit code 3; .*said\.log says why"):
        timed.run_killed([sys.executable, "-c", "raise SystemExit(3)"], [], tmp_path / "said.stretches.json")


def test_a_measurement_begins_with_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTLAS_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="ml-1m-ncf is not there"):
        timed.measure(timed.LADDER, tmp_path / "out")
    (tmp_path / "ml-1m-ncf").mkdir()
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit, match="begins with nothing"):
        timed.measure(timed.LADDER, tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own counts, Linux only")
def test_a_spell_counts_children_as_its_own_if_it_is_told_to(tmp_path: Path) -> None:
    work = "import time\nwhile time.process_time() < 1.0: pass"
    spells = [machine.Spell(with_children=told) for told in (False, True)]
    with spells[0], spells[1]:
        timed.run_killed([sys.executable, "-c", work], [], tmp_path / "said.stretches.json")
    assert spells[0].cpu < 1.0 <= spells[1].cpu
