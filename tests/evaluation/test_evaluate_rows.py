from types import SimpleNamespace

import numpy as np
import pytest

from attlas.errors import AttlasError, ConfigError, DataError
from attlas.evaluation.evaluate import evaluate_rows


def saying(*score: float) -> SimpleNamespace:
    return SimpleNamespace(score_rows=lambda data: np.array(score, np.float32))


def test_ratings_are_measured_by_their_errors():
    report = evaluate_rows(saying(4, 3), SimpleNamespace(rating=np.array([3.0, 5.0])), "rating")
    assert report.values == {"rmse": pytest.approx(2.5**0.5), "mae": 1.5}
    assert report.sentences() == ["2 ratings predicted"]


def test_labels_are_measured_by_logloss_and_auc():
    report = evaluate_rows(saying(0, 0), SimpleNamespace(label=np.array([0.0, 1.0])), "label")
    assert report.to_dict() == {
        "protocol": "label",
        "split": "",
        "part": "test",
        "rows": "",
        "num_rows": 2,
        "means": {"logloss": pytest.approx(np.log(2)), "auc": 0.5},
        "intervals": {"logloss": None, "auc": None},
    }


def test_an_auc_that_is_not_defined_is_none_in_json():
    assert evaluate_rows(saying(0), SimpleNamespace(label=np.ones(1)), "label").to_dict()["means"]["auc"] is None


def test_rows_without_ratings_are_refused():
    with pytest.raises(ConfigError, match="these rows have no rating"):
        evaluate_rows(saying(1), SimpleNamespace(rating=None), "rating")


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows to predict"):
        evaluate_rows(saying(), SimpleNamespace(rating=np.array([])), "rating")


def test_an_unknown_task_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'rating'"):
        evaluate_rows(saying(1), SimpleNamespace(), "ratings")


def test_a_prediction_that_is_nan_is_refused():
    with pytest.raises(AttlasError, match="1 of 1 scores are nan"):
        evaluate_rows(saying(np.nan), SimpleNamespace(rating=np.ones(1)), "rating")


def test_targets_are_measured_by_their_clamped_error_and_auc():
    report = evaluate_rows(saying(5, -0.5), SimpleNamespace(label=np.array([1.0, 0.0])), "target")
    assert report.values == {"rmse": pytest.approx((0.25 / 2) ** 0.5), "auc": 1.0}
    assert report.code.protocol == "target"
