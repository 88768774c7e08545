import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from attlas.data.inputs import Inputs
from attlas.training.objectives import Batch, Pairwise, Pointwise, SampledSoftmax
from tests.toy import chosen_by, two_tastes

TRAIN = two_tastes().train


class Same(nn.Module):
    """Gives every pair the logit of its item."""

    def __init__(self, logit_I):
        super().__init__()
        self.logit_I = nn.Parameter(torch.tensor(logit_I))

    def forward(self, user, item):
        return self.logit_I[item]


def epoch_of(objective: Pointwise, seed: int = 1, train=TRAIN) -> list[Batch]:
    return list(objective.batches(Inputs(train), Same([0.0] * 16), np.random.default_rng(seed)))


def pairs_of(batches: list[Batch], label: float) -> list[tuple[int, int]]:
    found = [torch.stack([batch.inputs["user"], batch.inputs["item"]], 1)[batch.label == label] for batch in batches]
    return [tuple(pair) for pair in torch.cat(found).tolist()]


@pytest.mark.parametrize("batch_size", [2, 64, 8192])
def test_every_training_pair_is_shown_once_an_epoch(batch_size):
    shown = pairs_of(epoch_of(Pointwise(batch_size=batch_size)), label=1.0)
    assert sorted(shown) == sorted(zip(TRAIN.user.tolist(), TRAIN.item.tolist(), strict=True))


def test_every_user_gets_four_negatives_for_each_positive_of_the_batch_and_none_was_chosen():
    chosen = set(zip(TRAIN.user.tolist(), TRAIN.item.tolist(), strict=True))
    for batch in epoch_of(Pointwise(batch_size=64)):
        positives, negatives = pairs_of([batch], 1.0), pairs_of([batch], 0.0)
        assert sorted(user for user, _ in negatives) == sorted(4 * [user for user, _ in positives])
        assert not chosen & set(negatives)


def test_batches_are_as_large_as_fits_and_as_many_as_was_said():
    objective = Pointwise(negatives=4, batch_size=64)
    sizes = [len(batch.label) for batch in epoch_of(objective)]
    # 112 pairs, 12 positives with 48 negatives in a batch: nine batches and one of the last 4.
    assert sizes == [60] * 9 + [20]
    assert objective.count(Inputs(TRAIN)) == len(sizes)


def test_a_batch_too_small_for_one_positive_with_its_negatives_holds_one_all_the_same():
    assert [len(batch.label) for batch in epoch_of(Pointwise(negatives=4, batch_size=2))] == [5] * len(TRAIN)


def test_negatives_and_order_are_fresh_in_every_epoch_and_equal_for_equal_generators():
    one, again, other = (epoch_of(Pointwise(), seed) for seed in (1, 1, 2))
    assert pairs_of(one, 0.0) == pairs_of(again, 0.0)
    assert pairs_of(one, 1.0) == pairs_of(again, 1.0)
    assert sorted(pairs_of(one, 0.0)) != sorted(pairs_of(other, 0.0))
    assert pairs_of(one, 1.0) != pairs_of(other, 1.0)


def test_the_loss_is_the_mean_binary_cross_entropy_of_the_logits():
    model = Same([2.0, -1.0])
    batch = Batch({"user": torch.tensor([0, 0]), "item": torch.tensor([0, 1])}, torch.tensor([1.0, 0.0]))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert Pointwise().loss(model, batch).item() == pytest.approx(expected)


def test_labels_are_single_precision_ones_and_zeros():
    batch = epoch_of(Pointwise(negatives=1, batch_size=8192), train=chosen_by([[0], [1]], 16))[0]
    assert batch.label.dtype == torch.float32
    assert sorted(batch.label.tolist()) == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("wrong", [{"negatives": 0}, {"batch_size": 1}, {"negative": 4}])
def test_a_setting_that_does_not_fit_is_refused(wrong):
    with pytest.raises(ValidationError):
        Pointwise(**wrong)


def test_a_user_who_has_chosen_everything_is_learnt_from_without_negatives():
    train = chosen_by([[0, 1, 2], [1]], 3)
    (batch,) = Pointwise(negatives=2, batch_size=300).batches(Inputs(train), Same([0.0] * 3), np.random.default_rng(1))
    user, label = batch.inputs["user"].tolist(), batch.label.tolist()
    assert sorted(user[:4]) == [0, 0, 0, 1]
    assert (user[4:], label) == ([1, 1], [1.0] * 4 + [0.0] * 2)


FULL = chosen_by([[0], [0, 1, 2]], 3)  # the second user has chosen everything, so that nothing can be drawn against it


def test_a_pairwise_loss_is_the_mean_log_sigmoid_of_the_margins_and_leaves_out_who_has_no_negatives():
    objective, model = Pairwise(negatives=2, batch_size=64), Same([2.0, 0.5, 0.5])
    (batch,) = objective.batches(Inputs(FULL), model, np.random.default_rng(1))
    assert batch.label.tolist() == [1, 1, 1, 1, 0, 0]
    assert float(objective.loss(model, batch).detach()) == pytest.approx(math.log1p(math.exp(-1.5)))


def test_a_sampled_softmax_is_the_cross_entropy_of_the_pair_among_its_negatives():
    objective, model = SampledSoftmax(negatives=2, batch_size=64), Same([2.0, 0.5, 0.5])
    (batch,) = objective.batches(Inputs(FULL), model, np.random.default_rng(1))
    expected = -math.log(math.exp(2.0) / (math.exp(2.0) + 2 * math.exp(0.5)))
    assert float(objective.loss(model, batch).detach()) == pytest.approx(expected)


@pytest.mark.parametrize("objective", [Pairwise(negatives=1), SampledSoftmax(negatives=1)])
def test_with_one_negative_softmax_and_margin_are_the_same_and_equal_logits_cost_log_two(objective):
    model = Same([1.0] * 16)
    batch = next(objective.batches(Inputs(TRAIN), model, np.random.default_rng(1)))
    assert float(objective.loss(model, batch).detach()) == pytest.approx(math.log(2))


class OfUsers(Same):
    group_by = "user"


class OfItems(Same):
    group_by = "item"


@pytest.mark.parametrize(("chosen", "wanted"), [(OfUsers, "user"), (OfItems, "item")])
def test_a_model_that_wants_whole_users_or_items_gets_all_pairs_of_an_epoch_with_none_of_them_cut(chosen, wanted):
    objective = Pointwise(negatives=4, batch_size=64)
    batches = list(objective.batches(Inputs(TRAIN), chosen([0.0] * 16), np.random.default_rng(1)))
    assert len(batches) > 4
    owners = [set(batch.inputs[wanted].tolist()) for batch in batches]
    assert sum(len(owner) for owner in owners) == 16
    assert sorted(pairs_of(batches, 1.0)) == sorted(zip(TRAIN.user.tolist(), TRAIN.item.tolist(), strict=True))
    assert sorted(user for user, _ in pairs_of(batches, 0.0)) == sorted(4 * TRAIN.user.tolist())
    for batch in batches:
        assert batch.label.tolist() == sorted(batch.label.tolist(), reverse=True)


def test_a_pairwise_objective_keeps_a_pair_beside_its_negatives_whatever_the_model_wants():
    objective = Pairwise(negatives=2, batch_size=30)
    for batch in objective.batches(Inputs(TRAIN), OfItems([0.0] * 16), np.random.default_rng(1)):
        positives = int(batch.label.sum())
        user = batch.inputs["user"].tolist()
        assert user[positives:] == [one for one in user[:positives] for _ in range(2)]
