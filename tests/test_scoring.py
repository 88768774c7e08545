import numpy as np
import pytest
import torch
from torch import nn

from attlas.data.inputs import Inputs, Sizes
from attlas.models.delf import DELF
from attlas.scoring import CODE_FLOATS, Scorer
from tests.toy import fitted, two_tastes

INPUTS = Inputs(two_tastes().train)
PAIR_BYTES = 4 * 4 * 1024  # what one pair may build: four rows of 1,024 floats


class Spy(nn.Module):
    """Scores a pair by 100 user + item, and remembers how many pairs it was shown at once."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, user, item):
        self.shown.append(len(user))
        return 100.0 * user + item


def delf() -> DELF:
    torch.manual_seed(1)
    return DELF(Sizes(16, 16), DELF.Config(embedding_dim=4, attention_dim=3, layers=(5, 3), stddev=1.0)).eval()


def test_pairs_are_scored_in_their_order_in_batches_that_fit_the_budget():
    spy = Spy()
    score = Scorer(spy, INPUTS, budget=2 * PAIR_BYTES).score(np.array([3, 1, 1, 0, 2]), np.array([7, 8, 0, 1, 15]))
    assert score.tolist() == [307.0, 108.0, 100.0, 1.0, 215.0]
    assert score.dtype == np.float32
    assert spy.shown == [2, 2, 1]


@pytest.mark.parametrize("budget", [1, 1000, 10**6, 10**9])
def test_the_rows_of_scores_that_are_made_at_once_fit_the_budget_if_one_row_does(budget):
    at_once = Scorer(Spy(), INPUTS, budget=budget).users_at_once
    assert at_once >= 1
    user_bytes = 4 * (3 * 16 + CODE_FLOATS)
    assert at_once == 1 or at_once * user_bytes <= budget
    assert (at_once + 1) * user_bytes > budget, "it leaves budget unused"


@pytest.mark.parametrize("budget", [1, 3 * PAIR_BYTES, 2**29])
def test_the_budget_changes_no_score(budget):
    user, item = np.random.default_rng(1).integers(0, 16, (2, 40))
    found, expected = (Scorer(delf(), INPUTS, budget=size).score(user, item) for size in (budget, 2**30))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("floats", [1, 60, 200, 2**20])
def test_the_size_of_a_block_of_the_catalogue_changes_no_score(monkeypatch, floats):
    model, user = delf(), np.array([5, 0, 5, 15])
    expected = Scorer(model, INPUTS).score_all(user)
    monkeypatch.setattr("attlas.scoring.BLOCK_FLOATS", floats)
    np.testing.assert_allclose(Scorer(model, INPUTS).score_all(user), expected, rtol=1e-5, atol=1e-6)


def test_a_trained_pair_is_scored_without_itself_alone_and_with_itself_in_the_catalogue():
    scorer = Scorer(delf(), INPUTS)
    item = INPUTS.train.by_user[[2]].indices
    alone = scorer.score(np.full(len(item), 2), item)
    kept = scorer.model(**INPUTS.gather(scorer.names, np.full(len(item), 2), item, leave_out="keep"))
    catalogue = scorer.score_all(np.array([2]))[0, item]
    np.testing.assert_allclose(catalogue, kept.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert (np.abs(catalogue - alone) > 1e-4).all()


def test_nobody_asked_for_gets_an_empty_answer():
    scorer, nobody = Scorer(delf(), INPUTS), np.zeros(0, np.int64)
    assert scorer.score(nobody, nobody).shape == (0,)
    assert scorer.score_all(nobody).shape == (0, 16)


def test_a_scorer_like_another_shares_its_item_codes_and_its_budget():
    one = Scorer(delf(), INPUTS, budget=12345)
    other = Scorer(delf(), INPUTS, like=one)
    assert other.item_code is one.item_code
    assert other.budget == 12345


def test_scores_carry_no_gradients():
    scorer = Scorer(delf(), INPUTS)
    assert not scorer.item_code.requires_grad
    assert isinstance(scorer.score_all(np.array([0])), np.ndarray)


def test_a_model_that_neither_ranks_nor_separates_is_asked_pair_by_pair():
    score = Scorer(Spy(), INPUTS).score_all(np.array([3, 0]))
    assert score.shape == (2, 16)
    assert score[:, [0, 9]].tolist() == [[300.0, 309.0], [0.0, 9.0]]


def test_a_catalogue_is_shown_pair_by_pair_in_batches_that_fit_the_budget():
    spy = Spy()
    score = Scorer(spy, INPUTS, budget=5 * PAIR_BYTES).score_all(np.array([3, 0]))
    assert spy.shown == [5, 5, 5, 1] * 2
    assert score[:, [0, 9]].tolist() == [[300.0, 309.0], [0.0, 9.0]]


class OnlyForward(nn.Module):
    """DELF without its halves."""

    def __init__(self):
        super().__init__()
        self.delf = delf()

    def forward(self, user, item, user_history, item_history):
        return self.delf(user, item, user_history, item_history)


def test_pair_by_pair_gives_the_scores_of_the_halves():
    user = np.array([5, 0, 15])
    literal, halves = (Scorer(model, INPUTS).score_all(user) for model in (OnlyForward().eval(), delf()))
    np.testing.assert_allclose(literal, halves, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["nais", "aimf", "delf", "ease", "dacr"])
def test_a_prepared_scorer_says_what_an_unprepared_one_says(name):
    run = fitted(name)
    plain, prepared = (Scorer(run.model, run.inputs) for _ in range(2))
    prepared.prepare()
    for users in (np.array([3]), np.array([5, 0, 5])):
        np.testing.assert_allclose(prepared.score_all(users), plain.score_all(users), rtol=1e-5, atol=1e-6)


def test_what_would_not_fit_the_budget_is_not_prepared():
    run = fitted("nais")
    prepared = Scorer(run.model, run.inputs, budget=4 * 2 * 16 * 16 - 1)
    prepared.prepare()
    run.model.tabulate = None  # not asked any more
    try:
        np.testing.assert_array_equal(prepared.score_all(np.arange(3)), run.scorer.score_all(np.arange(3)))
    finally:
        del run.model.tabulate
