from itertools import permutations, product
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from attlas.errors import DataError
from attlas.evaluation.metrics import AT_K, Ranks, auc, label_auc, logloss, mae, rmse, target_rmse
from attlas.ops.ranks import count_ahead_reference


def ranks_of(*rankings: tuple[list[float], list[int]]) -> Ranks:
    """Ranks from (scores of all candidates, indices of the relevant ones) per ranking."""
    owner, ahead, tied = [], [], []
    for place, (score, relevant) in enumerate(rankings):
        higher, equal = count_ahead_reference(np.array([score]), np.array([0, len(relevant)]), np.array(relevant))
        owner += [place] * len(relevant)
        ahead += higher.tolist()
        tied += equal.tolist()
    return Ranks(*(np.array(x, np.int64) for x in (owner, ahead, tied, [len(score) for score, _ in rankings])))


def of_one_order(is_relevant: list[bool], k: int) -> dict[str, float]:
    """The textbook value of every metric for one order without ties."""
    places = [place for place, relevant in enumerate(is_relevant, 1) if relevant]
    inside = [place for place in places if place <= k]
    ideal = min(k, len(places))
    right = sum(not is_relevant[other] for place in places for other in range(place, len(is_relevant)))
    others = len(is_relevant) - len(places)
    return {
        "hr": float(bool(inside)),
        "ndcg": sum(1 / log2(1 + place) for place in inside) / sum(1 / log2(2 + place) for place in range(ideal)),
        "recall": len(inside) / len(places),
        "precision": len(inside) / k,
        "map": sum((hit + 1) / place for hit, place in enumerate(inside)) / ideal,
        "mrr": 1 / inside[0] if inside else 0.0,
        "auc": right / (len(places) * others) if others else np.nan,
    }


def by_every_order(score: list[float], relevant: list[int], k: int) -> dict[str, float]:
    """The mean over every order that the scores allow."""
    groups = [[item for item, other in enumerate(score) if other == value] for value in sorted(set(score), reverse=True)]
    orders = product(*(permutations(group) for group in groups))
    values = [of_one_order([item in relevant for group in order for item in group], k) for order in orders]
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=6), st.data())
def test_every_metric_is_its_mean_over_all_orders_of_the_tied(score, data):
    relevant = data.draw(st.lists(st.integers(0, len(score) - 1), min_size=1, unique=True))
    k = data.draw(st.integers(1, 8))
    ranks = ranks_of((score, relevant))
    found = {name: metric(ranks, k)[0] for name, metric in AT_K.items()} | {"auc": auc(ranks)[0]}
    assert found == pytest.approx(by_every_order(score, relevant, k), abs=1e-12, nan_ok=True)


def test_two_relevant_items_at_places_one_and_three_count_by_hand():
    ranks = ranks_of(([9.0, 8.0, 7.0, 6.0, 5.0], [0, 2]))
    at_3 = {name: metric(ranks, 3)[0] for name, metric in AT_K.items()}
    assert at_3 == pytest.approx(
        {"hr": 1.0, "ndcg": 1.5 / (1 + 1 / log2(3)), "recall": 1.0, "precision": 2 / 3, "map": (1 + 2 / 3) / 2, "mrr": 1.0}
    )
    assert auc(ranks)[0] == pytest.approx(5 / 6)


def test_one_relevant_among_five_tied_is_among_the_first_two_with_chance_two_fifths():
    ranks = ranks_of(([1.0] * 5, [3]))
    assert AT_K["hr"](ranks, 2)[0] == pytest.approx(2 / 5)
    assert AT_K["mrr"](ranks, 2)[0] == pytest.approx((1 + 1 / 2) / 5)
    assert AT_K["ndcg"](ranks, 2)[0] == pytest.approx((1 + 1 / log2(3)) / 5)
    assert auc(ranks)[0] == 0.5


def test_with_two_of_four_tied_relevant_the_first_place_misses_half_the_time():
    assert AT_K["hr"](ranks_of(([0.0] * 4, [0, 1])), 1)[0] == pytest.approx(1 / 2)
    assert AT_K["hr"](ranks_of(([0.0] * 4, [0, 1])), 2)[0] == pytest.approx(1 - 1 / 6)


def test_rankings_beside_each_other_do_not_mix():
    one, other = ([3.0, 3.0, 1.0], [0, 2]), ([5.0, 4.0, 4.0, 4.0], [3])
    both = ranks_of(one, other)
    for name, metric in AT_K.items():
        np.testing.assert_allclose(metric(both, 2), [metric(ranks_of(one), 2)[0], metric(ranks_of(other), 2)[0]], err_msg=name)


@given(st.integers(1, 30), st.integers(0, 10**6))
def test_no_metric_leaves_zero_to_one(k, seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 6, 20).tolist()
    ranks = ranks_of((score, rng.permutation(20)[: rng.integers(1, 20)].tolist()))
    values = [metric(ranks, k)[0] for metric in AT_K.values()] + [auc(ranks)[0]]
    assert min(values) >= -1e-12
    assert max(values) <= 1 + 1e-12


def test_a_large_tie_does_not_lose_digits():
    tied = 1_000_000
    ranks = Ranks(np.zeros(3, int), np.zeros(3, int), np.full(3, tied), np.array([tied]))
    assert AT_K["hr"](ranks, 10)[0] == pytest.approx(3e-5, rel=1e-4)
    assert AT_K["recall"](ranks, 10)[0] == pytest.approx(1e-5)
    assert AT_K["map"](ranks, 10)[0] == pytest.approx(sum(1 / j for j in range(1, 11)) / tied, rel=1e-4)


def test_scikit_learn_agrees_on_ndcg_with_ties():
    rng = np.random.default_rng(3)
    for k in (1, 5, 10, 40):
        score, relevant = rng.integers(0, 8, 40).astype(float), rng.permutation(40)[:6]
        expected = sk.ndcg_score([np.isin(np.arange(40), relevant)], [score], k=k)
        assert AT_K["ndcg"](ranks_of((score.tolist(), relevant.tolist())), k)[0] == pytest.approx(expected)


def test_scikit_learn_agrees_on_auc_with_ties():
    rng = np.random.default_rng(4)
    score, relevant = rng.integers(0, 8, 40).astype(float), rng.permutation(40)[:6]
    expected = sk.roc_auc_score(np.isin(np.arange(40), relevant), score)
    assert auc(ranks_of((score.tolist(), relevant.tolist())))[0] == pytest.approx(expected)


def test_scikit_learn_agrees_on_average_precision_without_ties_where_k_cuts_nothing():
    rng = np.random.default_rng(5)
    score, relevant = rng.permutation(40).astype(float), rng.permutation(40)[:6]
    expected = sk.average_precision_score(np.isin(np.arange(40), relevant), score)
    assert AT_K["map"](ranks_of((score.tolist(), relevant.tolist())), 40)[0] == pytest.approx(expected)


def test_a_ranking_without_relevant_items_is_refused():
    with pytest.raises(DataError, match="without relevant items"):
        Ranks(np.array([0]), np.array([0]), np.array([1]), np.array([3, 3]))


def test_rating_errors_count_by_hand():
    assert rmse(np.array([3.0, 5.0]), np.array([4.0, 3.0])) == pytest.approx(2.5**0.5)
    assert mae(np.array([3.0, 5.0]), np.array([4.0, 3.0])) == 1.5


def test_scikit_learn_agrees_on_errors_of_ratings_and_labels():
    rng = np.random.default_rng(6)
    rating, predicted = rng.random(50), rng.random(50)
    assert rmse(rating, predicted) ** 2 == pytest.approx(sk.mean_squared_error(rating, predicted))
    label, logit = rng.integers(0, 2, 50), rng.integers(-3, 4, 50).astype(np.float32)
    assert logloss(label, logit) == pytest.approx(sk.log_loss(label, 1 / (1 + np.exp(-logit.astype(float)))))
    assert label_auc(label, logit) == pytest.approx(sk.roc_auc_score(label, logit))


def test_a_logit_of_a_thousand_costs_a_thousand_when_wrong_and_nothing_when_right():
    assert logloss(np.array([0.0]), np.array([1000.0], np.float32)) == 1000.0
    assert logloss(np.array([1.0]), np.array([1000.0], np.float32)) == 0.0


def test_rows_of_one_label_only_have_no_auc():
    assert np.isnan(label_auc(np.ones(3), np.arange(3)))


def test_the_error_of_targets_clamps_predictions_first():
    label, predicted = np.array([1.0, 0.0, 1.0, 0.0]), np.array([7.0, -0.5, 0.0, 2.0])
    assert target_rmse(label, predicted) == pytest.approx(((0 + 0.25 + 1 + 4) / 4) ** 0.5)
