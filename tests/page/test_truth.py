from __future__ import annotations

import numpy as np
import pytest

from attlas.data.interactions import Interactions
from attlas.data.simulate import Club, simulate
from attlas.data.split import Split, split
from attlas.evaluation.evaluate import evaluate
from attlas.page.truth import ANY, CHOSEN, KnownTruth, Table


@pytest.fixture(scope="module")
def club() -> Club:
    return simulate(60, 40, seed=3)


@pytest.fixture(scope="module")
def read_again(club: Club) -> Split:
    """The club as a reader numbers it: by first appearance, so that indices are others than the truth's."""
    frame = club.interactions.to_frame()
    return split(Interactions.of(frame["user"], frame["item"], frame["rating"], frame["time"]))


def test_the_truth_is_found_by_id_however_the_data_were_numbered(club: Club, read_again: Split) -> None:
    truth = KnownTruth(club, read_again.train)
    for name in ("m7", "m60"):
        theirs = club.interactions.users.index_of([name]).repeat(40)
        items = club.interactions.items.index_of(read_again.train.items.ids)
        mine = truth.preference_UI[read_again.train.users.index_of([name])[0]]
        np.testing.assert_allclose(mine, club.truth.preference(theirs, items), rtol=1e-5, atol=1e-6)


def test_a_table_says_what_its_scorer_says_however_few_users_fit_at_once(read_again: Split) -> None:
    score_UI = np.random.default_rng(1).random((60, 40)).astype(np.float32)
    scorer = Table(read_again.train, score_UI)
    scorer.users_at_once = 7
    np.testing.assert_array_equal(Table.of(scorer).score_UI, score_UI)


def test_lists_are_measured_as_a_loop_would_measure_them(club: Club, read_again: Split) -> None:
    truth = KnownTruth(club, read_again.train)
    scorer = Table(read_again.train, truth.choice_UI)
    report = evaluate(scorer, read_again, "full", k=5)
    found = truth.of_lists({"choice": scorer}, read_again, report)
    assert read_again.valid is not None
    seen = read_again.train.by_user.toarray() + read_again.valid.by_user.toarray() > 0
    liked, chosen, unseen = [], [], []
    for user in report.users:
        left = [item for item in range(40) if not seen[user, item]]
        best = sorted(left, key=lambda item: -truth.choice_UI[user, item])[:5]
        liked.append(truth.preference_UI[user, best].mean())
        mine = [item for item in read_again.test.by_user[[user]].indices if item in left]
        chosen.append(truth.preference_UI[user, mine].mean())
        unseen.append(truth.exposure_UI[user, left].mean())
    assert found["choice"][1].value == pytest.approx(np.mean(liked), rel=1e-4)
    assert found[CHOSEN][1].value == pytest.approx(np.mean(chosen), rel=1e-4)
    assert found[ANY][0].value == pytest.approx(np.mean(unseen), rel=1e-4)


def test_knowing_the_truth_ranks_better_than_exposure_or_preference_alone(club: Club, read_again: Split) -> None:
    truth = KnownTruth(club, read_again.train)
    tables = (truth.choice_UI, truth.exposure_UI, truth.preference_UI)
    both, exposure, preference = (evaluate(Table(read_again.train, table), read_again).mean("ndcg@10") for table in tables)
    assert both > max(exposure, preference)
