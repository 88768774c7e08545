import json
from dataclasses import replace

import numpy as np
import pytest

from attlas.errors import ConfigError
from attlas.evaluation.report import Overall, Report, side_by_side


def report_of(values: list[float], *, name: str = "hr@1", protocol: str = "full") -> Report:
    return Report(
        protocol=protocol,
        split="by-hand",
        part="test",
        k=(1,),
        users=np.arange(len(values)),
        per_user={name: np.array(values)},
        num_users_without_test=1,
        num_masked=0,
        tie_share=0.0002,
        num_candidates=(4, 4),
    )


def test_the_interval_of_many_coin_throws_is_that_of_the_normal_law():
    rng = np.random.default_rng(8)
    low, high = report_of((rng.random(10_000) < 0.5).astype(float).tolist()).interval("hr@1")
    # Of 1,000 resamples, the 2.5 % quantile itself errs by about a twelfth of the half width.
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 100, rel=0.15)


def test_the_interval_is_equal_in_every_run_and_wider_at_a_higher_level():
    values = np.random.default_rng(9).random(50).tolist()
    low, high = report_of(values).interval("hr@1")
    assert report_of(values).interval("hr@1") == (low, high)
    wider_low, wider_high = report_of(values).interval("hr@1", level=0.99)
    assert wider_low < low < high < wider_high


def test_users_who_are_all_alike_have_an_interval_without_width():
    assert report_of([0.25] * 9).interval("hr@1") == (0.25, 0.25)
    assert report_of([0.25]).interval("hr@1") == (0.25, 0.25)


def test_a_user_without_a_value_is_left_out_of_mean_and_interval():
    report = report_of([0.5, float("nan"), 0.5], name="auc")
    assert report.mean("auc") == 0.5
    assert report.interval("auc") == (0.5, 0.5)


def test_a_report_survives_json_and_a_metric_that_no_user_has_is_none():
    said = report_of([float("nan")], name="auc").to_dict()
    assert said["means"] == {"auc": None}
    said = report_of([0.0, 1.0]).to_dict()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["means"] == {"hr@1": 0.5}
    assert said["ties"] == "averaged"


def test_sentences_tell_who_was_ranked_against_what():
    assert report_of([1.0, 0.0]).sentences() == [
        "protocol full, split by-hand, part test",
        "2 users ranked against 4 items each",
        "1 user had no test item to rank",
        "ties averaged (0.02 % of held-out items tie)",
    ]


def test_an_unknown_metric_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'hr@1'"):
        report_of([1.0]).mean("hr@10")


def test_numbers_of_different_protocols_never_share_a_column():
    table = side_by_side({"pop": report_of([1.0]), "pop again": report_of([0.0]), "other": report_of([1.0], protocol="ncf")})
    assert table["pop"].keys() == table["pop again"].keys()
    assert not table["pop"].keys() & table["other"].keys()
    assert table["other"] == {"hr@1 (ncf, by-hand, test)": 1.0}


def with_lists(coverage: Overall, novelty: list[float]) -> Report:
    users = np.arange(len(novelty))
    per_user = {"hr@1": np.ones(len(novelty)), "novelty@1": np.array(novelty)}
    return replace(report_of([1.0]), users=users, per_user=per_user, overall={"coverage@1": coverage})


def test_what_lists_are_like_stands_below_what_they_are_worth():
    said = str(with_lists(Overall(0.5, 0.4, 0.6), [2.0, 2.0])).splitlines()
    assert [line.split()[0] for line in said[2:]] == ["hr@1", "what", "novelty@1", "coverage@1"]
    assert said[-1].split() == ["coverage@1", "0.5000", "(0.4000", "to", "0.6000)"]


def test_figures_over_all_lists_survive_json_and_stand_in_tables():
    report = with_lists(Overall(0.5, 0.4, 0.6), [2.0, 4.0])
    said = report.to_dict()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["overall"] == {"coverage@1": {"value": 0.5, "low": 0.4, "high": 0.6}}
    assert said["means"]["novelty@1"] == 3.0
    assert side_by_side({"pop": report})["pop"]["coverage@1 (full, by-hand, test)"] == 0.5


def test_the_average_of_reports_averages_figures_over_all_lists_and_the_ends_of_their_intervals():
    one, other = with_lists(Overall(0.5, 0.4, 0.6), [2.0, 4.0]), with_lists(Overall(0.7, 0.65, 0.75), [4.0, 6.0])
    both = one.averaged([one, other])
    assert both.overall == {"coverage@1": pytest.approx((0.6, 0.525, 0.675))}
    assert both.per_user["novelty@1"].tolist() == [3.0, 5.0]


def test_a_report_without_lists_averages_with_one_that_has_them_to_one_without():
    assert with_lists(Overall(0.5, 0.4, 0.6), [2.0]).averaged([report_of([1.0]), report_of([0.0])]).overall == {}
