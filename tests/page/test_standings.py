from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from attlas.data.split import Split
from attlas.page.standings import Mean, by_activity, by_popularity, difference, metric_name, read_curve, verdict
from attlas.page.truth import Table
from tests.page.rows import entry_of
from tests.toy import chosen_by


@pytest.fixture
def five_lists() -> Split:
    """Users with 1, 1, 2, 3 and 5 training items; user g has item g + 5 held out."""
    train = chosen_by([[0], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4]], 10)
    test = chosen_by([[5], [6], [7], [8], [9]], 10)
    return Split(train, None, test, "by-hand")


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


def test_quarters_by_activity_hold_each_user_once_and_keep_equal_histories_together(five_lists: Split) -> None:
    found = by_activity([entry_of("a", [0.0, 1.0, 0.2, 0.4, 0.6])], five_lists, "ndcg@10")
    assert found.groups == ["1", "2", "3", "5"]
    assert found.counts == [2, 1, 1, 1]
    assert [mean.value for mean in found.means["a"]] == pytest.approx([0.5, 0.2, 0.4, 0.6])


def test_in_a_quarter_by_popularity_only_its_own_items_count_as_found() -> None:
    train = chosen_by([[0], [0], [1], [2, 3]], 4)
    split = Split(train, None, chosen_by([[1, 3], [], [0], []], 4), "by-hand")
    score_UI = np.array([[0.0, 3.0, 1.0, 2.0]] * 4, np.float32)
    found = by_popularity({"a": Table(train, score_UI)}, split, "full", "ndcg@1")
    # Items 1 and 3 have been chosen once, item 0 twice. User 0 has item 1 on top; user 2 has item 0 below items 2 and 3.
    assert (found.groups, found.counts) == (["1", "2"], [2, 1])
    assert [mean.value for mean in found.means["a"]] == [1.0, 0.0]


def test_a_curve_has_the_epochs_of_the_fit_and_not_of_the_refit(tmp_path: Path) -> None:
    rows = [{"stage": stage, "epoch": epoch, "loss": 0.5, "valid ndcg@10": 0.1, "seconds": 1.0} for stage, epoch in
            (("fit", 1), ("fit", 2), ("refit", 1))]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert [epoch.number for epoch in read_curve(tmp_path, "ndcg@10")] == [1, 2]


def test_what_is_solved_in_one_epoch_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"stage": "fit", "epoch": 1, "loss": None, "seconds": 1.0}) + "\n")
    assert read_curve(tmp_path, "ndcg@10") == ()


@pytest.mark.parametrize(("metric", "name"), [("ndcg@10", "NDCG@10"), ("recall@5", "Recall@5"), ("auc", "AUC")])
def test_metrics_are_called_what_people_call_them(metric: str, name: str) -> None:
    assert metric_name(metric) == name


def test_a_mean_of_one_user_is_its_own_interval() -> None:
    assert entry_of("a", [0.3]).mean("ndcg@10") == Mean(0.3, 0.3, 0.3)
