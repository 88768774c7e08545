from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from attlas.evaluation.keeping import read_reports, write_reports
from attlas.evaluation.metrics import BY_ROW
from attlas.evaluation.rows import OF_PAIRS, PARTS, ROOTS, RowReport

LABEL = np.array([1.0, 0.0, 1.0, 0.0, 0.0])
SCORE = np.array([2.0, -1.0, 0.5, 0.5, -3.0])
USER = np.array([4, 4, 7, 7, 7])


def drawn(task: str, seed: int = 0, count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 6, count) if task == "rating" else rng.integers(0, 2, count)
    return truth.astype(float), np.round(truth + rng.normal(0, 2, count), 1), rng.integers(0, 30, count)


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in BY_ROW.items() for name in names])
def test_what_users_add_makes_up_the_metric(task: str, name: str) -> None:
    truth, score, user = drawn(task)
    report = RowReport.of(task, truth, score, user)
    mean = report.total[name].sum() / report.weight[name].sum()
    assert report.mean(name) == BY_ROW[task][name](truth, score)
    assert (np.sqrt(mean) if name in ROOTS else mean) == pytest.approx(report.mean(name))


def test_every_metric_of_rows_says_what_a_row_adds() -> None:
    assert {task: set(names) for task, names in PARTS.items()} == {task: set(names) for task, names in BY_ROW.items()}


def test_a_row_adds_to_the_auc_the_share_of_the_other_label_that_it_stands_right_to() -> None:
    value, weight = PARTS["label"]["auc"](LABEL, SCORE)
    np.testing.assert_allclose(value / weight, [1, 1, 2.5 / 3, 0.75, 1])  # two ones, three zeros, one tie
    np.testing.assert_allclose(weight, [2.5, 5 / 3, 2.5, 5 / 3, 5 / 3])


def test_a_report_with_users_survives_its_file(tmp_path: Path) -> None:
    report = dataclasses.replace(RowReport.of("label", LABEL, SCORE, USER), split="given", rows="ab12")
    write_reports(tmp_path / "seed.safetensors", {"label": report}, {"seed": 3})
    reports, facts = read_reports(tmp_path / "seed.safetensors")
    again = reports["label"]
    assert isinstance(again, RowReport)
    assert facts == {"seed": 3}
    assert again.to_dict() == report.to_dict()
    np.testing.assert_array_equal(again.users, [4, 7])
    np.testing.assert_array_equal(again.weight["auc"], report.weight["auc"])


@pytest.mark.parametrize("name", ["logloss", "auc"])
def test_the_interval_is_that_of_drawing_users_anew(name: str) -> None:
    truth, score, user = drawn("label", count=600)
    report = RowReport.of("label", truth, score, user)
    rng, again = np.random.default_rng(1), []
    rows_of = {one: np.flatnonzero(user == one) for one in report.users}
    for _ in range(800):
        rows = np.concatenate([rows_of[one] for one in rng.choice(report.users, len(report.users))])
        again.append(BY_ROW["label"][name](truth[rows], score[rows]))
    low, high = report.interval(name)
    expected = np.quantile(again, (0.025, 0.975))
    assert low < report.mean(name) < high
    np.testing.assert_allclose((low, high), expected, atol=0.25 * (high - low))  # both are of finite resamples


def test_the_interval_of_an_auc_stays_between_none_and_all() -> None:
    label = np.tile([1.0, 0.0], 20)
    score = np.where(np.arange(40) == 5, 9.0, label)  # one row is wrong about all others, and each is somebody's
    report = RowReport.of("label", label, score, np.arange(40))
    low, high = report.interval("auc")
    assert np.quantile(report.resampled("auc"), 0.975) > 1.0
    assert 0.8 < low < high == 1.0


def test_seeds_are_averaged_in_units_of_the_metric() -> None:
    truth = np.zeros(4)
    one, other = (RowReport.of("rating", truth, np.full(4, error), np.arange(4)) for error in (1.0, 3.0))
    both = one.averaged([one, other])
    assert both.values == {"rmse": 2.0, "mae": 2.0}
    assert both.interval("rmse") == pytest.approx((2.0, 2.0))


def test_a_part_of_the_users_has_the_error_of_its_own_rows() -> None:
    report = RowReport.of("target", LABEL, SCORE, USER)
    part = report.of_users(report.users == 7)
    assert part.mean("rmse") == pytest.approx(np.sqrt(((0.5 - 1) ** 2 + 1.5**2 + 0) / 3))
    assert part.measured() == "3 rows of 1 users"
    assert part.share == 0.6


def test_all_users_are_no_part() -> None:
    report = RowReport.of("label", *drawn("label"))
    whole = report.of_users(report.users >= 0)
    assert whole.values == pytest.approx(report.values)
    assert whole.interval("auc") == pytest.approx(report.interval("auc"))


def test_the_interval_of_a_parts_auc_is_that_of_drawing_its_users_anew_beside_all_others() -> None:
    truth, score, user = drawn("label", count=600)
    report = RowReport.of("label", truth, score, user)
    part = report.of_users(report.users < 12)
    others, rows_of = np.flatnonzero(user >= 12), {one: np.flatnonzero(user == one) for one in part.users}
    rng, again = np.random.default_rng(1), []
    for _ in range(800):
        rows = np.concatenate([others, *(rows_of[one] for one in rng.choice(part.users, len(part.users)))])
        value, weight = PARTS["label"]["auc"](truth[rows], score[rows])
        again.append(value[len(others) :].sum() / weight[len(others) :].sum())
    low, high = np.quantile(again, (0.025, 0.975))
    np.testing.assert_allclose(part.interval("auc"), (low, high), atol=0.1 * (high - low))


def test_an_auc_that_is_not_defined_has_no_parts() -> None:
    report = RowReport.of("label", np.ones(3), SCORE[:3], USER[:3])
    assert np.isnan(report.of_users(report.users > 0).interval("auc")).all()
    assert list(report.total) == ["logloss"]
    assert report.to_dict()["means"]["auc"] is None
    assert report.to_dict()["intervals"]["auc"] is None


def test_metrics_over_pairs_of_rows_are_marked() -> None:
    """Each row moved by itself moves a mean once and an AUC's sum of parts not at all like its value: chance counts twice."""
    assert OF_PAIRS == ("auc",)
    pairs = [(a > b) + 0.5 * (a == b) for a, b in product(SCORE[LABEL > 0], SCORE[LABEL == 0])]
    assert RowReport.of("label", LABEL, SCORE).mean("auc") == pytest.approx(np.mean(pairs))
