"""Taking an entry out of a history and asking again, against doing so literally, one entry at a time."""

import copy

import numpy as np
import pytest
import torch

from attlas.awaiting import while_awaited
from attlas.counterfactual import KNOWN, Asker, leave_one_out, score_with, way_of_counterfactuals
from attlas.data.inputs import History, Inputs
from attlas.errors import ConfigError, TooLate
from attlas.frozen import LEARNING_RATE, STEPS, drawn_for
from attlas.models import MODELS, model_class
from attlas.models.protocol import asked_by, reads_history
from attlas.scoring import Scorer
from attlas.strangers import FITTED, FOLDED, way_of
from tests.toy import fitted

USER, ITEM = 4, 4
READING = [name for name in MODELS if {"user_history", "observed"} & set(asked_by(model_class(name)))]
BY_USER = [name for name in MODELS if name not in READING and "user" in asked_by(model_class(name))]
SOLVING = [name for name in BY_USER if way_of(model_class(name)) == FOLDED]
FITTING = [name for name in BY_USER if way_of(model_class(name)) == FITTED]


def asker_of(name: str, user: int = USER) -> Asker:
    return Asker(KNOWN, fitted(name).inputs.train.counts_by_user[[user]], user)


@pytest.mark.parametrize(("name", "is_told"), [("neumf", True), ("dacr", False), ("ials", False)])
def test_the_command_line_says_that_fits_take_their_time(name, is_told, tmp_path, command):
    run = fitted(name).save(tmp_path / "run")
    said = command("explain", run, f"u{USER}", f"i{ITEM}", "--method", "counterfactual", "--json")
    assert (said.code, said.json["method"]) == (0, "counterfactual"), said.err
    assert ("asking again without each entry" in said.err) == is_told


def test_every_model_either_reads_solves_fits_or_scores_from_no_history():
    without = [name for name in MODELS if name not in (*READING, *SOLVING, *FITTING)]
    assert without == [name for name in MODELS if not reads_history(model_class(name))]
    assert without == ["popularity", "biased_mf", "linear", "fm", "nfm", "deepfm", "afm"]


@pytest.mark.parametrize("name", READING)
def test_of_a_model_that_reads_the_history_each_fall_is_that_of_a_training_set_without_the_row(name):
    scorer, train = fitted(name).scorer, fitted(name).inputs.train
    found = leave_one_out(scorer, ITEM, asker_of(name))
    pair = np.array([USER]), np.array([ITEM])
    assert found.score == pytest.approx(scorer.score(*pair).item(), rel=1e-5, abs=1e-6)
    rows = np.flatnonzero(train.user == USER)
    assert sorted(train.item[rows]) == found.items.tolist()
    for row in rows:
        without = Scorer(scorer.model, Inputs(train.take(np.arange(len(train)) != row))).score(*pair).item()
        fall = found.fall[found.items == train.item[row]].item()
        assert fall == pytest.approx(found.score - without, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", SOLVING)
def test_of_a_model_that_solves_for_users_each_fall_is_that_of_a_vector_solved_without_the_entry(name):
    model, found = fitted(name).model, leave_one_out(fitted(name).scorer, ITEM, asker_of(name))
    widths = [getattr(model, table).weight.shape[1] for table in model.user_tables]

    def solved(items: list[int]) -> float:
        alone = type(model)(fitted(name).inputs.sizes, model.config)
        alone.load_state_dict(model.state_dict())
        with torch.no_grad():
            parts = model.fold_in(History.of([items], 16)).split(widths, dim=1)
            for table, part in zip(model.user_tables, parts, strict=True):
                getattr(alone, table).weight[0] = part[0]
            return float(alone(torch.tensor([0]), torch.tensor([ITEM])))

    items = found.items.tolist()
    assert found.score == pytest.approx(solved(items), rel=1e-4, abs=1e-5)
    for place, gone in enumerate(items):
        without = solved([item for item in items if item != gone])
        assert found.fall[place] == pytest.approx(found.score - without, rel=1e-3, abs=2e-5)


@pytest.mark.parametrize("name", FITTING)
def test_of_a_model_that_fits_users_each_fall_is_that_of_a_vector_fitted_alone_against_the_same_negatives(name):
    model, found = fitted(name).model, leave_one_out(fitted(name).scorer, ITEM, asker_of(name))
    negatives = drawn_for(found.items, np.arange(16))

    def alone(items: np.ndarray) -> float:
        item = torch.from_numpy(np.concatenate([items, negatives]))
        label = (torch.arange(len(item)) < len(items)).float()
        stranger = copy.deepcopy(model)
        tables, priors = [getattr(stranger, table).weight for table in model.user_tables], []
        for table in tables:  # everybody in this toy has training rows
            priors.append((table.detach().mean(0), table.detach().var(0).clamp_min(1e-8)))
            table.data[0] = priors[-1][0]
        adam = torch.optim.Adam(tables, lr=LEARNING_RATE)
        for _ in range(STEPS):
            adam.zero_grad()
            score = stranger(torch.zeros_like(item), item)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(score, label, reduction="sum")
            for table, (mean, variance) in zip(tables, priors, strict=True):
                loss = loss + 0.5 * ((table[0] - mean).square() / variance).sum()
            loss.backward()
            adam.step()
        return stranger(torch.tensor([0]), torch.tensor([ITEM])).item()

    assert found.score == pytest.approx(alone(found.items), rel=1e-3, abs=1e-4)
    for place in (0, len(found.items) - 1):
        without = alone(np.delete(found.items, place))
        assert found.fall[place] == pytest.approx(found.score - without, abs=2e-3)


def test_a_whole_fitted_history_scores_as_the_stranger_that_is_served():
    made, history = fitted("neumf"), ["i0", "i2", "i6"]
    offered = made.recommend_for(history, k=16)
    expected = dict(zip(offered["item"], offered["score"], strict=True))["i4"]
    why = made.explain(None, "i4", history=history, method="counterfactual")
    assert why.explained == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["ease", "delf", "ials", "mf", "dacr"])
def test_an_item_is_never_taken_out_of_its_own_history(name):
    assert 6 in fitted(name).inputs.train.by_user[[USER]].indices
    found = leave_one_out(fitted(name).scorer, 6, asker_of(name))
    assert 6 not in found.items
    assert len(found.items) == len(found.fall) == 6


@pytest.mark.parametrize("name", ["ease", "dacr", *SOLVING, *FITTING])
def test_of_who_chose_the_item_alone_nothing_can_be_taken_out(name):
    found = fitted(name).explain(None, "i4", history=["i4"], method="counterfactual")
    assert found.history.height == 0
    assert np.isfinite(found.explained)
    assert found.sentence().startswith("i4: nothing in the history speaks for it")


@pytest.mark.parametrize("name", ["ease", "delf", "ials", "neumf", "aimf"])
def test_any_part_of_a_history_may_be_asked_about_the_empty_one_too(name):
    asker = asker_of(name)
    count = asker.without(ITEM).nnz
    kept = np.array([[True] * count, [False] * count, [True] + [False] * (count - 1)])
    score = score_with(fitted(name).scorer, ITEM, asker, kept)
    assert np.isfinite(score).all()
    assert score[0] == pytest.approx(leave_one_out(fitted(name).scorer, ITEM, asker).score, abs=1e-4)
    assert score[0] > score[1]


def test_many_histories_are_asked_about_in_blocks_that_change_nothing(monkeypatch: pytest.MonkeyPatch):
    whole = leave_one_out(fitted("delf").scorer, ITEM, asker_of("delf"))
    monkeypatch.setattr("attlas.counterfactual.ENTRIES_AT_ONCE", 15)
    blocks = leave_one_out(fitted("delf").scorer, ITEM, asker_of("delf"))
    np.testing.assert_allclose(blocks.fall, whole.fall, atol=1e-6)


@pytest.mark.parametrize("name", ["delf", "mf", "aimf"])  # one reads, one fits, of one the cells are hidden
def test_what_nobody_waits_for_is_given_up(name):
    with while_awaited(lambda: False), pytest.raises(TooLate, match="nobody waits for this answer any more"):
        leave_one_out(fitted(name).scorer, ITEM, asker_of(name))
    assert len(leave_one_out(fitted(name).scorer, ITEM, asker_of(name)).fall) > 0


@pytest.mark.parametrize("name", ["popularity", "biased_mf", "fm", "afm"])
def test_a_model_that_scores_from_no_history_is_refused(name):
    with pytest.raises(ConfigError, match="scores from no history, so that nothing can be taken out of it"):
        fitted(name).explain("u4", "i4", method="counterfactual")
    with pytest.raises(ConfigError, match=f"{MODELS[name]} scores from no history"):
        way_of_counterfactuals(model_class(name))
