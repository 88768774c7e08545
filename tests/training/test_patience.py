import torch
from torch import nn

from attlas.training.patience import Patience


def after(values: list[float], *, epochs: int) -> tuple[Patience, list[bool]]:
    """Patience that has seen the values; in epoch n the model's only weight was n."""
    model = nn.Linear(1, 1, bias=False)
    to_come = iter(values)
    patience = Patience(model, lambda: next(to_come), epochs=epochs)
    said = []
    for epoch in range(1, len(values) + 1):
        nn.init.constant_(model.weight, float(epoch))
        said.append(patience(epoch))
    return patience, said


def test_it_says_stop_after_so_many_epochs_without_a_new_best():
    patience, said = after([0.1, 0.3, 0.2, 0.3, 0.1], epochs=3)
    assert said == [False, False, False, False, True]
    assert (patience.best, patience.best_epoch) == (0.3, 2)
    assert patience.values == [0.1, 0.3, 0.2, 0.3, 0.1]


def test_a_new_best_begins_the_count_anew():
    _, said = after([0.1, 0.0, 0.2, 0.0, 0.3], epochs=2)
    assert not any(said)


def test_the_best_weights_are_kept_although_the_model_went_on():
    patience, _ = after([0.1, 0.3, 0.2], epochs=5)
    assert patience.model.weight.item() == 3.0
    patience.keep_best()
    assert patience.model.weight.item() == 2.0


def test_a_new_best_takes_the_place_of_the_former_in_memory():
    values = iter([0.1, 0.3])
    patience = Patience(nn.Linear(1, 1, bias=False), lambda: next(values), epochs=5)
    nn.init.constant_(patience.model.weight, 1.0)
    patience(1)
    kept = patience.weights["weight"]
    nn.init.constant_(patience.model.weight, 2.0)
    patience(2)
    assert patience.weights["weight"] is kept
    assert kept.item() == 2.0


def test_of_equal_values_the_earlier_is_the_best():
    patience, _ = after([0.3, 0.3], epochs=5)
    assert patience.best_epoch == 1


def test_without_any_value_the_model_keeps_what_it_has():
    patience, _ = after([], epochs=5)
    nn.init.constant_(patience.model.weight, 7.0)
    patience.keep_best()
    assert patience.model.weight.item() == 7.0


def test_a_value_that_is_no_number_is_never_a_best_and_wears_patience_out():
    patience, said = after([0.2, float("nan"), float("nan")], epochs=2)
    assert patience.best_epoch == 1
    assert said == [False, False, True]


def test_its_state_lets_another_go_on_as_if_it_were_the_first():
    first, _ = after([0.1, 0.3, 0.2], epochs=2)
    plain, weights = first.state()
    second = Patience(nn.Linear(1, 1, bias=False), lambda: 0.0, epochs=2)
    second.restore(dict(plain), {name: tensor.clone() for name, tensor in weights.items()})
    assert second(4)
    second.keep_best()
    assert second.model.weight.item() == 2.0
    assert second.values == [0.1, 0.3, 0.2, 0.0]
    assert first.values == [0.1, 0.3, 0.2]
    assert torch.equal(first.weights["weight"], torch.tensor([[2.0]]))


def test_patience_that_need_not_remember_copies_no_weights_and_leaves_the_model_as_it_is():
    model = nn.Linear(1, 1)
    patience = Patience(model, lambda: 0.5, epochs=3, remembers=False)
    patience(1)
    assert (patience.best, patience.best_epoch, patience.weights) == (0.5, 1, {})
    patience.keep_best()


def test_a_word_of_halt_stops_it_and_is_kept():
    heard: list[list[float]] = []

    def halt(values: list[float]) -> str:
        heard.append(list(values))
        return "enough" if len(values) == 2 else ""

    to_come = iter([0.1, 0.2, 0.3])
    patience = Patience(nn.Linear(1, 1), lambda: next(to_come), epochs=5, halt=halt)
    assert [patience(1), patience.halted] == [False, ""]
    assert [patience(2), patience.halted] == [True, "enough"]
    assert heard == [[0.1], [0.1, 0.2]]
    resumed = Patience(nn.Linear(1, 1), lambda: 0.0, epochs=5)
    resumed.restore(*patience.state())
    assert resumed.halted == "enough"


def test_what_a_checkpoint_of_before_does_not_know_was_not_halted():
    patience = Patience(nn.Linear(1, 1), lambda: 0.0, epochs=5)
    patience.restore({"best": 0.3, "best_epoch": 2, "values": [0.1, 0.3]}, {})
    assert (patience.best_epoch, patience.halted) == (2, "")
