import math
from dataclasses import replace

import pytest
import torch

from attlas.data.inputs import History
from attlas.models.layers import HistorySum, PairTower, Tower, asked_only, embedding, linear, run_abreast


def test_a_pair_tower_is_a_perceptron_on_the_two_halves_side_by_side():
    torch.manual_seed(1)
    tower = PairTower(3, (5, 4, 2)).double()
    torch.nn.init.normal_(tower.bias)
    user, item = torch.randn(2, 7, 3, dtype=torch.float64)
    hidden = torch.cat([user, item], 1) @ torch.cat([tower.user_weight, tower.item_weight], 1).T + tower.bias
    for layer in tower.rest:
        hidden = hidden.relu() @ layer.weight.T + layer.bias
    found = tower((tower.user_half(user) + tower.item_half(item)).relu())
    torch.testing.assert_close(found, hidden.relu(), rtol=0, atol=1e-12)


def test_the_halves_of_a_first_layer_start_as_wide_as_one_whole_layer():
    torch.manual_seed(1)
    tower = PairTower(50, (100,))
    # Glorot's bound for 100 inputs and 100 outputs; 50 inputs alone would have started at sqrt(6 / 150).
    bound = math.sqrt(6 / 200)
    for weight in (tower.user_weight, tower.item_weight):
        assert 0.99 * bound < weight.abs().max() <= bound


def test_biases_start_at_zero_and_embeddings_with_the_given_spread():
    torch.manual_seed(1)
    assert (linear(3, 4).bias == 0).all()
    assert abs(embedding(1000, 16, stddev=0.05).weight.std().item() - 0.05) < 0.002


@pytest.mark.parametrize("layers", [(5,), (5, 4), (5, 4, 2)])
def test_towers_run_abreast_say_what_each_says_alone_with_gradients_and_without(layers):
    torch.manual_seed(1)
    towers = [PairTower(3, layers).double() for _ in range(4)]
    first = torch.randn(7, 20, dtype=torch.float64).relu().requires_grad_()
    alone = torch.cat([tower(share) for tower, share in zip(towers, first.chunk(4, dim=1), strict=True)], dim=1)
    abreast = run_abreast(towers, first)
    torch.testing.assert_close(abreast, alone, rtol=0, atol=1e-12)
    weight = torch.randn_like(alone)
    for found, expected in zip(*(torch.autograd.grad((out * weight).sum(), first) for out in (abreast, alone)), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(run_abreast(towers, first), alone, rtol=0, atol=1e-12)


def test_a_tower_is_a_perceptron_with_a_relu_after_every_layer():
    torch.manual_seed(1)
    tower = Tower(3, (5, 4)).double()
    vector = torch.randn(7, 3, dtype=torch.float64)
    hidden = vector
    for layer in (tower.first, *tower.rest):
        torch.nn.init.normal_(layer.bias)
        hidden = (hidden @ layer.weight.T + layer.bias).relu()
    torch.testing.assert_close(tower(vector), hidden, rtol=0, atol=1e-12)
    torch.testing.assert_close(tower.above_first(tower.first(vector)), hidden, rtol=0, atol=1e-12)


def test_layers_are_normalised_before_their_relu():
    torch.manual_seed(1)
    vector = torch.randn(7, 3)
    tower = Tower(3, (8,), layer_norm=True)
    first = tower.first(vector)
    centred = first - first.mean(1, keepdim=True)
    expected = (centred / (first.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()).relu()
    torch.testing.assert_close(tower(vector), expected)


@pytest.mark.parametrize(("pooling", "divisor"), [("sum", 1.0), ("sqrt", 2**0.5)])
def test_the_sum_of_a_history_leaves_the_entry_out_and_may_be_divided_by_the_root_of_what_is_left(pooling, divisor):
    summed = HistorySum(4, 2, stddev=1.0, bias=True, pooling=pooling)
    torch.nn.init.ones_(summed.bias)
    history = replace(History.of([[0, 1, 3], []], 4), left_out=torch.tensor([1, -1]))
    found = summed(history)
    torch.testing.assert_close(found[0], (summed.entry.weight[0] + summed.entry.weight[3]) / divisor + 1)
    assert found[1].tolist() == [1.0, 1.0]


def test_lists_that_nobody_asks_for_are_gone_and_every_pair_leaves_out_what_it_did():
    lists, left_out = [[0, 2], [1], [0, 1, 2]], torch.tensor([5, -1, 0, 3])
    history = replace(History.of(lists, 3, row=[2, 2, 0, 2]), left_out=left_out)
    kept = asked_only(history)
    assert (kept.lists.start.tolist(), kept.index.tolist(), kept.row.tolist()) == ([0, 2, 5], [0, 2, 0, 1, 2], [1, 1, 0, 1])
    assert kept.left_out.tolist() == [4, -1, 0, 2]
    assert kept.length.tolist() == history.length.tolist()


def test_where_every_list_is_asked_for_nothing_is_copied():
    history = History.of([[0], [1]], 2, row=[1, 0, 1])
    assert asked_only(history) is history
