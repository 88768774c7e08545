from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from attlas.comparing.predicting import predict_seconds, refuse_too_slow
from attlas.data.examples import parts_by_ratio
from attlas.data.inputs import Inputs
from attlas.data.labelled import read_examples
from attlas.data.labelling import labelled_rows
from attlas.data.simulate import simulate
from attlas.data.split import Split, split
from attlas.errors import TooLarge
from attlas.experiment import Experiment
from attlas.models import model_class
from attlas.training.solvers import make_solver
from tests.toy import rated_tastes


@pytest.fixture(scope="module")
def club() -> Split:
    return split(simulate(600, 400, seed=1).interactions, "user-ratio")


@pytest.fixture(scope="module")
def small() -> Split:
    """What compiles as well, in less time."""
    return split(simulate(60, 40, seed=1).interactions, "user-ratio")


def of(name: str) -> Experiment:
    return Experiment.of({"model": {"name": name}})


@pytest.mark.parametrize("name", ["delf", "ials"])
def test_what_is_predicted_is_of_the_order_of_what_an_epoch_takes(name: str, club: Split, small: Split) -> None:
    predict_seconds(of(name), small)  # compiles
    predicted = predict_seconds(of(name), club)
    inputs = Inputs(club.train)
    model = model_class(name)(inputs.sizes, of(name).model_config())
    began = time.perf_counter()
    make_solver(model, {}).epoch(model, inputs, np.random.default_rng(0))
    took = time.perf_counter() - began
    assert took / 10 < predicted < 10 * took + 1.0  # a second: other processes may hold the machine


def test_of_labelled_rows_an_epoch_and_their_prediction_are_foretold(club: Split) -> None:
    rows = read_examples(labelled_rows(club.train, negatives=1))
    train, valid, test = parts_by_ratio(rows)
    parts: dict[str, Any] = {"train": train, "valid": valid, "test": test}
    made, experiment = Split(**parts, code="global-ratio"), Experiment.of({"data": {"label": "label"}, "model": {"name": "fm"}})
    assert predict_seconds(experiment, made) > 0
    with pytest.raises(TooLarge, match="one epoch of fm and the prediction after it are predicted to take"):
        refuse_too_slow(experiment, made, 1e-9)


def test_of_a_model_of_ratings_with_a_solver_of_its_own_an_epoch_is_foretold() -> None:
    assert predict_seconds(of("biased_mf"), split(rated_tastes().train, "user-ratio")) > 0


def test_a_model_that_would_take_too_long_is_refused_with_the_figure(small: Split) -> None:
    with pytest.raises(TooLarge, match=r"one epoch of delf and the ranking after it are predicted to take \d+ s of its 0 s"):
        refuse_too_slow(of("delf"), small, 0.001)
