from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attlas.errors import ConfigError
from attlas.evaluation.comparison import Comparison, Skipped
from attlas.evaluation.report import Overall
from attlas.evaluation.rows import RowReport
from attlas.page.charts import Chart, looks_of
from attlas.page.comparison import comparison_frame, write_comparison
from attlas.page.frame import render_frame
from attlas.page.ladder import seconds_text
from attlas.page.progress import learning_curves, trials
from attlas.page.results import answer, chosen, deciding_pairs, near_best, standings
from attlas.page.standings import Entry
from attlas.telling import Bar, Teller
from attlas.training.journal import Epoch
from tests.comparing.made import comparison, contender, drawn, pair, report
from tests.page.html import HOSTILE, LOADING, Elements, painted
from tests.page.rows import report_of

NAN = float("nan")


def three() -> Comparison:
    """delf 0.42, ease 0.40 and popularity 0.30 by hand; delf and ease are not told apart."""
    contenders = [
        contender("popularity", {"full": report({"ndcg@10": [0.2, 0.4]})}, is_baseline=True, valid=0.31),
        contender("ease", {"full": report({"ndcg@10": [0.3, 0.5]})}, is_baseline=True, valid=0.44),
        contender(
            "delf", {"full": report({"ndcg@10": [0.3, 0.52]})}, {"full": report({"ndcg@10": [0.4, 0.46]})}, valid=0.43
        ),
    ]  # fmt: skip
    pairs = [
        pair("ease", "popularity", 1 / 3, is_significant=True),
        pair("delf", "popularity", 0.4, is_significant=True),
        pair("delf", "ease", 0.05, is_significant=False),
    ]
    return comparison(contenders, pairs)


def shown(found: Comparison, **more: Any) -> str:
    return render_frame(comparison_frame(found, **more))


def charts_of(found: Comparison) -> list[Chart]:
    return [part for section in comparison_frame(found).sections for part in section.parts if isinstance(part, Chart)]


def table(text: str, label: str) -> str:
    """The table in the region of this label."""
    found = re.search(rf'aria-label="{re.escape(label)}"><table[^>]*>(.*?)</table>', text, re.DOTALL)
    assert found is not None, f"no table {label!r}"
    return found[1]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert write_comparison(drawn(8), path, commands={"attlas compare rows.csv": "does it again"}) == []
    return path.read_text(encoding="utf-8")


def test_the_answer_says_who_is_best_and_whether_that_is_sure_against_the_next() -> None:
    said = answer(three())
    assert said.startswith("delf ranks best with NDCG@10 0.4200 (95 % interval ")
    assert "delf is above ease by 5.0 % ± 1.2 %: not significant (NDCG@10 by 0.0200, " in said


def test_the_answer_of_one_contender_has_no_rival() -> None:
    alone = comparison([contender("ease", {"full": report({"ndcg@10": [0.4, 0.4]})})])
    assert answer(alone) == "ease ranks best with NDCG@10 0.4000 (95 % interval 0.4000 to 0.4000)."


def test_the_validation_winner_is_named_with_what_it_reached_even_if_another_is_best_on_test() -> None:
    assert chosen(three()) == (
        "ease has the best validation NDCG@10, 0.4400, and reached NDCG@10 0.4000 on the test part, place 2 of 3 "
        "(protocol full)."
    )


def test_the_pairs_that_decide_are_the_best_against_the_next_and_all_others_against_the_best_baseline() -> None:
    found = drawn(8)
    names = [(one.above, one.below) for one in deciding_pairs(found)]
    assert names == [("delf", "nais"), ("delf", "slim"), ("nais", "slim")]


def test_who_is_not_significantly_below_the_best_is_near_it() -> None:
    assert near_best(three()) == {"ease"}


def test_the_table_of_a_protocol_is_ranked_by_its_own_numbers() -> None:
    both = [
        contender("a", {"full": report({"ndcg@10": [0.5]}), "ncf": report({"ndcg@10": [0.6]}, "ncf")}),
        contender("b", {"full": report({"ndcg@10": [0.4]}), "ncf": report({"ndcg@10": [0.7]}, "ncf")}),
    ]
    found = comparison(both, protocols=("full", "ncf"))
    assert [line.name for line in standings(found, "full").lines] == ["a", "b"]
    assert [(line.rank, line.name) for line in standings(found, "ncf").lines] == [(1, "b"), (2, "a")]


def test_numbers_of_different_codes_are_refused_in_one_table() -> None:
    mixed = [
        contender("a", {"full": report({"ndcg@10": [0.5]}, split="leave-last-out")}),
        contender("b", {"full": report({"ndcg@10": [0.4]}, split="global-time")}),
    ]
    with pytest.raises(
        ConfigError, match=r"share one code, got \(full, global-time, test\) and \(full, leave-last-out, test\)"
    ):
        standings(comparison(mixed), "full")


def test_each_protocol_has_a_table_of_its_own(written: str) -> None:
    full, ncf = (table(written, f"Standings under {protocol}") for protocol in ("full", "ncf"))
    best = {protocol: standings(drawn(8), protocol).best("ndcg@10") for protocol in ("full", "ncf")}
    assert f"<strong>{best['full']:.4f}</strong>" in full
    assert f"{best['full']:.4f}" not in ncf
    assert f"<strong>{best['ncf']:.4f}</strong>" in ncf
    assert f"{best['ncf']:.4f}" not in full
    assert "These numbers do not compare with those of protocol full." in written


def test_a_corrected_metric_stands_beside_the_sampled_one_and_is_explained(written: str) -> None:
    assert "NDCG@10 corrected" in table(written, "Standings under ncf")
    assert "corrected" not in table(written, "Standings under full")
    assert "Krichene and Rendle" in written


def test_metrics_at_other_cut_offs_and_descriptions_have_tables_of_their_own(written: str) -> None:
    assert "NDCG@20" in table(written, "Further metrics under full")
    assert "NDCG@20" not in table(written, "Standings under full")
    lists = table(written, "Lists under full")
    assert "Novelty@10" in lists
    assert "<strong>" not in lists


def test_the_table_marks_the_best_the_near_the_baselines_and_the_winner() -> None:
    text = table(shown(three()), "Standings under full")
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in text.split("<tr>")[2:]]
    assert rows[0][:6] == ["1", "delf", "0.4200", "±", "0.0141", "0.3500"]
    assert rows[1][:7] == ["2", "ease", "†", "baseline,", "best", "on", "validation"]
    assert rows[2][:4] == ["3", "popularity", "baseline", "0.3000"]
    assert re.findall(r"<strong>(.*?)</strong>", text) == ["0.4200"]


def test_who_did_not_take_part_is_named_with_the_reason() -> None:
    said = shown(comparison(three().contenders, skipped=(Skipped("expomf", "expomf", "it would take 41 minutes"),)))
    assert "<strong>expomf</strong>: it would take 41 minutes" in said


def test_a_metric_that_a_contender_lacks_is_a_dash() -> None:
    found = comparison(
        [
            contender("a", {"full": report({"ndcg@10": [0.5, 0.5], "auc": [NAN, NAN]})}),
            contender("b", {"full": report({"ndcg@10": [0.4, 0.4], "auc": [0.9, 0.7]})}),
        ]
    )
    text = table(shown(found), "Further metrics under full")
    assert text.count('<td class="number">–</td>') == 1
    assert "<strong>0.8000</strong>" in text


def test_every_pair_is_in_the_matrix_once_and_in_the_table_with_its_interval() -> None:
    text = shown(three())
    cells = re.findall(
        r'<td class="(told-apart|alike)">(.*?)<small>(.*?)</small>', table(text, "How far each model is above each other")
    )
    assert cells == [
        ("alike", "+5.0 %", "p 0.400, n.s."),
        ("told-apart", "+40.0 %", "p 0.003"),
        ("told-apart", "+33.3 %", "p 0.003"),
    ]
    assert "0.0150 to 0.0250" in table(text, "Every pair of models")


def test_what_was_not_tested_is_not_called_a_verdict() -> None:
    made = three()
    pairs = [replace(each, single=("delf",)) if each.above == "delf" else each for each in made.pairs]
    text = shown(replace(made, pairs=tuple(pairs)))
    cells = re.findall(r"<small>(.*?)</small>", table(text, "How far each model is above each other"))
    assert cells == ["not tested", "not tested", "p 0.003"]
    assert table(text, "Every pair of models").count("not tested: delf under one seed") == 2
    assert "† is not significantly below the best NDCG@10, or was not tested against it" in text


def test_findings_show_the_worst_first_and_bear_what_is_missing() -> None:
    text = shown(drawn(8))
    found = re.findall(r'<span class="severity">(\w+)</span> (.*?)</p>', text)
    assert [severity for severity, _ in found] == ["error", "warning", "info", "warning"]
    assert found[3][1] == "The attention is uniform."
    bare = replace(three(), findings=({}, {"sentence": "x", "severity": "dreadful"}, {"code": "tie-mass"}))
    assert [words for _, words in re.findall(r'<span class="severity">(\w+)</span> (.*?)</p>', shown(bare))] == [
        "a finding without words",
        "x",
        "tie-mass",
    ]


def test_the_findings_of_one_model_stand_under_its_name() -> None:
    text = shown(drawn(8))
    assert text.index("<h3>delf</h3>") < text.index("The attention is uniform.")
    assert "1 error, 2 warnings, 1 remark" in text


def test_the_page_says_how_to_go_on_and_how_it_was_measured(written: str) -> None:
    assert "<code>attlas compare rows.csv</code>" in written
    for fact in ("1f0c9a7be2d44a11", "20 trials each", "torch 2.9.1", "988,129 rows to train", "1, 2, 3; one where"):
        assert fact in written


def test_the_page_says_which_intervals_are_no_bootstrap() -> None:
    made = report({"ndcg@10": [0.4, 0.2]})
    lists = replace(made, overall={"coverage@10": Overall(0.5, 0.4, 0.6)})
    said = [shown(comparison([contender("ease", {"full": one})])) for one in (made, lists)]
    assert ["percentile bootstrap over users, of coverage and Gini a jackknife;" in text for text in said] == [False, True]
    assert all("percentile bootstrap over users" in text for text in said)


def test_the_page_loads_nothing_from_anywhere(written: str) -> None:
    for tag, attributes in Elements(written).found:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
        for name in LOADING & set(attributes):
            assert str(attributes[name]).startswith("#"), (tag, attributes)


@pytest.mark.parametrize("library", ["", "/* a library */"])
def test_text_from_data_never_becomes_markup(library: str) -> None:
    def page(name: str) -> Elements:
        found = drawn(8, names=[name], num_users=20)
        hostile = {"code": name, "subject": name, "sentence": name, "effect": name, "advice": name, "size": name}
        found = replace(
            found,
            findings=(hostile,),
            skipped=(Skipped(name, name, name),),
            data=found.data | {"source": name, "split": name, "fingerprint": name},
            budget=name,
            versions={name: name},
        )
        return Elements(render_frame(comparison_frame(found, commands={name: name}), library=library))

    harmless, hostile = page("plain"), page(HOSTILE)
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in harmless.found]
    assert not any(name.startswith("on") for _, attributes in hostile.found for name in attributes)
    assert "".join(hostile.words).count(HOSTILE) > 30


def test_every_chart_has_words_for_those_who_do_not_see_it_and_a_table_of_its_numbers(written: str) -> None:
    pictures = [attributes for _, attributes in Elements(written).found if attributes.get("class") == "chart"]
    assert len(pictures) == 7
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in pictures)
    assert written.count("<summary>The numbers</summary>") == 7


def test_every_table_scrolls_by_itself_and_by_keyboard(written: str) -> None:
    found = Elements(written)
    regions = [attributes for _, attributes in found.found if attributes.get("class") == "scroll"]
    assert len(regions) == found.count("table") > 10
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in regions)


def test_headings_descend_without_a_gap_and_ids_are_unique(written: str) -> None:
    found = Elements(written).found
    levels = [int(tag[1]) for tag, _ in found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_each_colour_that_a_figure_names_is_one_of_the_page(written: str) -> None:
    figures = re.search(r'id="figures">(.*?)</script>', written, re.DOTALL)
    assert figures is not None
    assert all(f"{name}:" in written for name in set(re.findall(r"var\((--[\w-]+)\)", figures[1])))


@pytest.mark.parametrize("place", range(7))
def test_plotly_accepts_each_figure(place: int) -> None:
    graph_objects: Any = pytest.importorskip("plotly.graph_objects")
    figure = charts_of(drawn(20, num_users=20))[place].figure
    assert len(graph_objects.Figure(painted(figure)).data) == len(figure["data"]) > 0


def test_twenty_contenders_all_look_different() -> None:
    looks = looks_of([Entry(f"m{place}", report_of([0.1])) for place in range(20)])
    assert len({(look["color"], look["symbol"]) for look in looks.values()}) == 20
    assert len({look["color"] for look in looks.values()}) == 8


def test_a_value_that_is_not_a_number_leaves_the_figures_readable() -> None:
    tried = ({"number": 0, "settings": {}, "value": NAN, "epoch": None, "seconds": 1.0, "state": "failed"},)
    found = comparison([contender("a", {"full": report({"ndcg@10": [0.5, 0.5]})}, tried=tried)])
    text = render_frame(comparison_frame(found), library="/* a library */")
    figures = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert figures is not None
    assert "NaN" not in figures[1]
    assert json.loads(figures[1])


def test_breakdowns_by_popularity_are_put_together() -> None:
    chart = next(chart for chart in charts_of(drawn(8)) if chart.heading == "By how popular the held-out item is")
    assert [trace["name"] for trace in chart.figure["data"]] == [each.name for each in drawn(8).contenders]
    assert chart.rows[0]["rows"] == "1,510"


def test_the_best_so_far_counts_complete_trials_only() -> None:
    states = ["complete", "pruned", "failed", "complete", "complete"]
    tried = [
        {"number": number, "value": value, "state": state, "settings": {"solver.penalty": 0.5}}
        for number, (value, state) in enumerate(zip([0.2, 0.9, None, 0.1, 0.3], states, strict=True))
    ]
    chart = trials({"a": tried}, {"a": {"color": "#1", "symbol": "circle", "dash": "solid"}}, "ndcg@10")
    line, marks = chart.figure["data"]
    assert line["y"] == [0.2, 0.2, 0.2, 0.2, 0.3]
    assert marks["marker"]["symbol"] == ["circle", "x-thin", "circle", "circle", "circle"]
    assert [row["validation value"] for row in chart.rows] == ["0.2000", "0.9000", "", "0.1000", "0.3000"]
    assert chart.rows[0]["settings"] == "solver.penalty = 0.5"


def test_of_an_error_the_lowest_is_the_best_so_far() -> None:
    tried = [{"number": n, "settings": {}, "value": value, "state": "complete"} for n, value in enumerate((0.5, 0.7, 0.4))]
    chart = trials({"fm": tried}, looks_of([Entry("fm", report_of([0.5]))]), "logloss")
    assert chart.figure["data"][0]["y"] == [0.5, 0.5, 0.4]


def of_rows(name: str, off: float) -> Any:
    """A contender whose predictions of four ratings are off by so much."""
    made = RowReport.of("rating", np.zeros(4), np.full(4, off), np.arange(4))
    return contender(name, {"rating": made}, valid=off)


def test_of_an_error_the_lowest_stands_first_and_is_the_best() -> None:
    found = comparison([of_rows("rough", 0.5), of_rows("fine", 0.25)], metric="rmse", protocols=("rating",))
    table = standings(found, "rating")
    assert [line.name for line in table.lines] == ["fine", "rough"]
    assert table.metrics == ("rmse", "mae")
    assert [table.is_best(line, "rmse") for line in table.lines] == [True, False]
    assert answer(found).startswith("fine predicts best with RMSE 0.2500 (95 % interval 0.2500 to 0.2500)")
    assert [each.name for each in found.ranked] == ["fine", "rough"]


def test_curves_of_different_lengths_share_a_table_and_ring_the_kept_epoch() -> None:
    curve = tuple(Epoch(number, 0.5, value, 1.0) for number, value in ((1, 0.1), (2, 0.3), (3, None)))
    entries = [Entry("a", report_of([0.1]), curve=curve), Entry("b", report_of([0.1]), curve=curve[:1])]
    chart = learning_curves(entries, looks_of(entries), {"a": 2}, "ndcg@10")
    assert chart.figure["data"][0]["marker"]["size"] == [6, 12, 6]
    assert chart.rows == [
        {"epoch": 1, "a": "0.1000", "b": "0.1000"},
        {"epoch": 2, "a": "0.3000", "b": ""},
        {"epoch": 3, "a": "", "b": ""},
    ]


def test_without_curves_searches_and_pairs_their_parts_are_left_out() -> None:
    found = comparison([contender("ease", {"full": report({"ndcg@10": [0.4, 0.2]})})])
    names = [section.name for section in comparison_frame(found).sections]
    assert names == ["standings", "quality", "whom", "audit"]
    assert len(charts_of(found)) == 3


def test_without_plotly_the_page_has_its_tables_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    missing = write_comparison(three(), tmp_path / "report.html")
    assert "pip install 'attlas[report]'" in missing[0]
    assert 'class="chart"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_bar_shows_how_many_intervals_are_left(tmp_path: Path) -> None:
    class Watching(Teller):
        """Notes what a bar was told."""

        def __init__(self) -> None:
            self.told: list[int] = []

        @contextmanager
        def bar(self, label: str, total: int) -> Iterator[Bar]:
            watching = self

            class Noting(Bar):
                def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
                    watching.told.append(done)

            yield Noting()
            assert self.told == list(range(1, total + 1))

    tell = Watching()
    write_comparison(three(), tmp_path / "report.html", tell=tell)
    assert tell.told == [1, 2, 3]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.01, "under 0.1 s"), (59.94, "59.9 s"), (75, "1 min 15 s"), (7265, "2 h 1 min"), (59.97, "60.0 s")]
)
def test_seconds_are_said_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert seconds_text(seconds) == said
