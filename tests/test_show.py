"""What stands on stdout for people: as it is spelled, and as wide as there is room."""

from __future__ import annotations

import pytest

from attlas.cli.show import show_blocks, show_table


def test_brackets_in_data_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[/]", "[bold]Alien[/bold]", "rank[1]", ":star:"]
    show_table([{"[i]title": name} for name in names], ["[i]title"])
    said = capsys.readouterr().out
    assert all(name in said for name in ["[i]title", *names])


def test_numbers_stand_to_the_right_with_four_digits(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([{"score": 0.5}, {"score": 12.25}, {"score": None}], ["score"])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()[3:5]] == ["   0.5000", "  12.2500"]


@pytest.mark.parametrize(("columns", "width"), [(None, 140), ("60", 60), ("0", 140), ("wide", 140)])
def test_what_is_piped_is_as_wide_as_columns_says(
    columns: str | None, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    show_table([{"word": "x" * 500}], ["word"])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) == width


def test_a_block_is_indented_and_wrapped_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "16")
    show_blocks([("info  [code]", ["one two three four", "five"])])
    assert capsys.readouterr().out == "info  [code]\n    one two\n    three four\n    five\n\n"
