"""The story of DELF on Amazon Music in miniature: an HR@10 that lives by items which nobody has ever trained.

With its empirical fusion, DELF was measured there at HR@10 = 0.74, and at 0.33 once items unseen in training were no
candidates (Ferrari Dacrema et al., TOIS 2021): the fusion gives the weight of an item's own vector to how often the item was
chosen, so that all items without a training row get one score, and a high one.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attlas.auditing.finding import Finding
from attlas.auditing.model import audit_model
from attlas.data.inputs import History, Inputs, Sizes
from attlas.data.interactions import Interactions
from attlas.data.split import Split, leave_one_out
from attlas.evaluation.evaluate import evaluate
from attlas.evaluation.report import Report
from attlas.models.delf import DELF
from attlas.models.layers import linear
from attlas.scoring import Scorer
from attlas.training.fit import fit as train_model
from attlas.training.solvers import make_solver


class EmpiricalFusion(nn.Module):
    """DELF's towers, mixed as its authors' EF file mixes them: an id speaks as loud as there are interactions behind it."""

    def __init__(self, sizes: Sizes, leave_out: Any):
        super().__init__()
        settings = {"embedding_dim": 16, "attention_dim": 8, "layers": (16,), "stddev": 0.1, "leave_out": leave_out}
        self.delf = DELF(sizes, DELF.Config(**settings))
        self.config = self.delf.config
        self.prediction = linear(self.config.layers[-1], 1)

    def forward(self, user: Tensor, item: Tensor, user_history: History, item_history: History) -> Tensor:
        """The logit of each pair, [B]."""
        return self.match(self.encode_user(user, user_history), self.encode_item(item, item_history))

    def encode_user(self, user: Tensor, user_history: History) -> Tensor:
        return torch.cat([self.delf.encode_user(user, user_history), loudness(user_history)], dim=-1)

    def encode_item(self, item: Tensor, item_history: History) -> Tensor:
        return torch.cat([self.delf.encode_item(item, item_history), loudness(item_history)], dim=-1)

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """au ai z1 + (1 - au)(1 - ai) z2 + au (1 - ai) z3 + (1 - au) ai z4, and one layer on that."""
        au, ai = torch.broadcast_tensors(user_code[..., -1], item_code[..., -1])
        share_W = torch.stack([au * ai, (1 - au) * (1 - ai), au * (1 - ai), (1 - au) * ai], dim=-1)
        z_WK = (user_code[..., :-1] + item_code[..., :-1]).relu().unflatten(-1, (4, -1))
        return self.prediction((share_W[..., None] * z_WK).sum(-2)).squeeze(-1)


def loudness(history: History) -> Tensor:
    """clip(sqrt(n) / 2, 0, 1) for the n entries that each pair is left with, [B, 1]."""
    return (history.length.sqrt() / 2).clamp(0, 1)[:, None]


@pytest.fixture(scope="module")
def amazon() -> Split:
    """A shop as thin as that of Amazon Music: hardly more than one sale an item, three tastes, 99 candidates a test row.

    Every item was sold at least once; what is cold was sold once, and that sale is held out.
    """
    rng, num_items = np.random.default_rng(0), 1500
    popularity = (np.arange(num_items) + 30.0) ** -0.5
    sold = []
    for user in range(200):
        liked = np.where(np.arange(num_items) % 3 == user % 3, 10.0, 1.0) * popularity
        sold.append(rng.choice(num_items, 8, replace=False, p=liked / liked.sum()))
    data = Interactions.of(np.repeat(np.arange(200), 8), np.concatenate(sold))
    split = leave_one_out(data, order="random", validation=False, keep_cold=True)
    is_chosen = data.by_user.toarray()[split.test.user] > 0
    lists = [rng.choice(np.flatnonzero(~row), 99, replace=False) for row in is_chosen]
    return dataclasses.replace(split, candidates=np.array(lists))


def audited(split: Split, leave_out: str) -> tuple[Report, list[Finding]]:
    """The fusion trained on a split, its report against the candidates, and what the audit says of it."""
    inputs = Inputs(split.train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = EmpiricalFusion(inputs.sizes, leave_out)
    solver = make_solver(model, {"learning_rate": 0.01, "batch_size": 256})
    train_model(model, solver, inputs, epochs=8, seed=1)
    scorer = Scorer(model.eval(), inputs)
    report = evaluate(scorer, split, "ncf")
    return report, audit_model(scorer, split, [report], name="delf-ef")


@pytest.fixture(scope="module")
def removed(amazon: Split) -> tuple[Report, dict[str, Finding]]:
    """The story: targets are taken out of the histories of positives only."""
    report, findings = audited(amazon, "remove")
    return report, {finding.code: finding for finding in findings}


def test_a_good_part_of_the_test_is_of_items_that_were_never_trained_on(amazon: Split) -> None:
    is_cold = np.diff(amazon.train.by_item.indptr) == 0
    assert 0.2 < is_cold[amazon.test.item].mean() < 0.5
    assert is_cold.mean() < 0.1


def test_the_hit_rate_falls_to_less_than_half_and_the_audit_tells_both_figures(
    removed: tuple[Report, dict[str, Finding]],
) -> None:
    report, findings = removed
    found = findings["untrained-items"]
    assert found.severity == "error"
    assert found.effect is not None
    before, after = map(float, re.findall(r"hr@10 (0\.\d+) -> (0\.\d+)", found.effect)[0])
    assert before == pytest.approx(report.mean("hr@10"), abs=1e-4)
    assert after < before / 2


def test_items_that_nobody_can_know_are_found_more_often_than_those_that_were_trained_on(
    amazon: Split, removed: tuple[Report, dict[str, Finding]]
) -> None:
    report, _ = removed
    is_cold = (np.diff(amazon.train.by_item.indptr) == 0)[amazon.test.item[np.argsort(amazon.test.user)]]
    hit = report.per_user["hr@10"]
    assert hit[is_cold].mean() > 0.5 > 2 * hit[~is_cold].mean()


def test_the_audit_says_where_the_artefact_comes_from(removed: tuple[Report, dict[str, Finding]]) -> None:
    _, findings = removed
    assert findings["label-from-length"].severity == "warning"
    assert findings["emptied-histories"].severity == "warning"
    assert findings["emptied-histories"].size > 1


def test_with_an_entry_taken_out_of_negatives_too_the_artefact_is_gone(
    amazon: Split, removed: tuple[Report, dict[str, Finding]]
) -> None:
    report, findings = audited(amazon, "matched")
    assert not [finding for finding in findings if finding.severity == "error"]
    assert report.mean("hr@10") < removed[0].mean("hr@10") / 2
