import numpy as np
import pytest

from attlas.errors import AttlasError, ConfigError, DataError
from attlas.evaluation.evaluate import evaluate
from tests.evaluation.table import TableScorer, split_of

TRAIN = [(0, 0), (1, 1), (2, 2)]
FALLING = [[5, 4, 3, 2, 1]] * 3


def test_what_the_user_has_seen_does_not_stand_in_the_way():
    split = split_of(TRAIN, test=[(0, 1), (1, 2)])
    report = evaluate(TableScorer(split.train, FALLING), split, k=(1, 2))
    assert report.users.tolist() == [0, 1]
    assert report.per_user["hr@1"].tolist() == [1.0, 0.0]
    assert report.per_user["mrr@2"].tolist() == [1.0, 0.5]
    assert report.num_candidates == (4, 4)


def test_validation_items_are_masked_in_test_but_test_items_not_in_validation():
    split = split_of(TRAIN, test=[(0, 2)], valid=[(0, 1), (1, 2)])
    scorer = TableScorer(split.train, FALLING)
    assert evaluate(scorer, split, k=1, metrics=["hr"]).per_user["hr@1"].tolist() == [1.0]
    assert evaluate(scorer, split, k=1, metrics=["hr"], part="valid").per_user["hr@1"].tolist() == [1.0, 0.0]
    assert evaluate(scorer, split, k=1, part="valid").num_candidates == (4, 4)


def test_several_held_out_items_of_a_user_count_by_hand():
    split = split_of(TRAIN, test=[(0, 1), (0, 4)])
    report = evaluate(TableScorer(split.train, FALLING), split, k=2, metrics=["recall", "precision", "auc"])
    assert {name: report.mean(name) for name in report.per_user} == {"recall@2": 0.5, "precision@2": 0.5, "auc": 0.5}


def test_a_held_out_pair_that_was_also_trained_on_is_left_out_and_counted():
    split = split_of(TRAIN, test=[(0, 0), (0, 1), (2, 2)])
    report = evaluate(TableScorer(split.train, FALLING), split)
    assert (report.users.tolist(), report.num_masked, report.num_users_without_test) == ([0], 2, 2)
    assert report.mean("recall@10") == 1.0


def test_when_every_held_out_pair_was_trained_on_nothing_is_left_and_the_message_says_so():
    split = split_of(TRAIN, test=[(0, 0)])
    with pytest.raises(DataError, match="all 1 held-out pairs were also seen"):
        evaluate(TableScorer(split.train, FALLING), split)


def test_an_empty_part_is_refused():
    split = split_of(TRAIN, test=[])
    with pytest.raises(DataError, match="the part is empty"):
        evaluate(TableScorer(split.train, FALLING), split)


def test_no_more_full_rows_are_asked_for_than_fit():
    split = split_of(TRAIN, test=[(0, 1), (1, 2), (2, 3)])
    seen: list[tuple[int, int]] = []
    scorer = TableScorer(split.train, FALLING, users_at_once=2)
    evaluate(scorer, split, watch=lambda done, total: seen.append((done, total)))
    assert scorer.most_users_at_once == 2
    assert seen == [(2, 3), (3, 3)]


def test_the_size_of_the_blocks_changes_nothing():
    rng = np.random.default_rng(7)
    pairs = [(user, item) for user in range(20) for item in rng.permutation(30)[:6]]
    split = split_of(pairs[::2], pairs[1::2], num_users=20, num_items=30)
    score = rng.integers(0, 9, (20, 30))
    one, many = (evaluate(TableScorer(split.train, score, size), split, k=(3, 10)) for size in (1, 100))
    for name, values in one.per_user.items():
        np.testing.assert_array_equal(values, many.per_user[name])


def test_a_constant_scorer_gets_what_chance_gets():
    split = split_of(TRAIN, test=[(0, 1), (1, 2), (2, 3)])
    report = evaluate(TableScorer(split.train, np.zeros((3, 5))), split, k=1)
    assert report.mean("hr@1") == pytest.approx(1 / 4)
    assert report.mean("auc") == 0.5
    assert report.tie_share == 1.0


def test_ncf_counts_a_held_out_item_among_its_own_negatives_once_and_repeated_negatives_once():
    split = split_of(TRAIN, test=[(0, 3)], candidates=[[3, 4, 4, 1, 1]])
    report = evaluate(TableScorer(split.train, FALLING), split, "ncf", k=1)
    assert report.num_candidates == (3, 3)
    assert report.mean("mrr@1") == 0.0
    assert report.mean("auc") == 0.5
    assert report.tie_share == 0.0


def test_ncf_keeps_a_trained_candidate_that_ncf_clean_takes_out():
    split = split_of(TRAIN, test=[(0, 1)], candidates=[[0, 2, 3]])
    scorer = TableScorer(split.train, FALLING)
    assert evaluate(scorer, split, "ncf", k=1).mean("hr@1") == 0.0
    assert evaluate(scorer, split, "ncf-clean", k=1).mean("hr@1") == 1.0


def test_ncf_ranks_a_held_out_item_that_was_trained_on_and_ncf_clean_leaves_it_out():
    split = split_of(TRAIN, test=[(0, 0), (1, 2)], candidates=[[3], [4]])
    scorer = TableScorer(split.train, FALLING)
    assert evaluate(scorer, split, "ncf").users.tolist() == [0, 1]
    clean = evaluate(scorer, split, "ncf-clean")
    assert (clean.users.tolist(), clean.num_masked) == ([1], 1)


def test_two_rows_of_one_user_are_two_rankings_whose_mean_is_the_users():
    split = split_of(TRAIN, test=[(1, 0), (0, 2), (1, 4)], candidates=[[2, 3], [3, 4], [2, 3]])
    report = evaluate(TableScorer(split.train, FALLING), split, "ncf", k=1)
    assert report.users.tolist() == [0, 1]
    assert report.per_user["hr@1"].tolist() == [1.0, 0.5]


def test_candidates_are_scored_in_blocks_that_fit():
    split = split_of(TRAIN, test=[(0, 3), (1, 3), (2, 3)], candidates=[[0, 1]] * 3)
    scorer, seen = TableScorer(split.train, FALLING, users_at_once=1), []
    report = evaluate(scorer, split, "ncf", k=1, watch=lambda done, total: seen.append((done, total)))
    assert scorer.most_pairs_at_once <= 5
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert report.mean("hr@1") == 0.0


def test_missing_candidates_are_an_error_that_names_the_full_protocol():
    split = split_of(TRAIN, test=[(0, 1)], valid=[(1, 2)])
    with pytest.raises(ConfigError, match="this split came without them; use protocol 'full'"):
        evaluate(TableScorer(split.train, FALLING), split, "ncf")


def test_candidates_belong_to_the_test_part_only():
    split = split_of(TRAIN, test=[(0, 1)], valid=[(1, 2)], candidates=[[2]])
    with pytest.raises(ConfigError, match="given for the test part only; use protocol 'full'"):
        evaluate(TableScorer(split.train, FALLING), split, "ncf", part="valid")


def test_lists_of_candidates_must_match_the_test_rows():
    split = split_of(TRAIN, test=[(0, 1)], candidates=[[2], [3]])
    with pytest.raises(DataError, match="2 lists of candidates for 1 test rows"):
        evaluate(TableScorer(split.train, FALLING), split, "ncf")


@pytest.mark.parametrize("protocol", ["full", "ncf"])
def test_a_score_that_is_nan_is_refused(protocol):
    split = split_of(TRAIN, test=[(0, 1)], candidates=[[2]])
    with pytest.raises(AttlasError, match=r"scores are nan.*take smaller steps"):
        evaluate(TableScorer(split.train, np.full((3, 5), np.nan)), split, protocol)


def test_a_scorer_of_other_data_is_refused():
    split, other = split_of(TRAIN, test=[(0, 1)]), split_of(TRAIN, test=[(0, 1)], num_items=6)
    with pytest.raises(ConfigError, match="evaluate on the split it was trained on"):
        evaluate(TableScorer(other.train, np.zeros((3, 6))), split)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"protocol": "ful"}, "did you mean 'full'"),
        ({"metrics": ["ndgc"]}, "did you mean 'ndcg'"),
        ({"k": (0,)}, "k is 0; expected whole numbers of at least 1"),
        ({"k": ()}, "k is empty"),
        ({"k": (10, 2.5)}, "k is 10.0, 2.5; expected whole numbers"),
        ({"part": "train"}, "no part 'train'"),
        ({"part": "valid"}, "no validation part"),
    ],
)
def test_a_wrong_request_is_an_error_that_says_what_would_be_right(wrong, message):
    split = split_of(TRAIN, test=[(0, 1)])
    with pytest.raises(ConfigError, match=message):
        evaluate(TableScorer(split.train, FALLING), split, **wrong)
