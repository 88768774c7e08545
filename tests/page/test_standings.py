from __future__ import annotations

import pytest

from attlas.evaluation.naming import metric_name
from attlas.evaluation.report import Mean
from attlas.page.standings import difference, verdict
from tests.page.rows import entry_of


def test_a_difference_is_taken_user_by_user() -> None:
    easy_and_hard = [0.1, 0.9, 0.2, 0.8]
    above = difference(entry_of("a", [value + 0.05 for value in easy_and_hard]), entry_of("b", easy_and_hard), "ndcg@10")
    assert above.value == pytest.approx(0.05)
    assert (above.low, above.high) == (pytest.approx(0.05), pytest.approx(0.05))


def test_the_verdict_names_the_best_the_second_and_the_last() -> None:
    entries = [entry_of("low", [0.1, 0.1]), entry_of("top", [0.5, 0.5]), entry_of("mid", [0.3, 0.3])]
    said = verdict(entries, "ndcg@10")
    assert said.startswith("top ranks best with NDCG@10 0.500")
    assert "0.200 above mid" in said
    assert said.endswith("Last is low with 0.100.")


def test_a_difference_that_users_disagree_on_tells_nobody_apart() -> None:
    entries = [entry_of("a", [0.9, 0.1, 0.9, 0.1]), entry_of("b", [0.1, 0.9, 0.1, 0.8])]
    assert "too little to tell the two apart" in verdict(entries, "ndcg@10")


def test_equal_models_are_level() -> None:
    assert "level with b (0.000 to 0.000)" in verdict([entry_of("a", [0.4, 0.2]), entry_of("b", [0.4, 0.2])], "ndcg@10")


def test_the_truth_does_not_compete() -> None:
    said = verdict([entry_of("a", [0.4]), entry_of("the truth", [1.0], is_reference=True)], "ndcg@10")
    assert said == "a ranks best with NDCG@10 0.400 (95 % interval 0.400 to 0.400)."


@pytest.mark.parametrize(("metric", "name"), [("ndcg@10", "NDCG@10"), ("recall@5", "Recall@5"), ("auc", "AUC")])
def test_metrics_are_called_what_people_call_them(metric: str, name: str) -> None:
    assert metric_name(metric) == name


def test_a_mean_of_one_user_is_its_own_interval() -> None:
    assert entry_of("a", [0.3]).mean("ndcg@10") == Mean(0.3, 0.3, 0.3)
