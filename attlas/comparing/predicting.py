"""How long a model will take, from a few batches or from parts of the data, before anybody waits for it."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from attlas.data.examples import inputs_of
from attlas.data.inputs import Inputs, find_device
from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.data.vocabulary import Vocabulary
from attlas.errors import TooLarge
from attlas.experiment import Experiment
from attlas.models import model_class
from attlas.models.protocol import Beginning
from attlas.scoring import Scorer
from attlas.training.fit import Descent, Moment
from attlas.training.solvers import make_solver

ENOUGH_SECONDS = 1.0
PARTS = (0.0625, 0.125, 0.25)  # of the items; the first one compiles
FEW_USERS, FEW_ROWS = 32, 4096
STEEPEST = 3.0  # an inverse takes the cube of its side


class _Enough(Exception):
    """What was wanted is known; the rest of the epoch is not needed."""


def refuse_too_slow(experiment: Experiment, split: Split, given: float) -> None:
    """Refuse a model of which one epoch and the measuring after it are predicted to take more than it was given.

    Args:
        given: seconds.

    Raises:
        TooLarge: with the figure.
    """
    found = predict_seconds(experiment, split)
    if found > given:
        name, what = experiment.model["name"], "ranking" if experiment.task == "ranking" else "prediction"
        raise TooLarge(
            f"one epoch of {name} and the {what} after it are predicted to take {found:,.0f} s of its {given:,.0f} s"
        )


def predict_seconds(experiment: Experiment, split: Split) -> float:
    """Seconds that one epoch and the ranking of those who are held out, or the prediction of their rows, will take."""
    inputs = inputs_of(split.train, device=find_device(experiment.training.device))
    seconds = _one_epoch(experiment, inputs)
    held_out = split.test if split.valid is None else split.valid
    if experiment.task != "ranking":
        return seconds + _predicting(experiment, inputs, held_out)
    return seconds + _ranking(experiment, inputs, len(np.unique(held_out.user)))


def _one_epoch(experiment: Experiment, inputs: Inputs) -> float:
    """From the batches of a second where a solver tells of them, else from what it takes on parts of the items."""
    clock = _Clock()
    model = _model(experiment, inputs)
    solver = make_solver(model, experiment.solver, watch=clock)
    if not isinstance(solver, Descent):
        return _scaled_up(experiment, inputs.train)
    with suppress(_Enough):
        solver.epoch(model, inputs, np.random.default_rng(0))
    return clock.predicted


class _Clock:
    """Times the batches after the first, which warms up, and breaks off when a second is over."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.predicted = 0.0

    def __call__(self, moment: Moment) -> None:
        seconds = time.perf_counter() - self.began
        self.predicted = seconds / max(moment.batch - 1, 1) * moment.batches
        if moment.batch == 1 < moment.batches:
            self.began = time.perf_counter()
        elif seconds > ENOUGH_SECONDS:
            raise _Enough


def _scaled_up(experiment: Experiment, train: Interactions) -> float:
    """What all items will take, by the power of their number that the last two parts show."""
    seconds = [_on_part(experiment, train, share) for share in PARTS]
    steepness = math.log(seconds[-1] / seconds[-2]) / math.log(PARTS[-1] / PARTS[-2])
    return seconds[-1] * PARTS[-1] ** -min(max(steepness, 1.0), STEEPEST)


def _on_part(experiment: Experiment, train: Interactions, share: float) -> float:
    """Seconds of one epoch on the rows of the first of the items, taken at random."""
    count = max(2, round(share * len(train.items)))
    place_I = np.random.default_rng(0).permutation(len(train.items))
    is_in = place_I[train.item] < count
    items = Vocabulary(list(range(count)), noun="item")
    rows = train.take(is_in)
    part = replace(rows, items=items, item=place_I[rows.item])
    inputs = Inputs(part, device=find_device(experiment.training.device))
    model = _model(experiment, inputs)
    solver = make_solver(model, experiment.solver)
    began = time.perf_counter()
    with torch.no_grad():
        solver.epoch(model, inputs, np.random.default_rng(0))
    return max(time.perf_counter() - began, 1e-6)


def _ranking(experiment: Experiment, inputs: Inputs, users: int) -> float:
    """Seconds of scoring the catalogue for so many users, from a few; what all share is made before."""
    scorer = Scorer(_model(experiment, inputs).eval(), inputs)
    few = np.arange(min(FEW_USERS, inputs.sizes.num_users))
    scorer.score_all(few[:1])
    began = time.perf_counter()
    scorer.score_all(few)
    return (time.perf_counter() - began) / len(few) * users


def _predicting(experiment: Experiment, inputs: Inputs, held_out: Any) -> float:
    """Seconds of scoring all rows that are held out, from a few; what all share is made before."""
    scorer = Scorer(_model(experiment, inputs).eval(), inputs)
    few = held_out.take(np.arange(min(FEW_ROWS, len(held_out))))
    scorer.score_rows(few.take(np.arange(1)))
    began = time.perf_counter()
    scorer.score_rows(few)
    return (time.perf_counter() - began) / len(few) * len(held_out)


def _model(experiment: Experiment, inputs: Inputs) -> nn.Module:
    made: Any = model_class(experiment.model["name"])
    model: nn.Module = made(inputs.sizes, experiment.model_config()).to(inputs.device)
    if isinstance(model, Beginning):
        model.begin(inputs)
    return model
