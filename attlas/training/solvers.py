"""The solver that a table of settings asks for."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from attlas.errors import ConfigError, nearest
from attlas.models.protocol import task_of
from attlas.settings import build
from attlas.training.fit import Descent, Optimizer, Solver, Watch
from attlas.training.labelled import Logistic, Squared
from attlas.training.objectives import Objective, Pairwise, Pointwise, SampledSoftmax
from attlas.training.whole import Ratings, WholeData

DESCENT = "descent"
OBJECTIVES: dict[str, type] = {
    "pointwise": Pointwise,
    "bpr": Pairwise,
    "sampled-softmax": SampledSoftmax,
    "whole-data": WholeData,
    "ratings": Ratings,
    "logistic": Logistic,
    "squared": Squared,
}
OF_LABELS = {"logistic": "label", "squared": "target"}  # by what their scores are measured


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DescentConfig:
    """How far gradient descent steps.

    Attributes:
        optimizer: how a gradient becomes a step: adam, sgd or adagrad.
        learning_rate: the step size in the first epoch.
        learning_rate_decay: what the step size is multiplied by after every epoch.
        weight_decay: L2 penalty on all parameters.
    """

    optimizer: Optimizer = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    learning_rate_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)


def make_solver(model: nn.Module, table: dict[str, Any], *, watch: Watch | None = None) -> Solver:
    """The solver that a ``[solver]`` table asks for: the model's own, else gradient descent on an objective.

    A model with solvers of its own descends where the table says ``name = "descent"`` or names an objective.

    Raises:
        ConfigError: an unknown setting, solver or objective.
    """
    own = getattr(model, "Solvers", {})
    settings = dict(table)
    name = settings.pop("name", DESCENT if "objective" in settings else next(iter(own), DESCENT))
    known = [*own, DESCENT] if any(True for _ in model.parameters()) else [*own]
    if name not in known:
        raise ConfigError(f"[solver] name = {name!r}; {nearest(str(name), known)}")
    if name in own:
        made: Solver = build(own[name], settings, where="solver")
        return made
    kind = settings.pop("objective", "ratings" if task_of(model) == "rating" else "pointwise")
    if kind not in list(OBJECTIVES):
        raise ConfigError(f"[solver] objective = {kind!r}; {nearest(str(kind), OBJECTIVES)}")
    if (kind == "ratings") != (task_of(model) == "rating"):
        fit = "it is 'ratings' for models of ratings, and any other for models that rank"
        raise ConfigError(f"[solver] objective = {kind!r} does not go with {type(model).__name__}; {fit}")
    fields = [field.name for field in dataclasses.fields(OBJECTIVES[kind])]
    steps = [field.name for field in dataclasses.fields(DescentConfig)]
    for name in settings:
        if name not in (*fields, *steps):
            raise ConfigError(f"[solver] has no setting {name!r}; {nearest(name, ('objective', *fields, *steps))}")
    objective: Objective = build(
        OBJECTIVES[kind], {name: settings.pop(name) for name in fields if name in settings}, where="solver"
    )
    config = build(DescentConfig, settings, where="solver")
    return Descent(model, objective, **dataclasses.asdict(config), watch=watch)


def solver_settings(model: nn.Module, table: dict[str, Any]) -> dict[str, Any]:
    """Every number or word that the solver of a ``[solver]`` table goes by, defaults included; not its name or objective."""
    solver: Any = make_solver(model, table)
    if isinstance(solver, Descent):
        objective: Any = solver.objective
        steps = {
            "optimizer": solver.optimizer_name,
            "learning_rate": solver.learning_rate,
            "learning_rate_decay": solver.learning_rate_decay,
        }
        return {**dataclasses.asdict(objective), **steps, "weight_decay": solver.optimizer.defaults["weight_decay"]}
    known = dataclasses.fields(solver) if dataclasses.is_dataclass(solver) else ()
    return {field.name: getattr(solver, field.name) for field in known if field.init}
