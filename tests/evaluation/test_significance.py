from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_ind

from attlas.errors import ConfigError
from attlas.evaluation.significance import Pair, compare_pairs, holm


def one_seed(*values: float) -> np.ndarray:
    return np.array([values])


def only(pairs: list[Pair]) -> Pair:
    assert len(pairs) == 1
    return pairs[0]


def test_holm_multiplies_the_smallest_by_their_number_and_never_lets_a_later_one_fall_below():
    # Sorted: .01 x 4 = .04; .02 x 3 = .06; .03 x 2 = .06; .04 x 1 = .04, lifted to .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


def test_every_pair_comes_once_in_the_order_of_the_names_the_higher_mean_above():
    pairs = compare_pairs({"a": one_seed(0, 0, 1), "b": one_seed(1, 1, 1), "c": one_seed(0, 0, 0)}, "hr@10")
    assert [(pair.above, pair.below) for pair in pairs] == [("b", "a"), ("a", "c"), ("b", "c")]


def test_the_difference_is_of_the_means_over_users_and_seeds_and_relative_to_the_one_below():
    pair = only(compare_pairs({"a": np.array([[0.2, 0.4], [0.4, 0.6]]), "b": one_seed(0.1, 0.3)}, "ndcg@10"))
    assert (pair.above, pair.difference, pair.relative) == ("a", pytest.approx(0.2), pytest.approx(1.0))
    assert pair.relative_half == pytest.approx((pair.high - pair.low) / 2 / 0.2)


def test_five_users_who_all_gain_have_the_exact_p_value_two_of_thirty_two():
    pair = only(compare_pairs({"a": one_seed(0.5, 0.6, 0.7, 0.8, 0.9), "b": one_seed(0.4, 0.4, 0.4, 0.4, 0.4)}, "ndcg@10"))
    assert pair.p_value == pytest.approx(2 / 32)
    assert pair.low > 0
    assert not pair.is_significant


def test_ranks_that_contradict_the_means_are_no_evidence():
    # Thirty users lose a little, one gains so much that the mean rises.
    pair = only(compare_pairs({"a": one_seed(1.0, *[0.0] * 30), "b": one_seed(0.0, *[0.01] * 30)}, "ndcg@10"))
    assert (pair.above, pair.p_value, pair.is_significant) == ("a", 1.0, False)


def test_swapping_the_names_changes_nothing_but_who_is_named_first():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 3, 80))
    one, other = only(compare_pairs({"a": a, "b": b}, "ndcg@10")), only(compare_pairs({"b": b, "a": a}, "ndcg@10"))
    assert (one.above, one.p_value, one.is_significant) == (other.above, other.p_value, other.is_significant)
    assert one.low == pytest.approx(other.low, abs=1e-12)


def test_with_one_seed_the_interval_is_the_percentile_bootstrap_of_scipy():
    rng = np.random.default_rng(1)
    base = rng.random(400)
    step = rng.normal(0.02, 0.1, 400)
    pair = only(compare_pairs({"a": (base + step)[None], "b": base[None]}, "ndcg@10"))
    theirs = bootstrap(
        (step,), np.mean, n_resamples=20_000, batch=1000, method="percentile", random_state=np.random.default_rng(9)
    ).confidence_interval
    width = theirs.high - theirs.low  # of two thousand resamples an end wanders by about a fiftieth of the width
    assert (pair.low, pair.high) == (pytest.approx(theirs.low, abs=width / 15), pytest.approx(theirs.high, abs=width / 15))


def test_where_users_do_not_differ_the_interval_is_that_of_welch_over_seeds():
    means = {"a": [0.50, 0.52, 0.57], "b": [0.40, 0.41]}
    values = {name: np.repeat(np.array(mean)[:, None], 50, axis=1) for name, mean in means.items()}
    pair = only(compare_pairs(values, "ndcg@10"))
    theirs = ttest_ind(means["a"], means["b"], equal_var=False).confidence_interval(0.95)
    assert (pair.low, pair.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_seeds_that_scatter_widen_the_interval_and_take_the_significance():
    rng = np.random.default_rng(2)
    base = rng.random(500)
    step = base + 0.02 + rng.normal(0, 0.02, 500)
    calm = only(compare_pairs({"a": np.stack([step, step]), "b": base[None]}, "ndcg@10"))
    wild = only(compare_pairs({"a": np.stack([step - 0.02, step + 0.02]), "b": base[None]}, "ndcg@10"))
    assert calm.is_significant
    assert not wild.is_significant
    assert wild.high - wild.low > calm.high - calm.low
    assert wild.difference == pytest.approx(calm.difference)


def test_a_difference_that_was_planted_is_found():
    rng = np.random.default_rng(5)
    hits = {name: (rng.random((3, 2000)) < share).astype(float) for name, share in {"good": 0.36, "poor": 0.30}.items()}
    pair = only(compare_pairs(hits, "hr@10"))
    assert (pair.above, pair.is_significant) == ("good", True)
    assert pair.low < 0.06 < pair.high


def test_false_alarms_stay_below_six_in_a_hundred_where_only_seeds_differ():
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(200):
        taste = rng.beta(1, 2, 300)
        drawn = {name: taste + rng.normal(0, 0.01, (3, 1)) + rng.normal(0, 0.05, (3, 300)) for name in "ab"}
        alarms += only(compare_pairs(drawn, "ndcg@10")).is_significant
    assert alarms < 12


def test_seeds_alone_would_raise_the_alarm_if_the_interval_knew_users_only():
    # The same draws as above, but each contender's three seeds reach the test as one: the scatter over seeds is not seen.
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(200):
        taste = rng.beta(1, 2, 300)
        drawn = {name: taste + rng.normal(0, 0.01, (3, 1)) + rng.normal(0, 0.05, (3, 300)) for name in "ab"}
        merged = {name: value.mean(axis=0, keepdims=True) for name, value in drawn.items()}
        alarms += only(compare_pairs(merged, "ndcg@10")).is_significant
    assert alarms > 60


def test_equal_contenders_are_level_and_their_p_value_is_one():
    pair = only(compare_pairs({"a": one_seed(0.1, 0.7), "b": np.array([[0.1, 0.7]] * 3)}, "ndcg@10"))
    assert (pair.difference, pair.low, pair.high, pair.p_value, pair.is_significant) == (0.0, 0.0, 0.0, 1.0, False)
    assert (
        pair.sentence()
        == "a is level with b: not significant (NDCG@10 by 0.0000, 0.0000 to 0.0000 for this pair alone; p 1 among all)"
    )


@pytest.mark.parametrize("num_users", [1, 2, 3])
def test_so_few_users_decide_nothing(num_users: int):
    pair = only(compare_pairs({"a": np.ones((1, num_users)), "b": np.zeros((2, num_users))}, "hr@10"))
    assert (pair.difference, pair.low, pair.high) == (1.0, 1.0, 1.0)
    assert pair.p_value == pytest.approx(min(1.0, 2 / 2**num_users))
    assert not pair.is_significant


def test_the_same_step_for_every_user_has_an_interval_of_no_width():
    pair = only(compare_pairs({"a": np.full((1, 40), 0.3), "b": np.full((1, 40), 0.1)}, "ndcg@10"))
    assert (pair.low, pair.high) == (pytest.approx(0.2), pytest.approx(0.2))
    assert pair.is_significant


def test_a_user_with_a_nan_is_left_out_of_the_pairs_that_it_concerns_alone():
    values = {"a": one_seed(0.9, 0.5, np.nan), "b": one_seed(0.1, 0.3, 0.7), "c": one_seed(0.1, 0.1, 0.1)}
    a_b, a_c, b_c = compare_pairs(values, "auc")
    assert (a_b.difference, a_c.difference) == (pytest.approx(0.5), pytest.approx(0.6))
    assert b_c.difference == pytest.approx((0.0 + 0.2 + 0.6) / 3)


def test_a_mean_of_zero_has_no_relative_difference_and_the_sentence_says_the_difference_alone():
    pair = only(compare_pairs({"a": one_seed(0.5, 0.5), "b": one_seed(0.0, 0.0)}, "recall@20"))
    assert np.isnan(pair.relative)
    assert np.isnan(pair.relative_half)
    assert pair.sentence().startswith("a is above b: not significant (Recall@20 by 0.5000, 0.5000 to 0.5000 for this pair")


def test_the_sentence_says_who_is_above_by_how_much_and_whether_it_counts():
    pair = Pair("DELF", "EASE", "ndcg@10", 0.0016, -0.0008, 0.0040, 0.004, 0.006, 0.3, False)
    assert pair.sentence() == (
        "DELF is above EASE by 0.4 % ± 0.6 %: not significant "
        "(NDCG@10 by 0.0016, -0.0008 to 0.0040 for this pair alone; p 0.3 among all)"
    )


def test_of_a_random_model_with_one_seed_nothing_is_called_significant():
    values = {"new": np.full((1, 50), 0.9), "old": np.full((3, 50), 0.1) + np.arange(3)[:, None] / 1000}
    assert compare_pairs(values, "ndcg@10")[0].is_significant
    pair = compare_pairs(values, "ndcg@10", random=["new", "old"])[0]
    assert not pair.is_significant
    assert "not tested, new under one seed only" in pair.sentence()


def test_a_larger_family_raises_every_p_value():
    rng = np.random.default_rng(6)
    values = {name: rng.random((1, 60)) + shift for name, shift in zip("abc", (0.0, 0.1, 0.1), strict=True)}
    together = {(pair.above, pair.below): pair.p_value for pair in compare_pairs(values, "ndcg@10")}
    alone = [
        only(compare_pairs({one: values[one], two: values[two]}, "ndcg@10")) for one, two in itertools.combinations("abc", 2)
    ]
    assert holm([pair.p_value for pair in alone]) == pytest.approx([together[pair.above, pair.below] for pair in alone])
    assert max(together.values()) >= max(pair.p_value for pair in alone)


def test_one_contender_has_nobody_to_be_held_against():
    assert compare_pairs({"a": one_seed(0.1, 0.2)}, "ndcg@10") == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": one_seed(0.1, 0.2), "b": one_seed(0.1)}, r"the same users for all, got a \(1, 2\), b \(1, 1\)"),
        ({"a": np.array([0.1, 0.2]), "b": one_seed(0.1, 0.2)}, "one row of values per seed"),
        ({"a": one_seed(np.nan, 1.0), "b": one_seed(1.0, np.nan)}, "no user has a value under both 'a' and 'b'"),
        ({"a": np.ones((1, 0)), "b": np.ones((1, 0))}, "no user has a value"),
    ],
)
def test_values_that_cannot_be_paired_are_refused(values: dict[str, np.ndarray], message: str):
    with pytest.raises(ConfigError, match=message):
        compare_pairs(values, "ndcg@10")


def test_a_level_that_is_no_fraction_is_refused():
    with pytest.raises(ConfigError, match="level=95: expected a fraction"):
        compare_pairs({"a": one_seed(0.1), "b": one_seed(0.2)}, "ndcg@10", level=95)


def test_twenty_contenders_and_twenty_thousand_users_take_seconds():
    rng = np.random.default_rng(0)
    values = {f"m{place}": rng.random((1, 20_000)) for place in range(20)}
    began = time.process_time()
    assert len(compare_pairs(values, "ndcg@10")) == 190
    assert time.process_time() - began < 12  # only catches another order of growth
