from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from attlas.evaluation.breakdown import Breakdown
from attlas.evaluation.report import Mean
from attlas.explanation import Explanation
from attlas.page.cards import Person, Pick
from attlas.page.charts import Chart, by_group, intervals, learning_curve, looks_of, places, quality_against_seconds
from attlas.page.report import Page, render, write_page
from attlas.page.standings import Entry
from attlas.training.journal import Epoch
from tests.page.html import HOSTILE, LOADING, Elements, painted
from tests.page.rows import entry_of


def pick(title: str, weights: list[float], method: str = "attention") -> Pick:
    history = pl.DataFrame({"item": [f"i{n}" for n in range(len(weights))], "title": [title] * len(weights), "weight": weights})
    return Pick(
        "f1",
        title,
        1.0,
        Explanation("f1", title, 1.0, "known user", method, history, are_shares=method == "attention"),
        facts=title,
        note=title,
    )


def charts_of(name: str, entries: list[Entry]) -> list[Chart]:
    means = [Mean(0.2, 0.1, 0.3), Mean(0.3, 0.2, 0.4)]
    looks = looks_of(entries)
    groups = Breakdown([name, "more"], [3, 4], {entry.name: means for entry in entries})
    labels = {"heading": name, "words": name}
    return [
        intervals(entries, "ndcg@10", words=name),
        quality_against_seconds(entries, "ndcg@10", words=name),
        learning_curve(entries[0], "ndcg@10", others=entries[1:2], look=looks[entries[0].name], words=name),
        by_group(groups, looks, "ndcg@10", axis=f"{name} axis", counted="users", **labels),
        places({entry.name: (means[0], means[1]) for entry in entries}, looks, axes=(f"{name} across", f"{name} up"), **labels),
    ]


def page_about(name: str) -> Page:
    curve = (Epoch(1, 0.6, 0.1, 1.0), Epoch(2, 0.5, 0.2, 1.0))
    entries = [entry_of(name, [0.2, 0.4], curve=curve), entry_of("EASE", [0.1, 0.3])]
    entries.append(entry_of(f"{name} truth", [0.8, 0.9], is_reference=True))
    person = Person(name, name, name, {name: [pick(name, [0.5, 0.3, 0.1, 0.06, 0.04]), pick(name, [], "popularity")]})
    return Page(
        kicker=name, title=name, answer=name, introduction=[name], facts={name: name}, entries=entries, metrics=["ndcg@10"],
        charts={name: charts_of(name, entries)}, people=[person], people_words=name, notes={name: name}, commands={name: name},
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert write_page(page_about("DELF"), path) == []
    return path.read_text(encoding="utf-8")


def test_the_page_loads_nothing_from_anywhere(written: str) -> None:
    for tag, attributes in Elements(written).found:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
        for name in LOADING & set(attributes):
            assert str(attributes[name]).startswith("#"), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", written, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_page_forbids_itself_to_fetch_and_to_run_scripts_that_are_not_its_own(written: str) -> None:
    policies = [found["content"] for tag, found in Elements(written).found if "http-equiv" in found and tag == "meta"]
    assert len(policies) == 1
    policy = dict(part.split(" ", 1) for part in str(policies[0]).split("; "))
    assert policy["default-src"] == "'none'"
    assert re.fullmatch(r"('sha256-[\w+/=]+' ?){2}", policy["script-src"])


def test_the_drawing_library_is_in_the_page_once(written: str) -> None:
    assert Elements(written).count("script") == 3  # the figures, the library, the page's own few lines
    assert written.count("* plotly.js v") == 1


@pytest.mark.parametrize("library", ["", "/* a library */"])
def test_text_from_data_never_becomes_markup(library: str) -> None:
    harmless, hostile = (Elements(render(page_about(name), library=library)) for name in ("DELF", HOSTILE))
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in harmless.found]
    assert not any(name.startswith("on") for _, attributes in hostile.found for name in attributes)


def test_text_from_data_is_shown_letter_by_letter() -> None:
    words = "".join(Elements(render(page_about(HOSTILE))).words)
    assert words.count(HOSTILE) > 20


def test_names_in_charts_are_no_markup_for_plotly_either() -> None:
    entries = [entry_of("<a href='http://elsewhere'>x</a>", [0.2, 0.3]), entry_of("b", [0.1, 0.2])]
    drawn = repr(intervals(entries, "ndcg@10", words="").figure) + repr(
        quality_against_seconds(entries, "ndcg@10", words="").figure
    )
    assert "<a" not in drawn
    assert "&lt;a" in drawn


def test_without_plotly_the_page_has_its_tables_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    missing = write_page(page_about("DELF"), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(missing) == 1
    assert "pip install 'attlas[report]'" in missing[0]
    shown = Elements(text)
    assert missing[0] in "".join(shown.words)
    assert shown.count("table") == 6
    assert text.count("<details open><summary>The numbers</summary>") == 5
    assert 'class="chart"' not in text


def test_every_chart_has_words_for_those_who_do_not_see_it_and_a_table_of_its_numbers(written: str) -> None:
    drawn = [attributes for _, attributes in Elements(written).found if attributes.get("class") == "chart"]
    assert len(drawn) == 5
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawn)
    assert Elements(written).count("figure") == 5
    assert written.count("<summary>The numbers</summary>") == 5


def test_headings_descend_without_a_gap(written: str) -> None:
    levels = [int(tag[1]) for tag, _ in Elements(written).found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


@pytest.mark.parametrize("place", range(5))
def test_plotly_accepts_each_figure(place: int) -> None:
    graph_objects: Any = pytest.importorskip("plotly.graph_objects")
    figure = page_about("DELF").charts["DELF"][place].figure

    drawn = graph_objects.Figure(painted(figure))  # raises for a property or value that plotly does not know
    assert len(drawn.data) == len(figure["data"]) > 0


def test_each_colour_that_a_figure_names_is_one_of_the_page(written: str) -> None:
    figures = re.search(r'id="figures">(.*?)</script>', written, re.DOTALL)
    assert figures is not None
    named = set(re.findall(r"var\((--[\w-]+)\)", figures[1]))
    assert named
    assert all(f"{name}:" in written for name in named)


@pytest.mark.parametrize("change", [lambda page: replace(page, people=[]), lambda page: replace(page, charts={})])
def test_a_page_without_people_or_charts_is_still_a_page(change: Callable[[Page], Page]) -> None:
    assert "</html>" in render(change(page_about("DELF")))


def test_reasons_beyond_the_heaviest_are_counted_and_weighed_together() -> None:
    heaviest, (others, weight) = pick("t", [0.5, 0.3, 0.1, 0.06, 0.04]).heaviest(3)
    assert [weight for _, weight in heaviest] == [0.5, 0.3, 0.1]
    assert others == 2
    assert weight == pytest.approx(0.1)
