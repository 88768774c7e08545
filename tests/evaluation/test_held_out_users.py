"""Users that were held out whole are ranked as strangers, from their given rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import attlas
from attlas.data.inputs import Inputs
from attlas.errors import ConfigError
from attlas.evaluation.evaluate import evaluate
from attlas.models.ease import EASE
from attlas.scoring import Scorer
from tests.evaluation.table import TableScorer, split_of

# Users 0 and 1 are trained on, user 2 validates and user 3 tests. Item 0 speaks for item 1, item 2 for item 3, less loudly.
TRAIN = [(0, 0), (0, 1), (1, 2), (1, 3), (1, 4)]
PARTS = split_of(TRAIN, test=[(3, 1), (3, 3)], valid=[(2, 3)], given=[(2, 2), (3, 0), (3, 2)], num_users=4)


def ease(split: Any) -> Scorer:
    """EASE with two weights."""
    inputs = Inputs(split.train)
    model = EASE(inputs.sizes)
    model.weight_II[0, 1], model.weight_II[2, 3] = 2.0, 1.0
    return Scorer(model.eval(), inputs)


def test_held_out_users_are_ranked_from_what_was_given_of_them_and_given_items_are_hidden():
    # User 3, known by items 0 and 2, is ranked against items 1, 3 and 4 with the scores 2, 1 and 0.
    report = evaluate(ease(PARTS), PARTS, k=(1, 2))
    assert report.users.tolist() == [3]
    assert report.num_candidates == (3, 3)
    assert report.per_user["recall@1"].tolist() == [0.5]
    assert report.per_user["recall@2"].tolist() == [1.0]


def test_users_of_the_validation_part_are_strangers_too():
    # User 2, known by item 2, is ranked against items 0, 1, 3 and 4, of which item 3 alone has a score above 0.
    report = evaluate(ease(PARTS), PARTS, k=1, part="valid")
    assert (report.users.tolist(), report.num_candidates, report.mean("mrr@1")) == ([2], (4, 4), 1.0)


def test_the_report_says_by_which_way_the_users_were_scored():
    report = evaluate(ease(PARTS), PARTS, k=1)
    assert report.ways == {"from the history": 1}
    assert report.to_dict()["ways"] == {"from the history": 1}
    assert "1 user scored as a stranger: from the history" in report.sentences()
    known = split_of(TRAIN, test=[(0, 2)], num_users=4)
    assert evaluate(ease(known), known).ways == {}


def test_a_held_out_user_of_whom_nothing_is_given_is_ranked_by_popularity():
    split = split_of([*TRAIN, (0, 3)], test=[(3, 3)], given=[(2, 2)], num_users=4)
    report = evaluate(ease(split), split, k=1)
    assert (report.ways, report.mean("hr@1")) == ({"popular": 1}, 1.0)


def test_the_size_of_the_blocks_changes_nothing():
    scorers = [ease(PARTS), ease(PARTS)]
    scorers[0].budget = 1
    one, many = (evaluate(scorer, PARTS, k=2).to_dict() for scorer in scorers)
    assert one == many


def test_candidates_do_not_go_with_users_that_were_held_out_whole():
    split = split_of(TRAIN, test=[(3, 1)], given=[(3, 0)], candidates=[[4]], num_users=4)
    with pytest.raises(ConfigError, match="'ncf' does not rank users that were held out whole; use protocol 'full'"):
        evaluate(ease(split), split, "ncf")


def test_a_scorer_without_a_model_cannot_score_strangers():
    with pytest.raises(ConfigError, match=r"scored by an attlas\.scoring\.Scorer; got TableScorer"):
        evaluate(TableScorer(PARTS.train, np.zeros((4, 5))), PARTS)


@pytest.mark.parametrize(("model", "way"), [("ease", "from the history"), ("delf", "fitted user vector")])
def test_evaluation_ranks_strangers_as_recommend_for_answers_them(model: str, way: str, club: Any):
    split = attlas.split(club.interactions, "held-out-users")
    tiny = {"embedding_dim": 8, "attention_dim": 8, "layers": [8]}
    made = attlas.fit(split, model, config=tiny if model == "delf" else None, **({"epochs": 2} if model == "delf" else {}))
    assert made.report.ways == {way: len(made.report.users)}
    for user, hits in zip(made.report.users, made.report.per_user["precision@10"], strict=True):
        history = split.given.items.ids_of(split.given.by_user[[user]].indices)
        answer = made.recommend_for(history, 10)
        assert set(answer["way"]) == {way}
        chosen = set(split.test.items.ids_of(split.test.by_user[[user]].indices))
        assert hits == pytest.approx(len(chosen & set(answer["item"])) / 10)


def test_what_is_not_trained_on_does_not_matter(club: Any):
    split = attlas.split(club.interactions, "held-out-users")
    made = attlas.fit(split, "delf", config={"embedding_dim": 8, "attention_dim": 8, "layers": [8]}, epochs=1)
    before = evaluate(made.scorer, split).to_dict()
    held_out = torch.from_numpy(np.unique(split.given.user))
    with torch.no_grad():
        made.model.user_embedding.weight[held_out] = 100.0
    assert evaluate(Scorer(made.model, made.inputs), split).to_dict() == before


def test_counts_of_given_rows_reach_a_model_that_weighs_by_them_and_the_saved_run_answers_alike(tmp_path):
    club = attlas.simulate(60, 40, seed=3).interactions
    counted = dataclasses.replace(club, count=1 + np.random.default_rng(1).poisson(3, len(club)).astype(np.float32))
    parts = attlas.split(counted, "held-out-users")
    made = attlas.fit(parts, "ials", config={"embedding_dim": 4}, epochs=3)
    once = dataclasses.replace(parts, given=dataclasses.replace(parts.given, count=None))
    plain = evaluate(made.scorer, once, metrics=["auc"]).per_user["auc"]
    assert (evaluate(made.scorer, parts, metrics=["auc"]).per_user["auc"] != plain).any()
    who = parts.given.users.ids_of(np.unique(parts.given.user)[:5])
    loaded = attlas.load(made.save(tmp_path / "run"))
    assert loaded.recommend(who, 5).equals(made.recommend(who, 5))
