"""The sizes that findings tell, worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from math import log, log2

import numpy as np
import pytest
import torch

from attlas.auditing import measuring
from attlas.auditing.attention import _entropies
from attlas.auditing.finding import graded, percent
from attlas.auditing.histories import Probe, within_deviation
from attlas.auditing.measuring import Bench, Figures, Without, affordable, popular
from attlas.auditing.model import audit_model
from attlas.auditing.order import of_order
from attlas.auditing.split import audit_split
from attlas.auditing.ties import _first, _last
from attlas.auditing.together import audit_together
from attlas.auditing.untrained import of_untrained
from attlas.data.split import Split
from attlas.errors import ConfigError
from attlas.evaluation.metrics import Ranks, ndcg
from attlas.evaluation.naming import counted
from attlas.evaluation.report import Report
from attlas.ops.ragged import Ragged
from tests.auditing.clean import clean, fitted
from tests.evaluation.table import TableScorer, interactions, split_of


def test_a_size_is_graded_from_its_bounds_on() -> None:
    assert [graded(size, warning=0.1, error=0.5) for size in (0.09, 0.1, 0.5)] == ["info", "warning", "error"]
    assert graded(1e9, warning=1) == "warning"


def test_counts_and_shares_are_spoken() -> None:
    assert [counted(1, "row"), counted(2434, "row"), percent(0.261), percent(0.0024), percent(0.0)] == [
        "1 row",
        "2,434 rows",
        "26 %",
        "0.24 %",
        "0 %",
    ]


def test_figures_are_told_with_and_without() -> None:
    before, after = Figures("ncf", {"hr@10": 0.744}), Figures("ncf", {"hr@10": 0.331})
    assert before.to(after, "without them") == "hr@10 0.7440 -> 0.3310 without them (ncf)"
    assert before._replace(users=500).to(after, "without them") == "hr@10 0.7440 -> 0.3310 without them (ncf, 500 users)"
    assert before.to(None, "without them") is None
    assert before.spoken() == "hr@10 0.7440"
    assert before._replace(users=500).spoken() == "hr@10 0.7440 (500 users)"


def test_candidates_beside_the_catalogue_say_of_how_many_users_each_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1,350 scores to a figure, nine items are ranked for 150 of 300 users, two candidates for all of them."""
    monkeypatch.setattr(measuring, "CELLS", 1350)
    train, test = [(user, 0) for user in range(300)], [(user, 1) for user in range(300)]
    split = split_of(train, test, candidates=[[2, 3]] * 300, num_users=300, num_items=9)
    (found,) = [finding for finding in audit_split(split) if finding.code == "sampled-candidates"]
    assert found.effect is not None
    assert re.fullmatch(r"popularity: hr@10 [\d.]+ \(ncf\), [\d.]+ \(full, 150 users\), ndcg@10 .*", found.effect)


def test_items_that_are_out_are_behind_all_others() -> None:
    scorer = Without(TableScorer(interactions([(0, 0)], 1, 3), [[3.0, 2.0, 1.0]]), np.array([True, False, False]))
    assert scorer.score_all(np.array([0])).tolist() == [[-np.inf, 2.0, 1.0]]
    assert scorer.score(np.array([0, 0]), np.array([0, 2])).tolist() == [-np.inf, 1.0]


def test_a_bench_leaves_out_rows_and_items() -> None:
    """User 0 holds out item 1, user 1 the untrained item 2, which the scorer puts first."""
    split = split_of([(0, 0), (1, 0), (1, 1)], [(0, 1), (1, 2)], num_users=2, num_items=3)
    scorer = TableScorer(split.train, [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    bench = Bench(scorer, split, ("full",), k=1)
    assert bench.all_rows("full") == Figures("full", {"hr@1": 0.5, "ndcg@1": 0.5})
    is_cold = np.array([False, False, True])
    assert bench.figures("full", kept=np.array([True, False])) == Figures("full", {"hr@1": 0.0, "ndcg@1": 0.0})
    assert bench.figures("full", kept=np.array([True, False]), without=is_cold) == Figures("full", {"hr@1": 1.0, "ndcg@1": 1.0})
    assert bench.figures("full", kept=np.zeros(2, bool)) is None


def test_rows_that_are_left_out_change_no_draw_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "CELLS", 1)  # a hundred users are affordable
    split = split_of([(user, 0) for user in range(300)], [(user, 1) for user in range(300)], num_users=300, num_items=3)
    without_one = replace(split, test=split.test.take(np.arange(1, 300)))
    whole, less = (set(affordable(part, "full").test.user.tolist()) for part in (split, without_one))
    assert len(whole) == len(less) == 100
    assert len(less - whole) <= 1


def test_where_nobody_has_a_whole_list_unseen_nothing_is_said_of_lists() -> None:
    """Four items, one of them untrained; each user has two unseen ones, and a list would have three."""
    split = split_of([(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 0)], [(0, 2), (1, 0), (2, 1)], num_users=3, num_items=4)
    found = {finding.code: finding for finding in audit_model(popular(split.train), split)}
    assert "popularity-lists" not in found
    assert found["untrained-items"].size == 0.0
    assert "nan" not in " ".join(f"{finding.sentence} {finding.effect}" for finding in found.values())


def test_one_hit_of_five_untrained_targets_is_chance() -> None:
    """Of 95 users whose target was trained on ten are right about it, of five with the untrained item 3 one."""
    train = [(user, 0) for user in range(100)] + [(100, 1), (101, 2)]
    split = split_of(train, [(user, 1 if user < 95 else 3) for user in range(100)], num_users=102, num_items=4)
    score_UI = np.tile([0.0, 2.0, 3.0, 1.0], (102, 1))
    score_UI[:10], score_UI[95] = [0.0, 3.0, 2.0, 1.0], [0.0, 1.0, 2.0, 3.0]
    (found,) = of_untrained(Bench(TableScorer(split.train, score_UI), split, ("full",), k=1))
    assert found.severity == "info"
    assert "hr@1 0.1100 -> 0.1053" in str(found.effect)
    assert "of such targets alone hr@1 0.2000" in str(found.effect)


def test_cold_rows_are_counted_with_the_metric_without_them() -> None:
    split = split_of([(0, 0), (1, 1), (1, 0)], [(0, 1), (1, 2)], num_users=2, num_items=3)
    (found,) = [finding for finding in audit_split(split, codes=("full",)) if finding.code == "cold-test-items"]
    assert found.size == 0.5
    assert found.severity == "warning"
    # Full ranks user 0's item 1 above item 2, and user 1's item 2 alone, all others being seen.
    assert found.effect == "popularity: hr@10 1.0000 -> 1.0000, ndcg@10 1.0000 -> 1.0000 without them (full)"


def test_popularity_of_the_moment_counts_only_what_came_before() -> None:
    """At time 10 item 1 has two users and item 2 none; two later ones make both equal."""
    split = split_of([(1, 1), (2, 1), (1, 2), (2, 2)], [(0, 1)], num_users=3, num_items=3)
    timed = replace(split.train, time=np.array([1, 2, 20, 30]))
    made = Split(timed, None, replace(split.test, time=np.array([10])), "leave-last-out")
    bench = Bench(popular(made.train), made, ("full",), k=1)
    (found,) = of_order(bench)
    assert found.code == "future-of-others"
    assert found.size == 0.5
    assert (
        found.effect
        == "popularity: ndcg@1 0.5000 -> 1.0000 if it counts only what came before each test row (full, row by row)"
    )


def test_ties_are_put_first_and_last() -> None:
    """Two held-out items tie with two others behind one better candidate."""
    ranks = Ranks(np.array([0, 0]), np.array([1, 1]), np.array([4, 4]), np.array([5]))
    best = 1 + 1 / log2(3)
    assert ndcg(_first(ranks), 5)[0] == pytest.approx((1 / log2(3) + 1 / log2(4)) / best)
    assert ndcg(_last(ranks), 5)[0] == pytest.approx((1 / log2(5) + 1 / log2(6)) / best)


def test_entropy_is_a_share_of_the_largest_and_scale_changes_nothing() -> None:
    lists = Ragged.of([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1]], 5)
    weight = torch.tensor([2.0, 2, 2, 2, 2, 1, 0, 0, 0, 0, 1, 1], dtype=torch.float64)
    assert _entropies(weight, lists).tolist() == pytest.approx([1.0, 0.0])
    halves = torch.tensor([1.0, 1, 0, 0, 0], dtype=torch.float64)
    assert _entropies(halves, Ragged.of([[0, 1, 2, 3, 4]], 5)).tolist() == pytest.approx([log(2) / log(5)])


def test_spread_is_measured_within_users() -> None:
    assert within_deviation(np.array([0, 0, 1, 1]), np.array([0.0, 2.0, 100.0, 102.0])) == 1.0


def test_a_training_pair_stands_above_unseen_ones_so_often() -> None:
    probe = Probe(fitted("popularity", clean()).scorer)
    assert probe.above(np.array([3.0, 1.0]), np.array([0.0, 1.0, 2.0, 2.5])) == pytest.approx((4 + 1.5) / 8)


def report(code: str, value: list[float], users: int = 4) -> Report:
    """A report of nDCG at 10 for each user."""
    return Report(code, "leave-last-out", "test", (10,), np.arange(users), {"ndcg@10": np.array(value)}, 0, 0, 0.0, (100, 100))


def test_two_protocols_that_order_models_in_two_ways_are_told_with_the_widest_pair() -> None:
    a, b = [0.5, 0.52, 0.48, 0.5], [0.3, 0.31, 0.29, 0.3]
    (found,) = audit_together(
        {"a": {"ncf": report("ncf", a), "full": report("full", b)}, "b": {"ncf": report("ncf", b), "full": report("full", a)}}
    )
    assert found.code == "sampled-reversal"
    assert found.severity == "warning"
    assert found.size == 1.0
    assert "full puts b first, ncf a" in found.sentence
    assert found.effect == "ndcg@10: full: a 0.3000, b 0.5000; ncf: a 0.5000, b 0.3000"


def test_a_reversal_within_chance_is_worth_knowing_only() -> None:
    a, b = [0.9, 0.1, 0.5, 0.5], [0.1, 0.8, 0.5, 0.5]
    (found,) = audit_together(
        {"a": {"ncf": report("ncf", a), "full": report("full", b)}, "b": {"ncf": report("ncf", b), "full": report("full", a)}}
    )
    assert found.severity == "info"


def test_two_protocols_against_candidates_are_not_a_reversal() -> None:
    a, b = [0.5, 0.52, 0.48, 0.5], [0.3, 0.31, 0.29, 0.3]
    both = {
        "a": {"ncf": report("ncf", a), "ncf-clean": report("ncf-clean", b)},
        "b": {"ncf": report("ncf", b), "ncf-clean": report("ncf-clean", a)},
    }
    assert audit_together(both) == []


def test_a_metric_that_a_report_lacks_is_refused() -> None:
    both = {
        name: {"ncf": report("ncf", [value] * 4), "full": report("full", [value] * 4)}
        for name, value in (("a", 0.1), ("b", 0.2))
    }
    with pytest.raises(ConfigError, match="has no 'hr@5'; evaluate it with that metric"):
        audit_together(both, metric="hr@5")


def test_nothing_to_compare_finds_nothing() -> None:
    assert audit_together({}) == []
    assert audit_together({"a": {}}) == []
