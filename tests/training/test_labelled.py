"""Objectives over labelled rows: what a batch is, what it costs, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from attlas.data.examples import ExampleInputs
from attlas.data.inputs import Fields, Inputs
from attlas.data.labelled import Layout, read_examples
from attlas.errors import ConfigError
from attlas.models.afm import AFM
from attlas.training.fit import Descent, fit
from attlas.training.labelled import Logistic, Squared
from attlas.training.objectives import Batch
from tests.toy import two_tastes


def some_rows(count: int = 40) -> ExampleInputs:
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 4, count) for name in ("user", "item", "hour")}
    weight = rng.random(count)
    frame = pl.DataFrame({**columns, "weight": weight, "label": (columns["user"] + columns["item"]) % 2})
    return ExampleInputs(read_examples(frame, Layout(numbers=("weight",))))


class Says(nn.Module):
    """Scores what it was told to."""

    def __init__(self, *scores: float):
        super().__init__()
        self.scores = torch.tensor(scores)

    def forward(self, fields: Fields) -> torch.Tensor:
        return self.scores


def of(*labels: float) -> Batch:
    return Batch({"fields": Fields(torch.zeros(len(labels), 2, dtype=torch.int64))}, torch.tensor(labels, dtype=torch.float32))


def test_squared_loss_aims_at_plus_and_minus_one():
    assert_close(Squared().loss(Says(0.5, -0.5, 3.0), of(1, 0, 0)), torch.tensor((0.25 + 0.25 + 16) / 3))


def test_logistic_loss_is_the_cross_entropy_of_the_label():
    expected = -(np.log(1 / (1 + np.exp(-2.0))) + np.log(1 - 1 / (1 + np.exp(-0.5)))) / 2
    assert_close(Logistic().loss(Says(2.0, 0.5), of(1, 0)), torch.tensor(expected, dtype=torch.float32))


def batches(objective: Any, data: ExampleInputs, seed: int = 1) -> list[Batch]:
    return list(objective.batches(data, nn.Identity(), np.random.default_rng(seed)))


def test_every_row_is_shown_once_with_its_own_label_and_value():
    data = some_rows()
    shown = batches(Logistic(batch_size=7, unknown_share=0.0), data)
    assert Logistic(batch_size=7).count(data) == len(shown) == 6
    rows = [(*i, *v, y) for one in shown for i, v, y in zip(*told(one), strict=True)]
    expected = zip(*(part.tolist() for part in (data.examples.index, data.examples.value, data.examples.label)), strict=True)
    assert sorted(rows) == sorted((*i, *v, y) for i, v, y in expected)
    assert rows[:7] != [(*i, *v, y) for i, v, y in zip(*(part.tolist()[:7] for part in told_all(data)), strict=True)]


def told(batch: Batch) -> tuple[Any, ...]:
    fields = batch.inputs["fields"]
    return fields.index.tolist(), fields.value.tolist(), batch.label.tolist()


def told_all(data: ExampleInputs) -> tuple[np.ndarray, ...]:
    return data.examples.index, data.examples.value, data.examples.label


def test_a_share_of_the_cells_is_shown_as_unknown_and_then_weighs_one():
    data = some_rows(2000)
    (batch,) = batches(Logistic(batch_size=2000, unknown_share=0.25), data)
    fields = batch.inputs["fields"]
    is_unknown = fields.index == torch.from_numpy(data.features.unknown)
    assert 0.22 < is_unknown.double().mean() < 0.28
    assert (fields.value[is_unknown] == 1).all()


def test_equal_generators_give_equal_batches():
    one, other = (batches(Squared(batch_size=16), some_rows()) for _ in range(2))
    assert all(torch.equal(a.inputs["fields"].index, b.inputs["fields"].index) for a, b in zip(one, other, strict=True))


def test_interactions_are_refused_with_what_to_do():
    with pytest.raises(ConfigError, match="these data are interactions; name the column of labels"):
        Logistic().count(Inputs(two_tastes().train))


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_descent_adds_the_models_own_penalty(optimizer):
    data = some_rows()
    weights = []
    for l2 in (0.0, 10.0):
        torch.manual_seed(1)
        model = AFM(data.sizes, AFM.Config(embedding_dim=4, attention_dim=3, dropout=0.0, l2=l2, stddev=0.1))
        solver = Descent(model, Squared(batch_size=8), optimizer=optimizer, learning_rate=0.05)
        losses = fit(model, solver, data, epochs=6, seed=1)
        weights.append(float(model.key.detach().square().sum()))
        assert losses[-1] < losses[0]
    assert weights[1] < 0.2 * weights[0]
