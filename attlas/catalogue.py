"""What there is to choose from: each model with what it needs, whom it serves and what it explains."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from attlas.models import MODELS, ROOMS, model_class, stem_of
from attlas.models.protocol import Ranking, Separable, asked_by, task_of
from attlas.models.reasons import reasons_of
from attlas.strangers import FITTED, FOLDED, READ, way_of
from attlas.training.solvers import DESCENT, OBJECTIVES, DescentConfig


def describe(name: str) -> dict[str, Any]:
    """The facts about one model, ready for JSON.

    Returns:
        name, summary, needs (names of inputs), strangers, explains, ranks (how the whole catalogue is scored), solvers and
        settings (name, default and meaning of each); solver_settings, the same for the solver used where none is named.

    Raises:
        ConfigError: no model has that name.
    """
    model: Any = model_class(name)
    return {
        "name": name,
        "summary": _summary(name, model),
        "needs": list(asked_by(model)),
        "strangers": _strangers(model),
        "explains": _explains(model),
        "ranks": _ranks(model),
        "solvers": list(getattr(model, "Solvers", {})) or [DESCENT],
        "settings": _settings(model.Config),
        "solver_settings": _solver_settings(model),
    }


def describe_all() -> list[dict[str, Any]]:
    """The facts about every model."""
    return [describe(name) for name in MODELS]


def _summary(name: str, model: Any) -> str:
    """The first line of the paper's file; of a part of a paper that of its class, with the paper's name."""
    if name in ROOMS:
        return f"{MODELS[name]}, a part of {MODELS[stem_of(name)]}: {inspect.getdoc(model) or ''}".split("\n")[0]
    return (inspect.getdoc(inspect.getmodule(model)) or "").split("\n")[0]


def _strangers(model: Any) -> str:
    ways = {
        READ: "from their history",
        FOLDED: "a user vector solved from their history",
        FITTED: "a user vector fitted to their history",
    }
    return ways.get(way_of(model), "the most popular items")


def _explains(model: Any) -> str:
    said = {
        "attention": "attention over histories",
        "contribution": "contribution of each history item",
        "counterfactual": "counterfactual scores without each history item",
        "features": "features by what they add",
        "pairs": "pairs of features, by what they add",
        "deletion": "deletion of each pair of features",
        "factors": "factors and biases, by what they add",
        "windows": "windows of latent features, and neighbours' ratings",
        "popularity": "popularity",
        "none": "none (no history is weighed)",
    }
    return said[reasons_of(model)]


def _ranks(model: Any) -> str:
    if isinstance(model, Ranking):
        return "the whole catalogue at once"
    return "each item encoded once" if isinstance(model, Separable) else "pair by pair"


def _solver_settings(model: Any) -> list[dict[str, Any]]:
    own = list(getattr(model, "Solvers", {}).values())
    if own:
        return _settings(own[0]) if dataclasses.is_dataclass(own[0]) else []
    usual = "ratings" if task_of(model) == "rating" else "pointwise"
    objective = {"name": "objective", "default": usual, "meaning": f"one of {', '.join(OBJECTIVES)}."}
    return [objective, *_settings(OBJECTIVES[usual]), *_settings(DescentConfig)]


def _settings(config: Any) -> list[dict[str, Any]]:
    # What a class inherits it need not explain again.
    meanings = {
        name: text
        for kind in reversed(config.__mro__)
        for name, text in _meanings(inspect.cleandoc(kind.__doc__ or "")).items()
    }
    settings = []
    for field in (field for field in dataclasses.fields(config) if field.init):
        default = getattr(config(), field.name)
        settings.append({"name": field.name, "default": default, "meaning": meanings.get(field.name, "")})
    return settings


def _meanings(docstring: str) -> dict[str, str]:
    """Name and text of each entry under ``Attributes:``."""
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Attributes:")[2].splitlines():
        indent = len(line) - len(line.lstrip())
        if indent == 4 and ":" in line:
            name, _, text = line.strip().partition(": ")
            found[name] = text
        elif indent > 4 and name:
            found[name] += " " + line.strip()
    return found
