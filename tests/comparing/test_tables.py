from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from attlas.comparing.tables import latex, markdown, rows, sentences, to_dict
from attlas.evaluation.comparison import Comparison, Skipped
from tests.comparing.made import comparison, contender, drawn, pair, report

NAN = float("nan")
AWKWARD = "a_b<c>"


def three(names: tuple[str, str, str] = ("popularity", "ease", "delf")) -> Comparison:
    """delf 0.42 over two seeds, ease 0.40 and popularity 0.30 by hand; delf and ease are not told apart."""
    low, middle, high = names
    contenders = [
        contender(low, {"full": report({"ndcg@10": [0.2, 0.4], "hr@10": [1, 1]})}, is_baseline=True, valid=0.31),
        contender(middle, {"full": report({"ndcg@10": [0.3, 0.5], "hr@10": [1, 0]})}, is_baseline=True, valid=0.44),
        contender(
            high,
            {"full": report({"ndcg@10": [0.3, 0.52], "hr@10": [0, 1]})},
            {"full": report({"ndcg@10": [0.4, 0.46], "hr@10": [0, 1]})},
            valid=0.43,
        ),
    ]
    pairs = [
        pair(middle, low, 1 / 3, is_significant=True),
        pair(high, low, 0.4, is_significant=True),
        pair(high, middle, 0.05, is_significant=False),
    ]
    return comparison(contenders, pairs, skipped=(Skipped("expomf", "expomf", "it would take 41 minutes"),))


def two_protocols() -> Comparison:
    return comparison(
        [
            contender("a", {"full": report({"ndcg@10": [0.5]}), "ncf": report({"ndcg@10": [0.61]}, "ncf")}),
            contender("b", {"full": report({"ndcg@10": [0.4]}), "ncf": report({"ndcg@10": [0.73]}, "ncf")}),
        ],
        protocols=("full", "ncf"),
    )


def test_markdown_shows_the_best_bold_the_near_daggered_and_the_spread_over_seeds() -> None:
    table = markdown(three()).splitlines()
    assert table[0] == "| Model | NDCG@10 | HR@10 | Validation | Trials | Search | One fit |"
    assert table[2] == "| delf | **0.4200** ± 0.0141 | 0.5000 ± 0.0000 | 0.4300 | 0 | – | 1.2 s |"
    assert table[3] == "| ease (baseline) | 0.4000† | 0.5000 | 0.4400 | 0 | – | 1.2 s |"
    assert table[4] == "| popularity (baseline) | 0.3000 | **1.0000** | 0.3100 | 0 | – | 1.2 s |"
    assert "† is not significantly below the best NDCG@10" in table[6]


def test_a_dagger_says_where_nothing_was_tested() -> None:
    made = three()
    pairs = tuple(replace(each, single=("delf",)) if each.above == "delf" else each for each in made.pairs)
    for write in (markdown, latex):
        assert "not tested" not in write(made)
        assert "the best NDCG@10, or was not tested against it" in write(replace(made, pairs=pairs))


def test_values_that_look_alike_are_both_bold() -> None:
    found = comparison(
        [contender(name, {"full": report({"ndcg@10": [value]})}) for name, value in (("a", 0.4), ("b", 0.40000001))]
    )
    assert markdown(found).count("**0.4000**") == 2
    assert latex(found).count(r"\textbf{0.4000}") == 2


def test_a_caption_tells_of_no_mark_that_is_not_there() -> None:
    found = comparison([contender("a", {"full": report({"ndcg@10": [0.4, 0.2]})})])
    assert "†" not in markdown(found)
    assert "standard deviation" not in markdown(found)
    assert "dagger" not in latex(found)
    assert "italics" not in latex(found)


def test_latex_shows_the_same_in_the_manner_of_booktabs() -> None:
    lines = latex(three()).splitlines()
    rows = [line.strip() for line in lines if line.endswith(r"\\")]
    assert rows == [
        r"Model & NDCG@10 & HR@10 & Validation & Trials & Search & One fit \\",
        r"delf & \textbf{0.4200} {\scriptsize$\pm$0.0141} & 0.5000 {\scriptsize$\pm$0.0000} & 0.4300 & 0 & -- & 1.2 s \\",
        r"\textit{ease} & 0.4000$^\dagger$ & 0.5000 & 0.4400 & 0 & -- & 1.2 s \\",
        r"\textit{popularity} & 0.3000 & \textbf{1.0000} & 0.3100 & 0 & -- & 1.2 s \\",
    ]
    caption = next(line for line in lines if "caption" in line)
    assert r"$\dagger$ is not significantly below the best NDCG@10" in caption
    assert "Baselines are in italics." in caption


@pytest.mark.parametrize("made", [three(), two_protocols(), drawn(12, num_users=30)], ids=["three", "two protocols", "twelve"])
def test_every_row_of_a_latex_table_has_as_many_cells_as_the_table_has_columns(made: Comparison) -> None:
    tables = re.findall(r"\\begin\{tabular\}\{(l(r+))\}(.*?)\\end\{tabular\}", latex(made), re.DOTALL)
    assert len(tables) == len(made.protocols)
    for columns, _, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) == 1 + len(made.contenders)
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)


def test_latex_escapes_names_and_closes_what_it_opens() -> None:
    text = latex(three((r"50%_$#{}~^\ & more", "[0.5] *|", AWKWARD)))
    assert r"a\_b\textless{}c\textgreater{} &" in text
    assert r"\textit{50\%\_\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} \& more} &" in text
    assert r"{[}0.5] {*}\textbar{}" in text
    bare = re.sub(r"\\[{}$]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0


def test_markdown_escapes_names_and_keeps_its_columns() -> None:
    table = markdown(three(("*p*", "x|y\nz", AWKWARD))).splitlines()
    assert table[2].startswith(r"| a\_b&lt;c&gt; | **0.4200**")
    assert table[3].startswith(r"| x\|y z (baseline) |")
    assert table[4].startswith(r"| \*p\* (baseline) |")
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in table[:5])


@pytest.mark.parametrize(("write", "end"), [(markdown, "Budget of"), (latex, r"\end{table}")], ids=["markdown", "latex"])
def test_numbers_of_two_protocols_never_share_a_table(write: Callable[[Comparison], str], end: str) -> None:
    full, ncf, _ = write(two_protocols()).split(end)
    assert set(re.findall(r"\d\.\d{4}", full)) == {"0.5000", "0.4000"}  # 0.5 is the validation value too
    assert set(re.findall(r"\d\.\d{4}", ncf)) == {"0.6100", "0.7300"}


def test_rows_for_the_terminal_are_ranked_and_complete() -> None:
    first, second, third = rows(three(), "full")
    assert first == {
        "rank": 1,
        "model": "delf",
        "NDCG@10": "0.4200 ± 0.0141",
        "95 % interval": "0.3500 to 0.4900",
        "HR@10": 0.5,
        "valid": 0.43,
        "trials": 0,
        "fit s": "1.2",
        "search s": "–",
    }
    assert (second["model"], second["NDCG@10"]) == ("ease", "0.4000")
    assert third["rank"] == 3


def test_rows_of_a_protocol_hold_its_own_numbers_in_its_own_order() -> None:
    assert [(row["model"], row["NDCG@10"]) for row in rows(two_protocols(), "ncf")] == [("b", "0.7300"), ("a", "0.6100")]


def test_rows_of_a_sampled_protocol_have_the_corrected_metric() -> None:
    assert "NDCG@10 corrected" in rows(drawn(3, num_users=20), "ncf")[0]
    assert "NDCG@10 corrected" not in rows(drawn(3, num_users=20), "full")[0]


def test_sentences_name_the_winner_the_pairs_that_matter_and_who_was_skipped() -> None:
    assert sentences(three()) == [
        "ease has the best validation NDCG@10, 0.4400, and reached NDCG@10 0.4000 on the test part, place 2 of 3 "
        "(protocol full).",
        "delf is above ease by 5.0 % ± 1.2 %: not significant "
        "(NDCG@10 by 0.0200, 0.0150 to 0.0250 for this pair alone; p 0.4 among all).",
        "expomf did not take part: it would take 41 minutes",
    ]


def test_a_dictionary_survives_json() -> None:
    found = to_dict(drawn(4, num_users=20))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_dictionary_has_each_number_under_its_protocol() -> None:
    found = to_dict(three())
    delf = found["contenders"][2]
    full = delf["reports"]["full"]
    assert full["means"]["ndcg@10"] == pytest.approx(0.42)
    assert full["intervals"]["ndcg@10"] == pytest.approx([0.35, 0.49])
    assert full["by_seed"]["ndcg@10"] == pytest.approx([0.41, 0.43])
    assert full["spread"]["ndcg@10"] == pytest.approx(np.sqrt(2) * 0.01)
    assert full["code"] == "full, leave-last-out, test"
    assert delf["seeds"] == [1, 2]
    assert found["contenders"][0]["reports"]["full"]["spread"] == {"ndcg@10": None, "hr@10": None}
    assert found["ranked"] == ["delf", "ease", "popularity"]
    assert found["winner"] == "ease"
    assert found["pairs"][2]["is_significant"] is False
    assert found["pairs"][2]["sentence"].endswith("p 0.4 among all)")
    assert found["skipped"] == [{"name": "expomf", "model": "expomf", "reason": "it would take 41 minutes"}]


def test_what_is_no_number_is_none_in_the_dictionary() -> None:
    odd = replace(pair("b", "a", NAN, is_significant=False), p_value=np.float64(0.5))
    values = {"ndcg@10": [0.5, 0.5], "auc": [NAN, NAN]}
    found = to_dict(
        comparison(
            [contender("a", {"full": report(values)}), contender("b", {"full": report(values)})],
            [odd],
            findings=({"code": "x", "size": np.int64(3), "effect": NAN},),
        )
    )
    assert found["pairs"][0]["relative"] is None
    assert found["pairs"][0]["p_value"] == 0.5
    assert found["findings"] == [{"code": "x", "size": 3, "effect": None}]
    assert found["contenders"][0]["reports"]["full"]["means"]["auc"] is None
    assert json.dumps(found, allow_nan=False)
