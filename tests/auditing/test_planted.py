"""Each fault, planted in clean data, is found with its code, and nothing else is above info."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

import attlas
from attlas.auditing.audit import audit
from attlas.auditing.data import EFFECTS, MISLEADING, audit_rows
from attlas.auditing.finding import Finding
from attlas.auditing.model import audit_model
from attlas.auditing.settings import audit_settings
from attlas.auditing.split import audit_split
from attlas.auditing.together import audit_together
from attlas.data.inputs import History, Inputs, LeaveOut, Sizes
from attlas.data.interactions import Interactions
from attlas.data.split import Split, leave_one_out
from attlas.data.vocabulary import Vocabulary
from attlas.evaluation.evaluate import evaluate
from attlas.experiment import Experiment
from attlas.models.layers import embedding, linear
from attlas.ops.segments import segment_sum
from attlas.recommender import Recommender
from attlas.scoring import Scorer
from attlas.training.fit import fit as train_model
from attlas.training.solvers import make_solver
from attlas.trial import together
from tests.auditing.clean import clean, club, fitted

Fault = Callable[[], list[Finding]]


def every(rows: Interactions, step: int) -> Interactions:
    """One row in so many."""
    return rows.take(np.arange(0, len(rows), step))


def audited(name: str, split: Split, change: Callable[[Any], None] | None = None, **further: Any) -> list[Finding]:
    """A model fitted to a split, perhaps damaged, with what the audit says of it."""
    model = copy.deepcopy(fitted(name, split, **further).model)
    if change:
        with torch.no_grad():
            change(model)
    scorer = Scorer(model, Inputs(split.train))
    reports = [evaluate(scorer, split, code) for code in ("full", "ncf")]
    return audit_model(scorer, split, reports, name=name)


def cold_test_items() -> list[Finding]:
    split = clean()
    items = Vocabulary([*split.train.items.ids, *(f"new{n}" for n in range(20))], noun="item")
    train, valid, test = (replace(part, items=items) for part in (split.train, split.valid, split.test))
    item = test.item.copy()
    item[::5] = 60 + np.arange(len(item[::5])) % 20
    return audit_split(replace(split, train=train, valid=valid, test=replace(test, item=item), candidates=None))


def cold_test_users() -> list[Finding]:
    split = clean()
    gone = np.unique(split.test.user)[:5]
    train, valid = (part.take(~np.isin(part.user, gone)) for part in (split.train, split.valid))
    return audit_split(replace(split, train=train, valid=valid))


def cold_rows_left_aside() -> list[Finding]:
    data = club()
    late = (np.argsort(np.argsort(data.time)) > 0.8 * len(data)) & (np.arange(len(data)) % 4 > 0)
    users = Vocabulary([*data.users.ids, *(f"late{n}" for n in range(len(data)))], noun="user")
    strangers = replace(data, users=users, user=np.where(late, 100 + np.arange(len(data)), data.user))
    return audit_split(attlas.split(strangers, "global-time"))


def known_test_rows() -> list[Finding]:
    split = clean()
    return audit_split(
        replace(split, train=together(split.train, replace(every(split.test, 5), time=every(split.valid, 5).time)))
    )


def validation_is_test() -> list[Finding]:
    split = clean()
    return audit_split(replace(split, valid=replace(split.test, time=split.valid.time)))


def validation_in_train() -> list[Finding]:
    split = clean()
    return audit_split(replace(split, train=together(split.train, split.valid)))


def repeated_rows() -> list[Finding]:
    data = club()
    return audit_rows(together(data, every(data, 20)))


def repeated_training_rows() -> list[Finding]:
    split = clean()
    return audit_split(replace(split, train=together(split.train, every(split.train, 20))))


def repeated_test_rows() -> list[Finding]:
    split = clean()
    return audit_split(replace(split, test=together(split.test, every(split.test, 5)), candidates=None))


def twin_items() -> list[Finding]:
    data = club()
    busy = np.argsort(-np.bincount(data.item))[:2]
    copied = data.take(data.item == busy[0])
    return audit_rows(together(data.take(data.item != busy[1]), replace(copied, item=np.full(len(copied), busy[1]))))


def twin_users() -> list[Finding]:
    data = club()
    busy = np.argsort(-np.bincount(data.user))[:2]
    copied = data.take(data.user == busy[0])
    return audit_rows(together(data.take(data.user != busy[1]), replace(copied, user=np.full(len(copied), busy[1]))))


def held_out_among_negatives() -> list[Finding]:
    split = clean()
    candidates = split.candidates.copy()
    candidates[::10, 0] = split.test.item[::10]
    return audit_split(replace(split, candidates=candidates))


def seen_negatives() -> list[Finding]:
    split = clean()
    candidates = split.candidates.copy()
    for row, user in enumerate(split.test.user):
        candidates[row, 0] = split.train.by_user[[user]].indices[0]
    return audit_split(replace(split, candidates=candidates))


def repeated_negatives() -> list[Finding]:
    split = clean()
    candidates = split.candidates.copy()
    candidates[:, 0] = candidates[:, 1]
    return audit_split(replace(split, candidates=candidates))


def own_future() -> list[Finding]:
    """The split says leave-last-out, and every tenth user's test row is set before all of hers."""
    split = clean()
    time = split.test.time.copy()
    time[::10] = 0
    return audit_split(replace(split, test=replace(split.test, time=time)))


def own_future_of_some_in_given_files() -> list[Finding]:
    split = clean()
    time = split.test.time.copy()
    time[::10] = 0
    return audit_split(replace(split, code="given+leave-last-out", test=replace(split.test, time=time)))


def global_future() -> list[Finding]:
    split = clean("global-time")
    time = split.train.time.copy()
    time[::50] = split.test.time.max()
    return audit_split(replace(split, train=replace(split.train, time=time)))


def trained_on_test() -> list[Finding]:
    split = clean()
    cheat = replace(split, train=together(split.train, split.test), candidates=None)
    scorer = fitted("ease", replace(cheat, test=split.valid, valid=None)).scorer
    return audit_model(scorer, split, name="ease")


def not_reproduced() -> list[Finding]:
    """A card that praises itself."""
    recommender = fitted("ease", clean())
    praised = copy.deepcopy(recommender.card)
    praised["reports"][0]["means"]["ndcg@10"] += 0.05
    made = Recommender(recommender.model, recommender.inputs, card=praised)
    return list(audit(made, data=clean()).findings)


def ties() -> list[Finding]:
    """Factors so coarse that a user's scores are a few whole numbers."""

    def coarsen(model: Any) -> None:
        for table in (model.user_embedding, model.item_embedding, model.user_bias, model.item_bias):
            table.weight.copy_(table.weight.round())

    return audited("mf", clean(), coarsen)


def popularity_lists() -> list[Finding]:
    """A model with a vector for each user, all of which say nothing."""
    split = clean()

    def forget(model: Any) -> None:
        model.user_embedding.weight.zero_()
        count = torch.from_numpy(np.diff(split.train.by_item.indptr))
        model.item_bias.weight[:, 0] = count + 1e-3 * torch.randn(len(count), generator=torch.Generator().manual_seed(0))

    return audited("mf", split, forget)


def untrained_items() -> list[Finding]:
    """Ten items without a row, whose bias stands where it was thrown."""
    split = clean()
    items = Vocabulary([*split.train.items.ids, *(f"new{n}" for n in range(10))], noun="item")
    parts = [replace(part, items=items) for part in (split.train, split.valid, split.test)]

    def throw(model: Any) -> None:
        model.item_bias.weight[60:] = 9.0
        model.item_embedding.weight[60:] = 0.001 * torch.arange(10)[:, None]

    return audited("mf", Split(*parts, split.code, split.candidates), throw)


class Sum(nn.Module):
    """The product of two summed histories: what sees how long they are."""

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Config:
        """What training takes out of histories."""

        leave_out: LeaveOut = "remove"

    def __init__(self, sizes: Sizes, config: Config):
        super().__init__()
        self.config = config
        self.chosen, self.choosers = embedding(sizes.num_items, 8, stddev=0.1), embedding(sizes.num_users, 8, stddev=0.1)
        self.top = linear(16, 16)
        self.prediction = linear(16, 1)

    def forward(self, user_history: History, item_history: History) -> Tensor:
        """The logit of each pair, [B]."""
        sums = [
            self._summed(table.weight, history)
            for table, history in ((self.chosen, user_history), (self.choosers, item_history))
        ]
        return self.prediction(torch.relu(self.top(torch.cat(sums, dim=-1)))).squeeze(-1)

    def _summed(self, table: Tensor, history: History) -> Tensor:
        """The sum of each pair's entries without its own target, [B, 8]."""
        value_ED = table[history.distinct]
        own = value_ED[history.index[history.left_out.clamp_min(0)]] * (history.left_out >= 0)[:, None]
        return segment_sum(value_ED, history.lists)[history.row] - own


def of_sums(leave_out: LeaveOut, data: Interactions) -> list[Finding]:
    """A model of summed histories, trained with this way to leave the target out."""
    split = leave_one_out(data, order="random", validation=True)
    inputs = Inputs(split.train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Sum(inputs.sizes, Sum.Config(leave_out))
    train_model(model, make_solver(model, {"learning_rate": 0.01, "batch_size": 512}), inputs, epochs=15, seed=1)
    return audit_model(Scorer(model.eval(), inputs), split, name="sum")


def label_from_length() -> list[Finding]:
    """A thin club, in which one entry less is much of a history."""
    return of_sums("remove", attlas.simulate(150, 150, seed=3, num_interactions=900).interactions)


def own_target() -> list[Finding]:
    return audited("delf", clean(), config={**DELF, "leave_out": "keep"}, epochs=6)


DELF: dict[str, Any] = {"embedding_dim": 8, "attention_dim": 8, "layers": (8,), "stddev": 0.1}


def uniform_attention() -> list[Finding]:
    def silence(model: Any) -> None:
        model.user_attention.query.zero_()
        model.item_attention.query.zero_()

    return audited("delf", clean(), silence)


def one_hot_attention() -> list[Finding]:
    def shout(model: Any) -> None:
        model.user_attention.query.mul_(1e6)
        model.item_attention.query.mul_(1e6)

    return audited("delf", clean(), shout)


def sampled_reversal() -> list[Finding]:
    """A model that puts the rarest items first and then the right ones, against candidates among which no rare one is."""
    split = clean()
    popular = np.argsort(-np.diff(split.train.by_item.indptr), kind="stable")
    right, rarest, listed = popular[8:16], popular[45:], np.concatenate([popular[:8], popular[20:32]])
    is_right = np.isin(split.test.item, right)
    made = replace(split, test=split.test.take(is_right), candidates=np.tile(listed, (int(is_right.sum()), 1)))

    def misplace(model: Any) -> None:
        for table in (model.user_embedding, model.item_embedding, model.item_bias):
            table.weight.zero_()
        model.item_bias.weight[:, 0] = 1e-3 * torch.arange(60)
        model.item_bias.weight[right] += 1.0
        model.item_bias.weight[rarest] += 2.0

    return audited("mf", made, misplace)


def same_numbers() -> list[Finding]:
    scorer = fitted("ease", clean()).scorer
    return audit_together({"ease": {"full": evaluate(scorer, clean())}, "better ease": {"full": evaluate(scorer, clean())}})


def unlike_reports() -> list[Finding]:
    scorer = fitted("ease", clean()).scorer
    some = replace(clean(), test=every(clean().test, 2), candidates=None)
    return audit_together({"ease": {"full": evaluate(scorer, clean())}, "mf": {"full": evaluate(scorer, some)}})


def settings(**tables: Any) -> Experiment:
    """Settings of DELF, and more."""
    return Experiment.of({"model": {"name": "delf", **tables.pop("model", {})}, **tables})


def keeps_target() -> list[Finding]:
    return audit_settings(settings(model={"leave_out": "keep"}), clean())


def blind_epochs() -> list[Finding]:
    return audit_settings(settings(), replace(clean(), valid=None))


def sampled_only() -> list[Finding]:
    return audit_settings(settings(evaluation={"protocol": ("ncf",)}), clean())


def heavy_user() -> list[Finding]:
    data = club()
    items = Vocabulary([*data.items.ids, *(f"bulk{n}" for n in range(200))], noun="item")
    bulk = replace(data.take(np.arange(200)), items=items, user=np.zeros(200, np.int64), item=60 + np.arange(200))
    return audit_rows(together(replace(data, items=items), bulk))


PLANTED: dict[str, tuple[str, Fault]] = {
    fault.__name__: (code, fault)
    for code, fault in (
        ("cold-test-items", cold_test_items),
        ("cold-test-users", cold_test_users),
        ("cold-rows-left-aside", cold_rows_left_aside),
        ("test-in-train", known_test_rows),
        ("validation-is-test", validation_is_test),
        ("validation-in-train", validation_in_train),
        ("repeated-rows", repeated_rows),
        ("repeated-training-rows", repeated_training_rows),
        ("repeated-test-rows", repeated_test_rows),
        ("twin-items", twin_items),
        ("twin-users", twin_users),
        ("heavy-user", heavy_user),
        ("held-out-among-negatives", held_out_among_negatives),
        ("seen-negatives", seen_negatives),
        ("repeated-negatives", repeated_negatives),
        ("own-future", own_future),
        ("own-future", own_future_of_some_in_given_files),
        ("global-future", global_future),
        ("trained-on-test", trained_on_test),
        ("not-reproduced", not_reproduced),
        ("ties", ties),
        ("popularity-lists", popularity_lists),
        ("untrained-items", untrained_items),
        ("own-target", own_target),
        ("label-from-length", label_from_length),
        ("collapsed-attention", uniform_attention),
        ("collapsed-attention", one_hot_attention),
        ("sampled-reversal", sampled_reversal),
        ("same-numbers", same_numbers),
        ("unlike-reports", unlike_reports),
        ("keeps-target", keeps_target),
        ("blind-epochs", blind_epochs),
        ("sampled-only", sampled_only),
    )
}
for _, planted_fault in PLANTED.values():
    planted_fault.__test__ = False  # type: ignore[attr-defined]


def test_a_fault_is_told_once() -> None:
    assert [finding.code for finding in trained_on_test()].count("trained-on-test") == 1


def test_the_size_of_what_is_wrong_with_rows_is_that_of_its_sentence() -> None:
    (found,) = [finding for finding in heavy_user() if finding.code == "heavy-user"]
    assert found.size == pytest.approx((200 + np.sum(club().user == 0)) / (200 + len(club())))


def test_models_of_the_same_numbers_are_so_for_all_their_users() -> None:
    (found,) = same_numbers()
    assert found.size == len(np.unique(clean().test.user))


def test_every_suspicion_that_is_a_warning_has_an_effect() -> None:
    assert set(MISLEADING) <= set(EFFECTS)


def test_of_twenty_candidates_two_that_are_one_are_a_twentieth() -> None:
    (found,) = [finding for finding in repeated_negatives() if finding.code == "repeated-negatives"]
    assert found.size == 1 / 20
    assert "ranked against 5 % fewer items" in str(found.effect)


def test_delf_that_sums_its_histories_by_its_settings_has_no_attention_to_collapse() -> None:
    found = {finding.code for finding in audited("delf", clean(), config={**DELF, "pooling": "sum"})}
    assert "popularity-lists" in found
    assert not {"collapsed-attention", "attention-entropy"} & found


def test_pairs_that_validation_shares_with_the_test_part_are_not_the_fault_of_a_model_that_learned_from_both() -> None:
    split = clean()
    valid = together(split.valid, every(split.test, 10))
    rest = split.test.take(np.arange(len(split.test)) % 10 > 0)
    learned = replace(split, train=together(split.train, valid), valid=None, test=rest, candidates=None)
    found = audit_model(fitted("ease", learned).scorer, replace(split, valid=valid, candidates=None), name="ease")
    assert "trained-on-test" not in {finding.code for finding in found}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(fault: str) -> None:
    code, plant = PLANTED[fault]
    found = {finding.code: finding for finding in plant() if finding.severity != "info"}
    assert set(found) == {code}
    assert found[code].effect
    assert found[code].advice
