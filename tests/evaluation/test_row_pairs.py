from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from attlas.errors import ConfigError
from attlas.evaluation.row_pairs import compare_row_pairs
from attlas.evaluation.rows import RowReport
from attlas.evaluation.significance import holm

COUNT, USERS = 600, 40


def seeds_of(spread: float, seeds: int = 3, task: str = "rating", first: int = 0) -> list[RowReport]:
    """Predictions that are off by so much, another way with every seed, of one and the same truth."""
    truth = np.random.default_rng(9).integers(0, 2, COUNT).astype(float)
    user = np.arange(COUNT) % USERS
    rngs = (np.random.default_rng(first + seed) for seed in range(seeds))
    return [RowReport.of(task, truth, truth + rng.normal(0, spread, COUNT), user) for rng in rngs]


@pytest.mark.parametrize(("metric", "task"), [("rmse", "rating"), ("mae", "rating"), ("auc", "label"), ("rmse", "target")])
def test_the_better_one_stands_first_and_is_told_apart(metric: str, task: str) -> None:
    reports = {"rough": seeds_of(0.9, task=task), "fine": seeds_of(0.3, task=task, first=50)}
    (pair,) = compare_row_pairs(reports, metric)
    assert (pair.above, pair.below) == ("fine", "rough")
    means = {name: np.mean([report.mean(metric) for report in each]) for name, each in reports.items()}
    assert pair.difference == pytest.approx(abs(means["fine"] - means["rough"]))
    assert pair.relative == pytest.approx(pair.difference / means["rough"])
    assert 0 < pair.low < pair.difference < pair.high
    assert pair.is_significant


def test_an_error_is_spoken_of_as_lower() -> None:
    (pair,) = compare_row_pairs({"rough": seeds_of(0.9), "fine": seeds_of(0.3)}, "rmse")
    assert pair.sentence().startswith("fine is better than rough by ")
    assert "significant (RMSE lower by 0." in pair.sentence()
    (pair,) = compare_row_pairs({"one": seeds_of(0.9, task="label"), "other": seeds_of(0.3, task="label")}, "auc")
    assert pair.sentence().startswith("other is above one by ")


def test_nobody_is_better_than_an_equal() -> None:
    (pair,) = compare_row_pairs({"one": seeds_of(0.5), "same": seeds_of(0.5)}, "rmse")
    assert (pair.difference, pair.p_value, pair.is_significant) == (0.0, 1.0, False)
    assert "one is level with same: not significant" in pair.sentence()


def test_rows_of_one_user_are_no_witnesses_of_their_own() -> None:
    """All rows speak for the one, but they are those of three users."""
    truth, user = np.zeros(300), np.arange(300) % 3
    one, other = (RowReport.of("rating", truth, np.full(300, off), user) for off in (0.1, 0.2))
    (pair,) = compare_row_pairs({"one": [one], "other": [other]}, "rmse")
    assert not pair.is_significant
    assert pair.p_value > 0.05


def test_a_random_model_under_one_seed_is_not_tested() -> None:
    (pair,) = compare_row_pairs({"rough": seeds_of(0.9, seeds=1), "fine": seeds_of(0.3)}, "rmse", random=["rough", "fine"])
    assert pair.single == ("rough",)
    assert not pair.is_significant


def test_p_values_are_corrected_for_the_number_of_pairs() -> None:
    three = {"a": seeds_of(0.5), "b": seeds_of(0.52, first=10), "c": seeds_of(0.6, first=20)}
    alone = [compare_row_pairs({name: three[name] for name in pair}, "mae")[0].p_value for pair in combinations("abc", 2)]
    among = [pair.p_value for pair in compare_row_pairs(three, "mae")]
    assert among == pytest.approx(holm(alone).tolist(), rel=1e-9, abs=0)
    assert min(among) == pytest.approx(3 * min(alone), rel=1e-9, abs=0)


def test_what_does_not_compare_is_refused() -> None:
    one = seeds_of(0.5)
    with pytest.raises(ConfigError, match="do not compare"):
        compare_row_pairs({"one": one, "other": [dataclasses.replace(report, rows="xy") for report in _of_rows(one)]}, "rmse")
    others = [dataclasses.replace(report, users=report.users + 100) for report in seeds_of(0.5)]
    with pytest.raises(ConfigError, match="one 3 is of 600 rows of 40 users and other 1 of 600 rows of 40 users, which"):
        compare_row_pairs({"one": seeds_of(0.5), "other": others}, "rmse")
    with pytest.raises(ConfigError, match=r"report 3 is of .* and report 4 of .*; measure both on the same rows"):
        others[0].averaged([*others, *seeds_of(0.5)])
    bare = [RowReport.of("rating", np.zeros(3), np.ones(3))]
    with pytest.raises(ConfigError, match="by_user=True"):
        compare_row_pairs({"one": bare, "other": bare}, "rmse")


def _of_rows(reports: list[RowReport]) -> list[RowReport]:
    for place, report in enumerate(reports):
        reports[place] = dataclasses.replace(report, rows="ab")
    return reports
