"""DeepFM against its worked example, and its first layer computed in both ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from attlas.data.fields import Crossed
from attlas.data.inputs import Fields, Sizes
from attlas.models.deepfm import SHARED, DeepFM
from attlas.models.fm import FM
from tests.models.field_rows import SIZES, give_example, gradients, literal_products, random_rows, row, with_bags

SHAPE = Sizes(1, 1, (4, 3, 5, 2))


def example() -> Any:
    model: Any = give_example(DeepFM(SIZES, DeepFM.Config(embedding_dim=3, layers=(2,), dropout=0.0)))
    weight = [[0.1 * (((r + 1) * (c + 1) % 5) - 2) for c in range(12)] for r in range(2)]
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor(weight, dtype=torch.float64))
        model.first.bias.copy_(torch.tensor([0.6, 0.5], dtype=torch.float64))
        model.head.weight.copy_(torch.tensor([[0.7, -0.4]], dtype=torch.float64))
        model.head.bias.zero_()
    return model


def one_of(**settings: Any) -> Any:
    torch.manual_seed(1)
    config = {"embedding_dim": 3, "layers": (5, 4), "stddev": 1.0, "dropout": 0.0, **settings}
    return DeepFM(SHAPE, DeepFM.Config(**config)).double().eval()


def literal(model: Any, fields: Fields) -> torch.Tensor:
    """Vectors side by side through the network, and all pairs one by one."""
    linear, products = literal_products(model, fields)
    value = torch.ones(fields.index.shape).double() if fields.value is None else fields.value
    hidden = (model.factors.vector[fields.index] * value[..., None]).flatten(1) @ model.first.weight.T + model.first.bias
    for layer in model.layers:
        hidden = hidden.clamp(min=0) @ layer.weight.T + layer.bias
    deep = hidden.clamp(min=0) @ model.head.weight[0] + model.head.bias
    return model.factors.bias + linear + products.sum((1, 2)) + deep


def number(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def test_the_first_layer_is_that_of_the_worked_example():
    model = example()
    first = model.first_layer(model.factors(row()), row(), range(4)) + model.first.bias
    assert_close(first, torch.tensor([[0.205, 0.23]], dtype=torch.float64), atol=5e-7, rtol=0)


def test_the_networks_share_is_that_of_the_worked_example():
    model = example()
    first = model.first_layer(model.factors(row()), row(), range(4)) + model.first.bias
    assert_close(model.judge(first), number(0.0515), atol=5e-7, rtol=0)


def test_the_logit_and_its_probability_are_those_of_the_worked_example():
    logit = example()(row())
    assert_close(logit, number(-0.5435), atol=5e-7, rtol=0)
    assert_close(logit.sigmoid(), number(0.367374), atol=5e-7, rtol=0)


@pytest.mark.parametrize("count", [2, 40])
def test_the_score_equals_the_equations_one_by_one_in_values_and_gradients(count):
    """Two rows name fewer entries than there are features, forty more: the first layer goes by rows, then by features."""
    model, fields = one_of(), random_rows(SHAPE.fields, count)
    assert (SHARED * len(model.factors.vector) <= fields.index.numel()) == (count == 40)
    assert_close(model(fields), literal(model, fields))
    for fast, slow in zip(gradients(model, model(fields)), gradients(model, literal(model, fields)), strict=True):
        assert_close(fast, slow)


def test_values_scale_the_networks_input_too():
    model, fields = one_of(), random_rows(SHAPE.fields, 40, weighed=True)
    assert_close(model(fields), literal(model, fields))


def test_a_bag_is_one_vector_in_the_networks_input():
    model, fields = one_of(), with_bags(random_rows(SHAPE.fields, 20), [[12], [12, 13]], 14)
    entries = model.factors(fields)
    held = torch.stack([model.factors.vector[12], model.factors.vector[[12, 13]].mean(0)])
    by_hand = torch.cat([model.factors.vector[fields.index[:, :3]].flatten(1), held[torch.arange(20) % 2]], dim=1)
    assert_close(model.first_layer(entries, fields, range(4)), by_hand @ model.first.weight.T)


def test_with_a_silent_head_deepfm_is_fm():
    model, fm = one_of(), FM(SHAPE, FM.Config(embedding_dim=3)).double().eval()
    torch.nn.init.zeros_(model.head.weight)
    fm.factors.load_state_dict(model.factors.state_dict())
    fields = random_rows(SHAPE.fields, 30)
    assert_close(model(fields), fm(fields))


@pytest.mark.parametrize("norm", [False, True])
def test_a_catalogue_in_context_is_scored_as_its_rows_are(norm):
    model, fields = one_of(norm=norm), random_rows(SHAPE.fields, 11)
    half = Crossed(Fields(fields.index[:2, [0, 3]]), Fields(fields.index[:, [1, 2]]), (0, 3), (1, 2))
    expected = torch.stack([model(half.rows(asker)) for asker in range(2)])
    assert_close(model.score_catalogue(half), expected)


def test_half_precision_gives_nearly_the_same_scores_and_learns_in_full():
    full, half = one_of(layers=(16, 16)).float(), one_of(layers=(16, 16), precision="bfloat16").float()
    fields = random_rows(SHAPE.fields, 40)
    assert_close(half(fields), full(fields), atol=0.05, rtol=0.02)
    assert not torch.equal(half(fields), full(fields))
    half(fields).sum().backward()
    assert half.layers[0].weight.grad.dtype == torch.float32


@pytest.mark.parametrize("weighed", [False, True])
def test_what_is_lost_without_a_pair_is_its_product_and_the_networks_second_difference(weighed):
    model, fields = one_of(), random_rows(SHAPE.fields, 6, weighed=weighed)
    products, value = literal_products(model, fields)[1].sum(-1), fields.value
    vector = model.factors.vector[fields.index] * (torch.ones(6, 4).double() if value is None else value)[..., None]

    def deep(*without: int) -> torch.Tensor:
        kept = vector.clone()
        kept[:, list(without)] = 0.0
        return model.judge(kept.flatten(1) @ model.first.weight.T + model.first.bias)

    lost = model.lose_pairs(fields)
    for pair, (one, other) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
        together = deep() - deep(one) - deep(other) + deep(one, other)
        assert_close(lost[:, pair], products[:, pair] + together)


def test_where_the_network_is_silent_what_is_lost_is_what_the_pair_adds_to_fm():
    model, fields = one_of(), random_rows(SHAPE.fields, 6)
    torch.nn.init.zeros_(model.head.weight)
    assert_close(model.lose_pairs(fields), literal_products(model, fields)[1].sum(-1))
