import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from attlas.errors import ConfigError
from attlas.evaluation import evaluate as evaluating
from attlas.evaluation.beyond import coverage, gini, of_each_list, over_all_lists, self_information
from attlas.evaluation.evaluate import evaluate
from tests.evaluation.table import TableScorer, interactions, split_of

# Item 0 has four users, items 1 and 2 have the same two, item 3 has one of them, item 4 has none.
CHOICES = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3)]
CLUB = interactions(CHOICES, 5, 5)  # user 4 has chosen nothing


def test_novelty_is_the_mean_self_information_in_bits_of_users_who_chose_anything():
    found = of_each_list(np.array([[0, 1], [3, 1]]), CLUB, (1, 2))
    assert found["novelty@1"].tolist() == [0.0, 2.0]
    assert found["novelty@2"].tolist() == [0.5, 1.5]


def test_an_item_that_nobody_chose_is_one_bit_more_novel_than_what_one_user_chose():
    assert self_information(np.array([4, 2, 1, 0]), 4).tolist() == [0.0, 1.0, 2.0, 3.0]
    assert of_each_list(np.array([[4]]), CLUB, (1,))["novelty@1"].tolist() == [3.0]


def test_popularity_is_the_mean_number_of_training_users():
    found = of_each_list(np.array([[0, 1, 3]]), CLUB, (1, 2, 3))
    assert [found[f"popularity@{k}"].item() for k in (1, 2, 3)] == [4.0, 3.0, pytest.approx(7 / 3)]


def test_diversity_is_the_mean_distance_of_all_pairs_by_hand():
    found = of_each_list(np.array([[1, 2, 0, 3]]), CLUB, (2, 3))
    assert found["diversity@2"].item() == pytest.approx(0.0)
    # Cosines 1 (the same two users), and twice 2 / sqrt(2 * 4).
    assert found["diversity@3"].item() == pytest.approx(1 - (1 + 2 * 2 / np.sqrt(8)) / 3)


def test_an_item_that_nobody_chose_is_like_no_other():
    assert of_each_list(np.array([[4, 0]]), CLUB, (2,))["diversity@2"].tolist() == [1.0]


def test_a_list_that_ends_early_counts_what_it_has_and_a_single_item_has_no_diversity():
    found = of_each_list(np.array([[1, 0, -1], [3, -1, -1], [-1, -1, -1]]), CLUB, (3,))
    assert found["popularity@3"][:2].tolist() == [3.0, 1.0]
    np.testing.assert_allclose(found["diversity@3"], [1 - 2 / np.sqrt(8), np.nan, np.nan])
    assert np.isnan(found["novelty@3"][2])


def test_diversity_equals_that_of_scikit_learns_cosines():
    rng = np.random.default_rng(5)
    club = interactions([(u, i) for u in range(40) for i in rng.permutation(25)[: rng.integers(1, 12)]], 40, 26)
    listed = np.array([rng.permutation(26)[:6] for _ in range(30)])
    alike = cosine_similarity(club.by_item.toarray())
    pairs = np.triu_indices(6, 1)
    expected = [1 - alike[np.ix_(items, items)][pairs].mean() for items in listed]
    np.testing.assert_allclose(of_each_list(listed, club, (6,))["diversity@6"], expected, atol=1e-6)


def test_coverage_counts_each_listed_item_once():
    found = over_all_lists(np.array([[0, 1], [0, 2]]), 8, (1, 2))
    assert (found["coverage@1"].value, found["coverage@2"].value) == (1 / 8, 3 / 8)


def test_gini_by_hand():
    # Counts 0, 1, 1, 2: of the 16 ordered pairs six differ by 1 and... |0-1| x 4, |0-2| x 2, |1-2| x 4 sum to 12; mean count 1.
    assert gini(np.array([[1.0, 2.0, 1.0]]), 4).item() == pytest.approx(12 / (2 * 16 * 1))
    assert gini(np.array([[3.0, 3.0]]), 2).item() == 0.0
    assert gini(np.array([[7.0]]), 5).item() == pytest.approx(1 - 1 / 5)
    assert gini(np.zeros((1, 2)), 5).item() == 0.0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(0, 20))
def test_gini_is_the_mean_difference_over_twice_the_mean_and_stays_below_one(counts, never):
    everyone = np.array([*counts, *[0] * never], float)
    found = gini(np.array([counts], float), len(everyone)).item()
    apart = np.abs(everyone[:, None] - everyone).mean()
    assert found == pytest.approx(apart / (2 * everyone.mean()) if everyone.any() else 0.0)
    assert -1e-12 <= found <= 1 - 1 / len(everyone) + 1e-12


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 6))
def test_all_figures_keep_their_bounds_and_intervals_hold_their_values(seed, users, k):
    rng = np.random.default_rng(seed)
    listed = np.array([rng.permutation(5)[:k].tolist() + [-1] * max(0, k - 5) for _ in range(users)])
    for name, values in of_each_list(listed, CLUB, (k,)).items():
        most = {"novelty": 3.0, "popularity": 4.0, "diversity": 1.0}[name.partition("@")[0]]
        assert np.all((values[~np.isnan(values)] >= -1e-9) & (values[~np.isnan(values)] <= most + 1e-9))
    for value, low, high in over_all_lists(listed, 5, (k,)).values():
        assert 0 <= low <= value <= high <= 1


def test_intervals_leave_one_user_out_at_a_time_and_are_equal_in_every_run():
    listed = np.array([[0, 1], [0, 2], [0, 1], [3, 4]])
    value, low, high = over_all_lists(listed, 100, (2,))["coverage@2"]
    without = [len(np.unique(np.delete(listed, user, axis=0))) / 100 for user in range(4)]
    margin = 1.96 * np.sqrt(3 / 4 * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert (value, low, high) == (0.05, pytest.approx(0.05 - margin), pytest.approx(0.05 + margin))
    many = np.array([np.random.default_rng(user).permutation(30)[:4] for user in range(500)])
    assert over_all_lists(many, 30, (2, 4)) == over_all_lists(many, 30, (2, 4))


def test_intervals_hold_what_other_users_would_give_about_as_often_as_they_say():
    # Lists of 3 among 60 items, low ones far more often; the truth is the mean over 2,000 fresh groups of 100 users.
    chance = 1 / np.arange(1, 61)

    def group(rng):
        # The k largest of log chance + Gumbel noise are a draw of k without replacement.
        return np.argsort(-(np.log(chance) + rng.gumbel(size=(100, 60))), axis=1)[:, :3]

    rng = np.random.default_rng(7)
    fresh = [group(rng) for _ in range(2000)]
    counts = np.array([np.bincount(lists.ravel(), minlength=60) for lists in fresh], float)
    truth = {"coverage@3": coverage(counts, 60).mean(), "gini@3": gini(counts, 60).mean()}
    found = [over_all_lists(group(rng), 60, (3,)) for _ in range(100)]
    for name, value in truth.items():
        held = sum(one[name].low <= value <= one[name].high for one in found)
        assert held >= 90, (name, held)


TRAIN = [(0, 0), (1, 1), (2, 2)]
FALLING = [[5, 4, 3, 2, 1]] * 3


def test_a_report_describes_the_best_unseen_items_of_each_ranked_user():
    split = split_of(TRAIN, test=[(0, 4), (1, 3)])
    report = evaluate(TableScorer(split.train, FALLING), split, k=(1, 2), beyond=True)
    # User 0 is shown 1 and 2, user 1 is shown 0 and 2: each chosen by one of three users.
    assert report.per_user["popularity@2"].tolist() == [1.0, 1.0]
    assert report.mean("novelty@1") == pytest.approx(np.log2(3))
    assert {name: of.value for name, of in report.overall.items()} == {
        "coverage@1": 2 / 5,
        "gini@1": pytest.approx(0.6),
        "coverage@2": 3 / 5,
        "gini@2": pytest.approx(0.5),
    }
    assert "what the lists are like, not how good:" in str(report).splitlines()


def test_validation_items_are_no_part_of_the_lists_of_the_test():
    split = split_of(TRAIN, test=[(0, 4)], valid=[(0, 1)])
    lists = {
        part: evaluate(TableScorer(split.train, FALLING), split, k=4, part=part, beyond=True) for part in ("valid", "test")
    }
    assert lists["test"].overall["coverage@4"].value == 3 / 5
    assert lists["valid"].overall["coverage@4"].value == 4 / 5


def test_of_equal_scores_each_user_is_shown_others_and_accuracy_stays_as_it_was():
    users, items = 400, 20
    split = split_of([(u, 0) for u in range(users)], [(u, 1) for u in range(users)], num_users=users, num_items=items)
    scorer = TableScorer(split.train, np.zeros((users, items)), users_at_once=64)
    with_lists, without = evaluate(scorer, split, k=5, beyond=True), evaluate(scorer, split, k=5)
    assert with_lists.overall["coverage@5"].value == 19 / 20
    # 2,000 turns over 19 items, of a draw as even as chance: a Gini of chance alone is about 0.06, and 1/20 are never shown.
    assert with_lists.overall["gini@5"].value < 0.15
    for name, values in without.per_user.items():
        np.testing.assert_array_equal(values, with_lists.per_user[name])


def test_the_size_of_the_blocks_changes_no_list():
    split = split_of(TRAIN, test=[(0, 4), (1, 3), (2, 0)])
    one, all_at_once = (evaluate(TableScorer(split.train, np.zeros((3, 5)), size), split, k=2, beyond=True) for size in (1, 3))
    assert one.overall == all_at_once.overall
    for name, values in one.per_user.items():
        np.testing.assert_array_equal(values, all_at_once.per_user[name])


def test_nobody_pays_for_lists_that_were_not_asked_for(monkeypatch):
    def refuse(*_):
        raise AssertionError("lists were described")

    for name in ("of_each_list", "over_all_lists"):
        monkeypatch.setattr(evaluating, name, refuse)
    monkeypatch.setattr("attlas.evaluation.protocols.top_k", refuse)
    split = split_of(TRAIN, test=[(0, 4)], valid=[(1, 3)])
    report = evaluate(TableScorer(split.train, FALLING), split, k=2, part="valid")
    assert report.overall == {}
    assert "novelty@2" not in report.per_user


def test_candidates_make_no_lists():
    split = split_of(TRAIN, test=[(0, 4)], candidates=[[3]])
    with pytest.raises(
        ConfigError, match="protocol 'ncf' ranks given candidates and makes no lists to describe; use protocol 'full'"
    ):
        evaluate(TableScorer(split.train, FALLING), split, "ncf", beyond=True)
