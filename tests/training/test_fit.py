import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from attlas.data.inputs import Inputs, Sizes
from attlas.models.delf import DELF
from attlas.models.drnet import DRNet
from attlas.scoring import Scorer
from attlas.training.checkpoint import Checkpoint
from attlas.training.fit import Descent, Moment, fit
from attlas.training.objectives import Pointwise
from attlas.training.patience import Patience
from tests.toy import chosen_by, two_tastes

DATA = Inputs(two_tastes().train)
OBJECTIVE = Pointwise(batch_size=200)


class Forgetful(nn.Module):
    """A factor model that drops half of its products at random while it learns."""

    def __init__(self):
        super().__init__()
        self.user_embedding, self.item_embedding = nn.Embedding(16, 4), nn.Embedding(16, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, user, item):
        return self.dropout(self.user_embedding(user) * self.item_embedding(item)).sum(-1)


def small_delf() -> DELF:
    return DELF(Sizes(16, 16), DELF.Config(embedding_dim=4, attention_dim=3, layers=(5, 3), leave_out="matched"))


def untrained(make) -> nn.Module:
    torch.manual_seed(1)
    return make()


class Stopped(Exception):
    """Somebody pulled the plug."""


def stop_in(epoch: int):
    def log(done: int, loss: float) -> None:
        if done == epoch:
            raise Stopped

    return log


def trained(
    make, *, checkpoint=None, log=None, epochs=5, values=(0.1, 0.3, 0.2, 0.4, 0.35), others_drew=0, optimizer="adam"
) -> tuple[nn.Module, list[float]]:
    model = untrained(make)
    torch.rand(others_drew)
    patience = Patience(model, lambda: values[len(patience.values)], epochs=3)
    solver = Descent(model, OBJECTIVE, optimizer=optimizer, learning_rate=0.01)
    losses = fit(model, solver, DATA, epochs=epochs, seed=1, after_epoch=patience, checkpoint=checkpoint, log=log)
    return model, losses


def bits_of(model: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


models = pytest.mark.parametrize("make", [Forgetful, small_delf])


@models
@pytest.mark.parametrize("stopped_in", [1, 3, 5])
def test_a_fit_that_was_stopped_ends_with_the_same_bits_as_one_that_was_not(make, stopped_in, tmp_path):
    whole, losses = trained(make)
    checkpoint = Checkpoint(tmp_path / "fit.checkpoint")
    with pytest.raises(Stopped):
        trained(make, checkpoint=checkpoint, log=stop_in(stopped_in))
    resumed, resumed_losses = trained(make, checkpoint=checkpoint, others_drew=7)
    assert resumed_losses == losses
    assert bits_of(resumed) == bits_of(whole)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
def test_by_other_optimizers_too_a_stopped_fit_ends_with_the_same_bits(optimizer, tmp_path):
    whole, losses = trained(small_delf, optimizer=optimizer)
    checkpoint = Checkpoint(tmp_path / "fit.checkpoint")
    with pytest.raises(Stopped):
        trained(small_delf, optimizer=optimizer, checkpoint=checkpoint, log=stop_in(3))
    resumed, resumed_losses = trained(small_delf, optimizer=optimizer, checkpoint=checkpoint)
    assert resumed_losses == losses
    assert bits_of(resumed) == bits_of(whole)


def test_a_fit_that_is_resumed_repeats_only_the_epoch_that_was_cut_off(tmp_path):
    checkpoint, epochs = Checkpoint(tmp_path / "fit.checkpoint"), []
    with pytest.raises(Stopped):
        trained(Forgetful, checkpoint=checkpoint, log=stop_in(3))
    trained(Forgetful, checkpoint=checkpoint, log=lambda epoch, loss: epochs.append(epoch))
    assert epochs == [3, 4, 5]


def test_a_fit_that_is_over_is_not_begun_again_and_gives_the_best_weights(tmp_path):
    checkpoint, epochs = Checkpoint(tmp_path / "fit.checkpoint"), []
    falling = (0.4, 0.3, 0.2, 0.1, 0.0)
    first, losses = trained(Forgetful, checkpoint=checkpoint, values=falling)
    assert len(losses) == 4
    again, more = trained(
        Forgetful, checkpoint=checkpoint, values=falling, epochs=9, log=lambda epoch, loss: epochs.append(epoch)
    )
    assert (more, epochs) == (losses, [])
    assert bits_of(again) == bits_of(first)


def test_with_patience_the_model_ends_with_the_weights_of_its_best_epoch():
    best, _ = trained(Forgetful, values=(0.1, 0.9, 0.2, 0.3, 0.4))
    until, _ = trained(Forgetful, epochs=2)
    assert bits_of(best) == bits_of(until)


def test_without_patience_the_model_keeps_its_last_weights_and_every_epoch_has_a_loss():
    model = untrained(Forgetful)
    before = copy.deepcopy(bits_of(model))
    losses = fit(model, Descent(model, OBJECTIVE), DATA, epochs=2, seed=1)
    assert len(losses) == 2
    assert all(bits_of(model)[name] != bits for name, bits in before.items())


def test_the_loss_falls_from_that_of_a_coin_to_less_than_any_constant_gets():
    model = untrained(small_delf)
    losses = fit(model, Descent(model, OBJECTIVE, learning_rate=0.05), DATA, epochs=10, seed=1)
    best_constant = -0.2 * math.log(0.2) - 0.8 * math.log(0.8)  # one pair in five is a positive
    assert losses[0] == pytest.approx(math.log(2), abs=0.1)
    assert losses[-1] < 0.75 * best_constant


def test_an_epochs_loss_is_the_mean_over_pairs_and_not_over_batches():
    class Scripted:
        """Two batches, of one pair that costs 5 and of three that cost 1."""

        def count(self, data):
            return 2

        def batches(self, data, model, rng):
            yield _Labelled(torch.zeros(1), 5.0)
            yield _Labelled(torch.zeros(3), 1.0)

        def loss(self, model, batch):
            return model.item_embedding.weight.sum() * 0 + batch.cost

    model, moments = untrained(Forgetful), []
    solver = Descent(model, Scripted(), watch=moments.append)
    assert solver.epoch(model, DATA, np.random.default_rng(1)) == 2.0
    assert moments == [Moment(1, 1, 2, 1, 5.0), Moment(1, 2, 2, 4, 2.0)]


class _Labelled:
    def __init__(self, label: torch.Tensor, cost: float):
        self.label, self.cost = label, cost


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad"])
def test_one_step_of_descent_is_one_step_of_its_optimizer(optimizer):
    model = untrained(Forgetful).eval()
    twin = copy.deepcopy(model)
    data, objective = Inputs(chosen_by([[0], [1]], 16)), Pointwise(negatives=1)
    model.dropout.p = twin.dropout.p = 0.0
    solver = Descent(model, objective, optimizer=optimizer, learning_rate=0.1, weight_decay=0.01)
    solver.epoch(model, data, np.random.default_rng(1))
    batch = next(objective.batches(data, twin, np.random.default_rng(1)))
    objective.loss(twin, batch).backward()
    for name, parameter in twin.named_parameters():
        gradient = parameter.grad + 0.01 * parameter.detach()
        step = {
            # Adam's first step: the sign of the gradient, damped by its epsilon alone.
            "adam": gradient / (gradient.abs() + 1e-8),
            "sgd": gradient,
            "adagrad": gradient / (1e-8 + gradient.square()).sqrt(),
        }[optimizer]
        torch.testing.assert_close(model.get_parameter(name).detach(), parameter.detach() - 0.1 * step, rtol=0, atol=1e-5)


def test_an_optimizer_is_made_for_the_weights_as_they_are_when_training_begins():
    model = untrained(Forgetful)
    solver = Descent(model, OBJECTIVE, optimizer="adagrad")
    model.double()  # changes them as a move to a card would, after the solver was made
    assert [entry["sum"].dtype for entry in solver.optimizer.state.values()] == [torch.float64] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA on this machine")
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad"])
def test_a_solver_that_was_made_before_the_model_went_to_a_card_trains_it_there(optimizer):
    model = untrained(Forgetful)
    on_card = Inputs(two_tastes().train, device="cuda")
    losses = fit(model, Descent(model, OBJECTIVE, optimizer=optimizer), on_card, epochs=2, seed=1)
    assert {weight.device.type for weight in model.parameters()} == {"cuda"}
    assert all(math.isfinite(loss) for loss in losses)


def test_data_that_a_model_was_scored_on_can_be_learned_from():
    inputs, model = Inputs(two_tastes().train), untrained(lambda: DRNet(Sizes(16, 16)))
    Scorer(model.eval(), inputs).score_all(np.arange(16))
    losses = fit(model, Descent(model, Pointwise(batch_size=8192)), inputs, epochs=1, seed=1)
    assert all(math.isfinite(loss) for loss in losses)


class Counting:
    """A solver that notes when it is asked and whether the model was learning."""

    def __init__(self, one_epoch: bool):
        self.one_epoch = one_epoch
        self.asked = 0

    def epoch(self, model, data, rng):
        self.asked += 1
        return float("nan")

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.mark.parametrize(("one_epoch", "asked"), [(True, 1), (False, 7)])
def test_a_solver_that_solves_in_one_epoch_is_asked_once(one_epoch, asked):
    solver = Counting(one_epoch)
    losses = fit(untrained(Forgetful), solver, DATA, epochs=7, seed=1)
    assert (solver.asked, len(losses)) == (asked, asked)


def test_a_solver_without_a_loss_can_be_resumed_too(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit.checkpoint")
    fit(untrained(Forgetful), Counting(False), DATA, epochs=2, seed=1, checkpoint=checkpoint)
    solver = Counting(False)
    losses = fit(untrained(Forgetful), solver, DATA, epochs=3, seed=1, checkpoint=checkpoint)
    assert solver.asked == 1
    assert len(losses) == 3
    assert all(math.isnan(loss) for loss in losses)


def test_the_model_learns_in_training_mode_and_is_measured_and_left_in_evaluation_mode():
    model, modes = untrained(Forgetful), []

    class Watching(Descent):
        def epoch(self, model, data, rng):
            loss = super().epoch(model, data, rng)
            modes.append(model.training)
            return loss

    patience = Patience(model, lambda: float(modes.append(model.training) or 0), epochs=3)
    fit(model, Watching(model, OBJECTIVE), DATA, epochs=2, seed=1, after_epoch=patience)
    assert modes == [True, False, True, False]
    assert not model.training


def test_a_fit_leaves_the_random_numbers_of_others_as_they_were():
    model = untrained(Forgetful)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, Descent(model, OBJECTIVE), DATA, epochs=1, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_step_size_decays_by_epochs_and_is_found_again_after_a_stop(tmp_path):
    def fitted(*, epochs: int, checkpoint: Checkpoint | None = None) -> tuple[nn.Module, Descent]:
        model = untrained(Forgetful)
        solver = Descent(model, OBJECTIVE, learning_rate=0.08, learning_rate_decay=0.5)
        fit(model, solver, DATA, epochs=epochs, seed=1, checkpoint=checkpoint)
        return model, solver

    whole, solver = fitted(epochs=3)
    assert solver.optimizer.param_groups[0]["lr"] == 0.02
    checkpoint = Checkpoint(tmp_path / "fit.checkpoint")
    fitted(epochs=2, checkpoint=checkpoint)
    resumed, _ = fitted(epochs=3, checkpoint=checkpoint)
    assert bits_of(resumed) == bits_of(whole)
