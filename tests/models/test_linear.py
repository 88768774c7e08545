"""Linear: a bias and a weight for every feature, nothing between them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from torch.testing import assert_close

import attlas
from attlas.data.examples import ExampleInputs, Examples
from attlas.data.inputs import Crossed, Fields, Inputs, Sizes
from attlas.data.labelled import read_examples
from attlas.models.linear import Linear
from tests.models.field_rows import NAMED, SIZES, WEIGHTS, random_rows, row, with_bags
from tests.toy import fitted, two_tastes


def example(reads: str) -> Linear:
    """The worked example's bias and weights."""
    model = Linear(SIZES, Linear.Config(reads=reads)).double()  # type: ignore[arg-type]
    with torch.no_grad():
        model.bias.fill_(0.05)
        if reads != "nothing":
            model.weight.copy_(torch.tensor(WEIGHTS, dtype=torch.float64)[:, None])
    return model


def rows_of(count: int = 400) -> Examples:
    """Items that are liked more and more often, and hours that say nothing."""
    rng = np.random.default_rng(1)
    item = rng.integers(0, 4, count)
    label = (rng.random(count) < (item + 1) / 5).astype(int)
    return read_examples(pl.DataFrame({"user": rng.integers(0, 9, count), "item": item, "hour": item % 2, "label": label}))


def test_all_fields_add_up_to_the_linear_part_of_the_worked_example() -> None:
    assert_close(example("all")(row()), torch.tensor([0.6], dtype=torch.float64))  # the notes: linear part 0.600000


def test_nothing_is_the_bias_alone() -> None:
    model = example("nothing")
    assert_close(model(row()), torch.tensor([0.05], dtype=torch.float64))
    assert [name for name, _ in model.named_parameters()] == ["bias"]


def test_the_item_alone_has_a_say_where_only_it_is_read() -> None:
    examples = rows_of()
    inputs = ExampleInputs(examples)
    model = Linear(inputs.sizes, Linear.Config(reads="item"))
    with torch.no_grad():
        model.weight.copy_(torch.arange(len(model.weight))[:, None])
    model.begin(inputs)
    fields, _ = inputs.rows(slice(0, 5))
    place = examples.features.places("item")[0]
    assert_close(model(fields), fields.index[:, place].float())


def test_a_bag_weighs_the_mean_of_what_it_holds() -> None:
    fields = with_bags(random_rows((1, 2, 2, 1), 1), [[1, 2]], 6)
    model = example("all")
    others = sum(WEIGHTS[one] for one in fields.index[0, :-1].tolist())
    expected = 0.05 + others + (WEIGHTS[1] + WEIGHTS[2]) / 2
    assert_close(model(fields), torch.tensor([expected], dtype=torch.float64))


def test_a_crossed_catalogue_is_the_sum_of_its_halves() -> None:
    fields = Fields(torch.tensor([NAMED]))
    asker, item = Fields(fields.index[:, [0, 3]]), Fields(torch.tensor([[1, 3], [2, 4]]))
    crossed = Crossed(asker, item, (0, 3), (1, 2))
    assert_close(example("all").score_catalogue(crossed), example("all")(crossed.rows(0))[None])


def test_the_item_alone_learns_how_often_each_is_labelled_one() -> None:
    examples = rows_of(2000)
    made = attlas.fit(examples, "linear", config={"reads": "item"}, solver={"learning_rate": 0.1, "batch_size": 256}, epochs=20)
    rate = torch.sigmoid(torch.from_numpy(made.scorer.score_rows(examples))).numpy()
    item = examples.ids("item")
    for one in range(len(examples.items)):
        assert rate[item == one].mean() == pytest.approx(examples.label[item == one].mean(), abs=0.06)  # trained on 70 %


def test_the_two_tastes_are_beyond_it() -> None:
    """A sum of single weights orders items alike for all."""
    score = fitted("linear").scorer.score_all(np.arange(16))
    order = np.argsort(score, axis=1, kind="stable")
    assert (order == order[0]).all()
    assert not (score[np.arange(16), np.arange(16)] > score.max(axis=1) - 1e-9).all()


def test_for_interactions_the_item_is_the_second_field() -> None:
    inputs = Inputs(two_tastes().train)
    model = Linear(Sizes(16, 16), Linear.Config(reads="item"))
    model.begin(inputs)
    assert model.is_read_F.tolist() == [False, True]
