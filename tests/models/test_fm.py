"""FM against its worked example, against its pairs one by one, and what a part switched off makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from attlas.data.fields import Crossed
from attlas.data.inputs import Fields, Sizes
from attlas.models.fm import FM
from tests.models.field_rows import SIZES, V, give_example, gradients, literal_products, random_rows, row, with_bags

SHAPE = Sizes(1, 1, (4, 3, 5, 2))


def example() -> Any:
    return give_example(FM(SIZES, FM.Config(embedding_dim=3)))


def one_of(**settings: Any) -> Any:
    torch.manual_seed(1)
    return FM(SHAPE, FM.Config(embedding_dim=6, stddev=1.0, **settings)).double().eval()


def six(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_the_scaled_vectors_and_their_sum_are_those_of_the_worked_example():
    entries = example().factors(row())
    scaled = [V[0], V[2], [0.35, 0.05, -0.25], V[5]]
    assert_close(entries.vector.index_select(0, entries.index[0]), torch.tensor(scaled, dtype=torch.float64))
    assert_close(entries.sums()[0], six(0.15, 0.45, 1.25), atol=5e-7, rtol=0)


def test_the_linear_part_is_that_of_the_worked_example():
    model = example()
    assert_close(model.factors.bias + model.factors(row()).linear(), six(0.6), atol=5e-7, rtol=0)


def test_the_bi_interaction_is_that_of_the_worked_example():
    assert_close(example().factors(row()).pairs()[0], six(-0.3, -0.9, 0.005), atol=5e-7, rtol=0)


def test_the_score_is_that_of_the_worked_example():
    assert_close(example()(row()), six(-0.595), atol=5e-7, rtol=0)


def test_the_gradients_by_the_vectors_are_those_of_the_worked_example():
    model = example()
    (grad,) = torch.autograd.grad(model(row()).sum(), [model.factors.vector])
    expected = torch.zeros(6, 3, dtype=torch.float64)
    expected[0], expected[2] = six(-0.35, 1.45, 1.05), six(0.45, -0.35, 0.05)
    expected[3], expected[5] = six(-0.10, 0.20, 0.75), six(0.55, -0.15, 1.15)
    assert_close(grad, expected, atol=5e-7, rtol=0)


@pytest.mark.parametrize("weighed", [False, True])
def test_the_linear_time_sum_equals_all_pairs_one_by_one_in_values_and_gradients(weighed):
    model, fields = one_of(), random_rows(SHAPE.fields, 40, weighed=weighed)
    linear, products = literal_products(model, fields)
    literal = model.factors.bias + linear + products.sum((1, 2))
    assert_close(model(fields), literal)
    for fast, slow in zip(gradients(model, model(fields)), gradients(model, literal), strict=True):
        assert_close(fast, slow)


def test_a_bag_counts_as_the_mean_of_what_it_holds():
    model, fields = one_of(), with_bags(random_rows(SHAPE.fields, 12), [[12], [12, 13]], 14)
    linear, products = literal_products(model, fields)
    literal = model.factors.bias + linear + products.sum((1, 2))
    assert_close(model(fields), literal)
    for fast, slow in zip(gradients(model, model(fields)), gradients(model, literal), strict=True):
        assert_close(fast, slow)


def test_with_two_fields_fm_is_matrix_factorisation_with_biases():
    torch.manual_seed(1)
    model: Any = FM(Sizes(3, 4), FM.Config(embedding_dim=2, stddev=1.0)).double()
    torch.nn.init.normal_(model.factors.weight)
    user, item = model.factors.vector[:3], model.factors.vector[4:8]
    expected = model.factors.bias + model.factors.weight[:3] + model.factors.weight[4:8].T + user @ item.T
    index = torch.cartesian_prod(torch.arange(3), 4 + torch.arange(4))
    assert_close(model(Fields(index)), expected.flatten())


def test_normalised_pairs_are_summed_after_their_scale_and_shift():
    model = one_of(norm=True)
    torch.nn.init.uniform_(model.norm.scale)
    torch.nn.init.normal_(model.norm.shift)
    fields = random_rows(SHAPE.fields, 9)
    model.train()(fields)
    model.eval()
    pooled = literal_products(model, fields)[1].sum(1)
    normal = (pooled - model.norm.mean) / (model.norm.variance + 1e-3).sqrt() * model.norm.scale + model.norm.shift
    expected = model.factors.bias + literal_products(model, fields)[0] + normal.sum(-1)
    assert_close(model(fields), expected)


def test_the_averages_of_the_normalisation_keep_nine_tenths():
    model = one_of(norm=True)
    fields = random_rows(SHAPE.fields, 9)
    pooled = literal_products(model, fields)[1].sum(1)
    model.train()(fields)
    assert_close(model.norm.mean, 0.1 * pooled.mean(0))
    assert_close(model.norm.variance, 0.9 + 0.1 * pooled.var(0))


def test_the_penalty_is_half_the_squares_of_what_a_row_names_in_the_mean():
    model, fields = one_of(l2=0.3), random_rows(SHAPE.fields, 7)
    vector, weight = model.factors.vector, model.factors.weight
    squares = [(vector[index].square().sum() + weight[index].square().sum()) / 2 for index in fields.index]
    assert_close(model.penalise(fields), 0.3 * torch.stack(squares).mean())


def crossed(fields: Fields, mine: tuple[int, ...], theirs: tuple[int, ...]) -> Crossed:
    """The first two rows' context crossed with every row's item."""
    asker = Fields(fields.index[:2, list(mine)], None if fields.value is None else fields.value[:2, list(mine)], fields.bags)
    item = Fields(fields.index[:, list(theirs)], None if fields.value is None else fields.value[:, list(theirs)], fields.bags)
    return Crossed(asker, item, mine, theirs)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("places", [((0, 2, 3), (1,)), ((3, 1), (0, 2))])
def test_a_catalogue_in_context_is_scored_as_its_rows_are(places, norm):
    model, half = one_of(norm=norm), crossed(random_rows(SHAPE.fields, 11), *places)
    expected = torch.stack([model(half.rows(asker)) for asker in range(2)])
    assert_close(model.score_catalogue(half), expected)


def test_the_pairs_and_the_linear_part_add_up_to_the_score():
    model, fields = one_of(), random_rows(SHAPE.fields, 8)
    weight, score = model.weigh_pairs(fields)
    assert (weight == 1).all()
    assert_close(model.factors.bias + model.factors(fields).linear() + score.sum(-1), model(fields))
