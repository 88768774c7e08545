"""NFM against its worked example, and what it is without its layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from attlas.data.fields import Crossed
from attlas.data.inputs import Fields, Sizes
from attlas.models.fm import FM
from attlas.models.nfm import NFM
from tests.models.field_rows import SIZES, give_example, gradients, literal_products, random_rows, row

SHAPE = Sizes(1, 1, (4, 3, 5, 2))
PLAIN = {"norm": False, "dropout": 0.0, "hidden_dropout": 0.0}


def example(**settings: Any) -> Any:
    model: Any = give_example(NFM(SIZES, NFM.Config(embedding_dim=3, **PLAIN, **settings)))
    with torch.no_grad():
        if model.config.layers:
            model.layers[0].weight.copy_(torch.tensor([[0.5, -0.2, 0.1], [0.3, 0.4, -0.7]], dtype=torch.float64))
            model.layers[0].bias.copy_(torch.tensor([0.05, 0.2], dtype=torch.float64))
            model.head.copy_(torch.tensor([0.9, -1.1], dtype=torch.float64))
        else:
            model.head.copy_(torch.tensor([1, 0.5, 2], dtype=torch.float64))
    return model


def one_of(**settings: Any) -> Any:
    torch.manual_seed(1)
    model = NFM(SHAPE, NFM.Config(**{"embedding_dim": 6, "layers": (5, 3), "stddev": 1.0, **settings})).double().eval()
    for layer in model.layers:
        torch.nn.init.normal_(layer.bias)  # or a dead layer would leave the next one at its kink
    return model


def number(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def test_without_layers_the_score_is_that_of_the_worked_example():
    assert_close(example(layers=())(row()), number(-0.14), atol=5e-7, rtol=0)


def test_the_pre_activations_are_those_of_the_worked_example():
    model = example(layers=(2,))
    expected = torch.tensor([[0.0805, -0.2535]], dtype=torch.float64)
    assert_close(model.layers[0](model.factors(row()).pairs()), expected, atol=5e-7, rtol=0)


@pytest.mark.parametrize(("activation", "score"), [("relu", 0.672450), ("tanh", 0.945320)])
def test_the_score_is_that_of_the_worked_example(activation, score):
    assert_close(example(layers=(2,), activation=activation)(row()), number(score), atol=5e-7, rtol=0)


def test_without_layers_and_with_a_head_of_ones_nfm_is_fm():
    model, fm = one_of(layers=(), **PLAIN), FM(SHAPE, FM.Config(embedding_dim=6)).double().eval()
    fm.factors.load_state_dict(model.factors.state_dict())
    fields = random_rows(SHAPE.fields, 30)
    assert_close(model(fields), fm(fields))


def test_the_score_equals_the_equations_one_by_one_in_values_and_gradients():
    model, fields = one_of(**PLAIN), random_rows(SHAPE.fields, 30, weighed=True)
    linear, products = literal_products(model, fields)
    hidden = products.sum(1)
    for layer in model.layers:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    literal = model.factors.bias + linear + hidden @ model.head
    assert_close(model(fields), literal)
    for fast, slow in zip(gradients(model, model(fields)), gradients(model, literal), strict=True):
        assert_close(fast, slow)


def test_normalisation_stands_before_the_first_dropout_and_before_every_activation():
    model, fields = one_of(dropout=0.0, hidden_dropout=0.0), random_rows(SHAPE.fields, 30)
    model.train()(fields)
    model.eval()
    linear, products = literal_products(model, fields)
    hidden = normalised(model.norms[0], products.sum(1))
    for layer, norm in zip(model.layers, model.norms[1:], strict=True):
        hidden = normalised(norm, hidden @ layer.weight.T + layer.bias).clamp(min=0)
    assert_close(model(fields), model.factors.bias + linear + hidden @ model.head)


def normalised(norm: Any, value: torch.Tensor) -> torch.Tensor:
    return (value - norm.mean) / (norm.variance + 1e-3).sqrt() * norm.scale + norm.shift


def test_dropping_everything_but_a_whisper_leaves_the_linear_part_in_most_rows():
    model, fields = one_of(layers=(), norm=False, dropout=0.999), random_rows(SHAPE.fields, 200)
    torch.manual_seed(1)
    linear = model.factors.bias + model.factors(fields).linear()
    assert ((model.train()(fields) - linear) == 0).double().mean() > 0.95


def test_a_catalogue_in_context_is_scored_as_its_rows_are():
    model, fields = one_of(), random_rows(SHAPE.fields, 11)
    half = Crossed(Fields(fields.index[:2, [0, 3]]), Fields(fields.index[:, [1, 2]]), (0, 3), (1, 2))
    expected = torch.stack([model(half.rows(asker)) for asker in range(2)])
    assert_close(model.score_catalogue(half), expected)


def test_without_a_pair_the_score_is_that_of_all_other_products_through_the_network():
    model, fields = one_of(**PLAIN), random_rows(SHAPE.fields, 7, weighed=True)
    linear, products = literal_products(model, fields)
    lost = model.lose_pairs(fields)
    assert lost.shape == products.shape[:2]
    for pair in range(products.shape[1]):
        others = torch.cat([products[:, :pair], products[:, pair + 1 :]], dim=1).sum(1)
        assert_close(model(fields) - lost[:, pair], model.factors.bias + linear + model.judge(others))


def test_without_layers_what_is_lost_without_each_pair_is_what_it_adds_to_fm():
    model, fields = one_of(layers=(), **PLAIN), random_rows(SHAPE.fields, 7)
    assert_close(model.lose_pairs(fields), literal_products(model, fields)[1].sum(-1))
