"""What of an experiment is searched, and how Optuna sees it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from attlas.data.inputs import Sizes
from attlas.errors import ConfigError, nearest, require
from attlas.experiment import Experiment
from attlas.models import model_class
from attlas.spaces import Choice, Space, Span
from attlas.training.solvers import make_solver, solver_settings

SCALARS = (type(None), bool, int, float, str)  # what Optuna can store as it is
WAYS = ("solver.name", "solver.objective")  # how a model is trained, of which nothing is searched; whoever says so fixes it


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """Every setting of the model and of its solver with its value, by table and name: ``model.l2``."""
    model = {f"model.{name}": value for name, value in dataclasses.asdict(experiment.model_config()).items()}
    solver = solver_settings(_made(experiment), experiment.solver)
    return model | {f"solver.{name}": value for name, value in solver.items()}


def learns_in_epochs(experiment: Experiment) -> bool:
    """Whether its solver takes more than one epoch."""
    return not make_solver(_made(experiment), experiment.solver).one_epoch


def _made(experiment: Experiment) -> Any:
    made: Any = model_class(experiment.model["name"])
    return made(Sizes(1, 1), experiment.model_config())


def space_of(experiment: Experiment, fixed: Collection[str] = ()) -> dict[str, Span | Choice]:
    """The model's search space as far as this experiment has its settings and nobody fixed them.

    It is stretched to hold the experiment's own value; where that cannot be, such as 0 on a scale of ratios, the setting stays
    as it is.

    Raises:
        ConfigError: a fixed setting that neither the model nor its solver has.
    """
    known = settings_of(experiment)
    for key in fixed:
        if key not in (*known, *WAYS):
            raise ConfigError(f"there is no setting {key!r} to hold fixed; {nearest(key, known)}")
    whole: Space = getattr(model_class(experiment.model["name"]), "search_space", {})
    stretched = {key: _holding(choices, known[key]) for key, choices in whole.items() if key in known and key not in fixed}
    return {key: choices for key, choices in stretched.items() if choices is not None}


def _holding(choices: Span | Choice, value: Any) -> Span | Choice | None:
    if isinstance(choices, Choice):
        return choices if value in choices.values else Choice((*choices.values, value))
    if isinstance(value, bool) or not isinstance(value, int | float) or (choices.log and value <= 0):
        return None
    return dataclasses.replace(choices, low=min(choices.low, value), high=max(choices.high, value))


def count(space: Space) -> float:
    """How many different settings there are; infinitely many where a span holds fractions."""
    return math.prod(_count(choices) for choices in space.values())


def _count(choices: Span | Choice) -> float:
    if isinstance(choices, Choice):
        return len(choices.values)
    return choices.high - choices.low + 1 if choices.is_whole else math.inf


def with_settings(experiment: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """The same experiment with other settings of its model and solver."""
    tables = {"model": dict(experiment.model), "solver": dict(experiment.solver)}
    for key, value in settings.items():
        table, _, name = key.partition(".")
        tables[table][name] = value
    return dataclasses.replace(experiment, model=tables["model"], solver=tables["solver"])


def distributions(space: Space) -> dict[str, Any]:
    """The space as Optuna's distributions."""
    optuna: Any = require("optuna", extra="tune", purpose="searching for settings")
    made = optuna.distributions

    def of(choices: Span | Choice) -> Any:
        if isinstance(choices, Choice):
            return made.CategoricalDistribution([_written(value) for value in choices.values])
        kind = made.IntDistribution if choices.is_whole else made.FloatDistribution
        return kind(choices.low, choices.high, log=choices.log)

    return {key: of(choices) for key, choices in space.items()}


def to_parameters(space: Space, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Optuna stores them: a tuple is the text of its JSON."""
    return {key: _written(value) if isinstance(space[key], Choice) else value for key, value in settings.items()}


def from_parameters(space: Space, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from what Optuna stored, in the order of the space."""
    return {key: _read(choices, parameters[key]) for key, choices in space.items()}


def _written(value: Any) -> Any:
    return value if isinstance(value, SCALARS) else json.dumps(value)


def _read(choices: Span | Choice, stored: Any) -> Any:
    if isinstance(choices, Choice):
        return next(value for value in choices.values if _written(value) == stored)
    return stored
