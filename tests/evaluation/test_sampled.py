import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

import attlas
from attlas.data.split import read_split
from attlas.evaluation.evaluate import evaluate
from attlas.evaluation.metrics import Ranks, hit_rate, ndcg
from attlas.evaluation.sampled import corrected, expected, trade_off, unbiased_rank
from tests.evaluation.table import TableScorer, split_of

GAIN = np.stack([np.ones(10), 1 / np.log2(np.arange(10) + 2)], axis=1)  # hit rate and NDCG at 10
DATA = Path(os.environ.get("ATTLAS_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def least_squares(gain: np.ndarray, samples: int, num_items: int, variance_weight: float, law=hypergeom) -> np.ndarray:
    """The paper's system as it stands there: ((1 - gamma) A'A + gamma diag(c)) f = A'b, with p(r) = 1 / n."""
    better, place = np.arange(num_items)[:, None], np.arange(samples + 1)
    if law is hypergeom:
        law_rj = hypergeom.pmf(place, num_items - 1, better, samples)
    else:
        law_rj = binom.pmf(place, samples, better / (num_items - 1))
    metric = np.zeros((num_items, gain.shape[1]))
    metric[: len(gain)] = gain[:num_items]
    left = (1 - variance_weight) * law_rj.T @ law_rj + variance_weight * np.diag(law_rj.sum(axis=0))
    return np.linalg.solve(left, law_rj.T @ metric)


@pytest.mark.parametrize("variance_weight", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(("samples", "num_items"), [(0, 7), (1, 2), (3, 20), (99, 150), (99, 2000), (20, 21)])
def test_the_trade_off_equals_the_least_squares_of_the_paper(samples, num_items, variance_weight):
    found = trade_off(GAIN, samples, num_items, variance_weight=variance_weight)
    np.testing.assert_allclose(found, least_squares(GAIN, samples, num_items, variance_weight), atol=1e-11)


def test_with_few_samples_of_many_items_it_is_nearly_the_papers_draw_with_replacement():
    found = trade_off(GAIN, 20, 3000)
    np.testing.assert_allclose(found, least_squares(GAIN, 20, 3000, 0.1, law=binom), atol=2e-3)
    assert np.abs(found).max() > 0.1


def test_one_sample_of_two_others_by_hand():
    # Ranks 1, 2, 3 of three items; the sample is one of the two others, so it is ahead with probability 0, 1/2, 1.
    # For hit rate at 1 and gamma 1, f[j] is the mean of M over the ranks that j came from: f[0] = 1 / (1 + 1/2), f[1] = 0.
    gain = np.ones((1, 1))
    np.testing.assert_allclose(trade_off(gain, 1, 3, variance_weight=1.0)[:, 0], [2 / 3, 0], atol=1e-12)


@given(st.integers(1, 30), st.integers(1, 12))
def test_a_sample_of_everything_needs_no_correction(samples, k):
    gain = 1 / np.log2(np.arange(k) + 2)[:, None]
    full = np.zeros((samples + 1, 1))
    full[:k] = gain[: samples + 1]
    for estimator in (trade_off, unbiased_rank):
        np.testing.assert_allclose(estimator(gain, samples, samples + 1), full, atol=1e-9)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 4))
def test_the_rank_estimator_is_unbiased_over_every_possible_sample(others, samples):
    samples = min(samples, others)
    for better in range(others + 1):
        drawn = [sum(item < better for item in sample) for sample in combinations(range(others), samples)]
        assert np.mean([others * ahead / samples for ahead in drawn]) == pytest.approx(better)


def test_the_metric_of_the_unbiased_rank_by_hand():
    # 2 of 10 others sampled: none ahead is rank 1, one ahead is rank 6, two ahead is rank 11.
    assert unbiased_rank(np.arange(10, 0, -1.0)[:, None], 2, 11)[:, 0].tolist() == [10.0, 5.0, 0.0]


def test_ties_get_the_mean_over_their_orders_and_each_ranking_its_own_numbers():
    table, other = trade_off(GAIN, 5, 40), trade_off(GAIN, 4, 30)
    found = corrected(GAIN, np.array([1, 0, 2]), np.array([3, 1, 1]), np.array([5, 4, 5]), np.array([40, 30, 40]))
    np.testing.assert_allclose(found, [table[1:4].mean(axis=0), other[0], table[2]])


def drawn(metric, score, relevant, samples, k):
    """The mean of a metric over every possible sample, each relevant item ranked by itself."""
    values = []
    for item in relevant:
        others = [other for other in range(len(score)) if other != item]
        for sample in combinations(others, min(samples, len(others))):
            better, same = (sum(test(score[other], score[item]) for other in sample) for test in (np.greater, np.equal))
            rank = Ranks(np.array([0]), np.array([better]), np.array([same + 1]), np.array([len(sample) + 1]))
            values.append(metric(rank, k)[0])
    return np.mean(values)


@pytest.mark.parametrize("metric", [hit_rate, ndcg])
@given(
    scores=st.lists(st.integers(0, 3), min_size=1, max_size=7), samples=st.integers(0, 4), k=st.integers(1, 3), data=st.data()
)
def test_the_expected_metric_is_the_mean_over_every_possible_sample(metric, scores, samples, k, data):
    relevant = data.draw(st.lists(st.integers(0, len(scores) - 1), min_size=1, max_size=3, unique=True))
    score = np.array(scores)
    ahead, tied = ((np.array([test(score, score[item]).sum() for item in relevant])) for test in (np.greater, np.equal))
    ranks = Ranks(np.zeros(len(relevant), int), ahead, tied, np.array([len(score)]))
    found = expected(metric, ranks, k, samples=samples)
    np.testing.assert_allclose(found, [drawn(metric, score, relevant, samples, k)], atol=1e-12)


def test_the_expected_metric_among_99_by_hand_is_the_chance_that_none_of_the_better_is_drawn():
    # Place 3 of 200: hit rate at 1 needs both better items among the 100 of 199 others that are not drawn.
    ranks = Ranks(np.array([0, 1]), np.array([2, 0]), np.array([1, 1]), np.array([200, 50]))
    np.testing.assert_allclose(expected(hit_rate, ranks, 1), [100 * 99 / (199 * 198), 1.0], rtol=1e-12)


def test_on_simulated_ranks_the_corrected_mean_is_near_the_full_one_and_the_sampled_one_far_off():
    rng, num_items, users = np.random.default_rng(4), 3000, 40_000
    # Half of all ranks are above 100, and 7 % among the first ten, much as on MovieLens.
    rank = np.clip(np.ceil(100 * np.exp(1.6 * rng.standard_normal(users))), 1, num_items).astype(int)
    ahead, one = rng.hypergeometric(rank - 1, num_items - rank, 99), np.ones(users, int)
    full, sampled = (np.where(place[:, None] < 10, GAIN[np.minimum(place, 9)], 0).mean(axis=0) for place in (rank - 1, ahead))
    balanced, by_rank = (
        corrected(GAIN, ahead, one, 99 * one, num_items * one, estimator=estimator).mean(axis=0)
        for estimator in (trade_off, unbiased_rank)
    )
    assert (sampled > 9 * full).all()
    # With other draws: hit rate 0.0757 for 0.0718, NDCG 0.0348 for 0.0283; a sample of 99 hardly tells the first ten apart.
    assert balanced[0] == pytest.approx(full[0], rel=0.1)
    assert balanced[1] == pytest.approx(full[1], rel=0.3)
    # The metric of the unbiased rank takes everybody whom no sample beats for a first place.
    assert (by_rank > 2 * full).all()


def test_less_weight_on_the_variance_means_less_bias_and_more_variance():
    ranks = np.arange(1, 11)
    law = hypergeom.pmf(np.arange(100), 2999, ranks[:, None] - 1, 99)
    bias, variance = [], []
    for weight in (0.01, 0.1, 1.0):
        f = trade_off(GAIN[:, :1], 99, 3000, variance_weight=weight)[:, 0]
        bias.append(abs(law @ f - 1).mean())
        variance.append((law @ f**2 - (law @ f) ** 2).mean())
    assert bias == sorted(bias)
    assert variance == sorted(variance, reverse=True)


TRAIN = [(0, 0), (1, 1), (2, 2)]
FALLING = [[5, 4, 3, 2, 1]] * 3


def test_a_sampled_report_holds_corrected_metrics_of_the_catalogue_that_candidates_were_drawn_from():
    split = split_of(TRAIN, test=[(0, 2)], candidates=[[1, 4]])
    report = evaluate(TableScorer(split.train, FALLING), split, "ncf", k=(1, 2), metrics=["hr", "auc"])
    # One candidate of two is ahead; user 0 has seen one of five items, so four are left, the held-out one among them.
    assert report.mean("hr@2 corrected") == pytest.approx(trade_off(np.ones((2, 1)), 2, 4)[1, 0])
    assert list(report.per_user) == ["hr@1", "hr@2", "auc", "hr@1 corrected", "hr@2 corrected"]
    assert report.sentences()[-1].startswith("corrected: full ranking, estimated as if candidates were drawn evenly")


def test_candidates_that_are_all_there_is_give_the_full_metric():
    split = split_of(TRAIN, test=[(0, 2), (1, 4)], candidates=[[1, 3, 4], [0, 2, 3]])
    scorer = TableScorer(split.train, FALLING)
    full, sampled = (evaluate(scorer, split, code, k=2) for code in ("full", "ncf"))
    for name in ("hr@2", "ndcg@2", "recall@2", "precision@2", "map@2", "mrr@2"):
        np.testing.assert_allclose(sampled.per_user[f"{name} corrected"], full.per_user[name], atol=1e-12)


def test_the_full_protocol_and_users_with_several_rankings_have_nothing_to_correct():
    split = split_of(TRAIN, test=[(1, 0), (0, 2), (1, 4)], candidates=[[2, 3], [3, 4], [2, 3]])
    for code in ("full", "ncf"):
        report = evaluate(TableScorer(split.train, FALLING), split, code, k=1)
        assert not [name for name in report.per_user if "corrected" in name]


def test_candidates_that_were_seen_or_repeat_are_counted():
    split = split_of(TRAIN, test=[(0, 3)], candidates=[[3, 4, 4, 0, 1]])
    scorer = TableScorer(split.train, FALLING)
    odd = {"seen by their user": 1, "repeated, or the held-out item itself": 2}
    for code in ("ncf", "ncf-clean"):
        report = evaluate(scorer, split, code, k=1)
        assert report.odd_candidates == report.to_dict()["odd_candidates"] == odd
        assert "1 given candidate seen by their user" in report.sentences()


def test_on_movielens_the_corrected_ncf_is_near_the_full_figure_and_the_plain_one_far_off():
    if not (DATA / "ml-1m-ncf").is_dir():
        pytest.skip("the data set ml-1m-ncf is not on this machine; set ATTLAS_DATA to the folder that holds it")
    split = read_split(DATA / "ml-1m-ncf")
    scorer = attlas.fit(split, model="ials", config={"embedding_dim": 16}, epochs=5).scorer
    full, sampled = (evaluate(scorer, split, code, metrics=["ndcg", "hr"]) for code in ("full", "ncf"))
    for name in ("ndcg@10", "hr@10"):
        truth = full.mean(name)
        assert sampled.mean(name) > 6 * truth
        # With 99 of some 3,500 the first ten places are told apart from the next fifty by little: see read-the-numbers.
        assert abs(sampled.mean(f"{name} corrected") - truth) < 0.35 * truth
