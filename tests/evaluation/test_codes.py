from dataclasses import replace

import numpy as np
import pytest

from attlas.errors import ConfigError
from attlas.evaluation.breakdown import by_activity
from attlas.evaluation.codes import Code, refuse_mixed, rows_of
from attlas.evaluation.evaluate import evaluate
from attlas.evaluation.report import RowReport, side_by_side
from attlas.page.standings import Entry, verdict
from tests.evaluation.table import TableScorer, split_of
from tests.evaluation.test_report import report_of

TRAIN = [(0, 0), (1, 1), (2, 2)]
CODE = Code("full", "user-ratio", "test", "12ab34cd")


def test_a_code_is_said_in_short_and_leaves_out_what_nobody_knows():
    assert str(CODE) == f"{CODE}" == "full, user-ratio, test, 12ab34cd"
    assert str(CODE._replace(rows="")) == "full, user-ratio, test"


def test_a_report_knows_the_protocol_the_split_the_part_and_the_very_rows():
    split = split_of(TRAIN, test=[(0, 1)], valid=[(1, 2)])
    report = evaluate(TableScorer(split.train, np.zeros((3, 5))), split)
    assert report.code == Code("full", "by-hand", "test", rows_of(split))
    assert len(report.rows) == 8
    assert report.to_dict()["rows"] == report.rows


def test_other_rows_in_any_part_are_other_rows_and_equal_ones_the_same():
    def made(**parts):
        return split_of(**{"train": TRAIN, "test": [(0, 1)], "valid": [(1, 2)]} | parts)

    others = ({"train": TRAIN[:2]}, {"test": [(0, 2)]}, {"valid": None}, {"given": [(2, 3)]}, {"num_items": 6})
    known = {rows_of(made(**parts)) for parts in others}
    assert len(known | {rows_of(made())}) == len(others) + 1
    assert rows_of(made()) == rows_of(made())


def test_candidates_count_where_they_are_ranked():
    one, other = (split_of(TRAIN, test=[(0, 1)], candidates=listed) for listed in ([[2, 3]], [[2, 4]]))
    assert rows_of(one) == rows_of(other)
    assert rows_of(one, candidates=True) != rows_of(other, candidates=True)


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        ({"protocol": "ncf"}, "protocol full against ncf"),
        ({"split": "global-time"}, "split user-ratio against global-time"),
        ({"part": "valid"}, "part test against valid"),
        ({"rows": "99999999"}, "rows 12ab34cd against 99999999"),
        ({"protocol": "ncf", "part": "valid"}, "protocol full against ncf, part test against valid"),
    ],
)
def test_numbers_that_differ_in_any_of_it_are_refused_and_the_message_says_in_what(other, apart):
    with pytest.raises(ConfigError, match=f"ease and delf do not compare: {apart}; measure both on one split under one"):
        refuse_mixed({"ease": CODE, "delf": CODE._replace(**other)})


def test_unknown_rows_pass_but_do_not_vouch_for_others():
    unknown, other = CODE._replace(rows=""), CODE._replace(rows="99999999")
    refuse_mixed({})
    refuse_mixed({"a": CODE, "b": CODE, "c": unknown})
    with pytest.raises(ConfigError, match="a and c do not compare: rows"):
        refuse_mixed({"a": CODE, "b": unknown, "c": other})


def test_forced_into_one_column_its_name_says_that_the_numbers_do_not_compare():
    reports = {"pop": report_of([1.0]), "ease": report_of([0.0], protocol="ncf")}
    assert side_by_side(reports, force=True) == {
        "pop": {"hr@1 (do not compare: full, by-hand, test | ncf, by-hand, test)": 1.0},
        "ease": {"hr@1 (do not compare: full, by-hand, test | ncf, by-hand, test)": 0.0},
    }


def test_force_changes_nothing_where_numbers_compare():
    reports = {"pop": report_of([1.0]), "ease": report_of([0.0])}
    assert side_by_side(reports, force=True) == side_by_side(reports)
    assert side_by_side(reports)["pop"].keys() == {"hr@1 (full, by-hand, test)"}


def test_ratings_stand_beside_ratings_of_the_same_rows_only():
    one = RowReport("rating", 5, {"rmse": 1.0}, "user-ratio", rows="1")
    table = side_by_side({"a": one, "b": replace(one, rows="2")})
    assert table == {"a": {"rmse (rating, user-ratio, test, 1)": 1.0}, "b": {"rmse (rating, user-ratio, test, 2)": 1.0}}


def test_reports_that_do_not_compare_are_neither_averaged_nor_broken_down_nor_ranked():
    one, other = report_of([1.0, 0.0], name="ndcg@10"), report_of([1.0, 0.0], name="ndcg@10", protocol="ncf")
    with pytest.raises(ConfigError, match="report 1 and report 2 do not compare: protocol full against ncf"):
        one.averaged([one, other])
    with pytest.raises(ConfigError, match="a and b do not compare"):
        by_activity({"a": one, "b": other}, split_of(TRAIN, test=[(0, 1)]), "ndcg@10")
    with pytest.raises(ConfigError, match="a and b do not compare"):
        verdict([Entry("a", one), Entry("b", other)], "ndcg@10")
