from __future__ import annotations

import numpy as np
import pytest

from attlas.data.split import Split
from attlas.evaluation.breakdown import by_activity, by_popularity
from attlas.page.truth import Table
from tests.page.rows import report_of
from tests.toy import chosen_by


@pytest.fixture
def five_lists() -> Split:
    """Users with 1, 1, 2, 3 and 5 training items; user g has item g + 5 held out."""
    train = chosen_by([[0], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4]], 10)
    test = chosen_by([[5], [6], [7], [8], [9]], 10)
    return Split(train, None, test, "by-hand")


def test_quarters_by_activity_hold_each_user_once_and_keep_equal_histories_together(five_lists: Split) -> None:
    found = by_activity({"a": report_of([0.0, 1.0, 0.2, 0.4, 0.6])}, five_lists, "ndcg@10")
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
