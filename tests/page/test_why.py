"""The page of one explanation."""

from __future__ import annotations

from pathlib import Path

import pytest

from attlas.explanation import Explanation
from attlas.page.why import write_why
from tests.page.html import HOSTILE, LOADING, Elements
from tests.page.test_report import pick
from tests.toy import fitted


@pytest.mark.parametrize("name", ["ease", "delf", "mf", "dacr", "fm", "aimf", "popularity"])
def test_every_kind_of_reasons_is_drawn_and_written_down_on_a_page(name: str, tmp_path: Path) -> None:
    why = fitted(name).explain("u4", "i4")
    assert write_why(why, tmp_path / "why.html") == []
    text = (tmp_path / "why.html").read_text()
    page = Elements(text)
    assert why.sentence() in "".join(page.words)
    assert page.count("tr") == 1 + why.reasons.height
    assert "Do it again" not in text, "a heading over nothing"
    assert not [attributes for _, attributes in page.found for name in LOADING & set(attributes) if attributes[name][:1] != "#"]


def test_titles_are_shown_letter_by_letter_and_never_become_markup(tmp_path: Path) -> None:
    tags = []
    for title in ("Alien", HOSTILE):
        why: Explanation = pick(title, [0.5, 0.3, 0.2]).why
        write_why(why, tmp_path / "why.html")
        page = Elements((tmp_path / "why.html").read_text())
        tags.append([tag for tag, _ in page.found])
        assert title in "".join(page.words)
    assert tags[0] == tags[1]
