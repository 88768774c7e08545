"""On clean data nothing is above info: an audit that cries wolf is not read."""

from __future__ import annotations

import pytest

import attlas
from attlas.auditing.audit import audit
from attlas.auditing.data import audit_rows
from attlas.auditing.together import audit_together
from attlas.data.split import CODES
from attlas.evaluation.evaluate import evaluate
from attlas.models import MODELS, model_class
from attlas.models.protocol import asked_by, task_of
from tests.auditing.clean import OTHERS, SMALL, club, fitted, with_candidates

SEEDS = range(1, 21)
WAYS = [code for code in CODES if code != "auto"]


def others_at(seed: int) -> list[str]:
    """Two of the other models, others with every seed."""
    names = [*OTHERS]
    return [names[(2 * seed + place) % len(names)] for place in range(2)]


def test_every_model_that_ranks_is_looked_at() -> None:
    ranking = {name for name in MODELS if task_of(model_class(name)) == "ranking"}
    assert ranking == {*SMALL, *OTHERS}
    assert {name for seed in SEEDS for name in others_at(seed)} == {*OTHERS}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_above_info_for_honest_models_of_clean_data(seed: int) -> None:
    data = club(seed)
    split = attlas.split(data, WAYS[seed % len(WAYS)], seed)
    if split.given is None:
        split = with_candidates(split)
    found = audit_rows(data)
    reports = {}
    for name in (*SMALL, *others_at(seed)):
        if split.given is not None and "fields" in asked_by(model_class(name)):
            continue  # it has the most popular items for whom it does not know, and the audit says so
        recommender = fitted(name, split, seed=seed)
        audited = audit(recommender, data=split)
        found += audited.findings
        assert {finding.code for finding in audited.findings} >= {"popularity-lists"}, "the model itself was not looked at"
        codes = ("full",) if split.candidates is None else ("full", "ncf")
        reports[name] = {code: evaluate(recommender.scorer, split, code) for code in codes}
    found += audit_together(reports)
    assert [finding for finding in found if finding.severity != "info"] == []
