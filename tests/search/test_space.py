"""Every model's search space, and what of it an experiment leaves to be searched."""

from __future__ import annotations

import json
import math
from typing import Any

import optuna
import pytest

from attlas.errors import ConfigError
from attlas.experiment import Experiment
from attlas.models import MODELS, model_class
from attlas.search.space import (
    count,
    distributions,
    from_parameters,
    learns_in_epochs,
    settings_of,
    space_of,
    to_parameters,
    with_settings,
)
from attlas.spaces import Choice, Space, Span

SPACES: dict[str, Space] = {name: getattr(model_class(name), "search_space", {}) for name in MODELS}
SEARCHED = [(name, key) for name, space in SPACES.items() for key in space]


def of(name: str, **tables: Any) -> Experiment:
    """An experiment with one model."""
    return Experiment.of({**tables, "model": {"name": name, **tables.get("model", {})}})


def ends_of(choices: Span | Choice) -> tuple[Any, ...]:
    """Everything that may be chosen, or both ends."""
    return choices.values if isinstance(choices, Choice) else (choices.low, choices.high)


@pytest.mark.parametrize("name", MODELS)
def test_all_but_popularity_have_one_to_six_settings_to_search_in(name: str) -> None:
    assert len(SPACES[name]) in (range(1) if name == "popularity" else range(1, 7))


@pytest.mark.parametrize(("name", "key"), SEARCHED)
def test_every_value_and_both_ends_of_every_span_are_taken_for(name: str, key: str) -> None:
    assert key in settings_of(of(name))
    for value in ends_of(SPACES[name][key]):
        taken = settings_of(with_settings(of(name), {key: value}))
        assert taken[key] == value


@pytest.mark.parametrize(("name", "key"), SEARCHED)
def test_the_default_lies_inside_for(name: str, key: str) -> None:
    default, choices = settings_of(of(name))[key], SPACES[name][key]
    assert default in choices.values if isinstance(choices, Choice) else choices.low <= default <= choices.high


@pytest.mark.parametrize(("name", "key"), SEARCHED)
def test_a_span_is_whole_where_the_setting_is_and_rises(name: str, key: str) -> None:
    choices = SPACES[name][key]
    if isinstance(choices, Span):
        assert choices.is_whole == isinstance(settings_of(of(name))[key], int)
        assert 0 <= choices.low < choices.high
        assert choices.low > 0 or not choices.log
    else:
        assert len(set(choices.values)) == len(choices.values) > 1


@pytest.mark.parametrize("name", MODELS)
def test_what_optuna_stores_becomes_the_settings_again(name: str) -> None:
    space = SPACES[name]
    for place in (0, -1):
        settings = {key: ends_of(choices)[place] for key, choices in space.items()}
        stored = json.loads(json.dumps(to_parameters(space, settings)))
        assert from_parameters(space, stored) == settings
        optuna.trial.create_trial(value=0.0, params=stored, distributions=distributions(space))  # refuses what lies outside


def test_settings_are_those_of_the_model_and_of_its_solver_with_their_values() -> None:
    assert settings_of(of("mf", solver={"l2": 0.1}))["solver.l2"] == 0.1
    assert settings_of(of("mf"))["model.embedding_dim"] == 64
    descending = settings_of(of("delf", solver={"weight_decay": 0.5, "negatives": 7}))
    assert (descending["solver.weight_decay"], descending["solver.negatives"], descending["solver.learning_rate"]) == (
        0.5,
        7,
        1e-3,
    )


def test_what_is_fixed_is_not_searched() -> None:
    assert set(space_of(of("slim"), ["model.l1"])) == {"model.l2"}


def test_a_fixed_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no setting 'model\.l3' to hold fixed; did you mean 'model\.l2'\?"):
        space_of(of("ease"), ["model.l3"])


@pytest.mark.parametrize(
    ("name", "solver", "searched"),
    [
        ("mf", {"objective": "bpr", "negatives": 2}, {"model.embedding_dim", "solver.learning_rate"}),
        ("mf", {"name": "descent", "negatives": 2}, {"model.embedding_dim", "solver.learning_rate"}),
        ("fawmf", {"name": "fbgd"}, set(SPACES["fawmf"])),
    ],
)
def test_the_way_a_model_is_trained_may_be_held_fixed(name: str, solver: dict[str, Any], searched: set[str]) -> None:
    assert set(space_of(of(name, solver=solver), [f"solver.{key}" for key in solver])) == searched


def test_a_solver_that_lacks_a_setting_is_not_asked_for_it() -> None:
    descending = space_of(of("mf", solver={"objective": "bpr"}))
    assert set(descending) == {"model.embedding_dim", "solver.learning_rate", "solver.negatives"}


def test_the_space_is_stretched_to_where_the_experiment_stands() -> None:
    assert space_of(of("ease", model={"l2": 20_000.0}))["model.l2"] == Span(10.0, 20_000.0, log=True)
    assert space_of(of("ease", model={"l2": 3.0}))["model.l2"] == Span(3.0, 10_000.0, log=True)
    widened = space_of(of("mf", model={"embedding_dim": 7}))["model.embedding_dim"]
    assert isinstance(widened, Choice)
    assert widened.values[-1] == 7
    assert space_of(of("delf", model={"layers": [64, 32]}))["model.layers"] == SPACES["delf"]["model.layers"]


def test_zero_does_not_lie_on_a_scale_of_ratios_and_so_stays() -> None:
    assert "model.shrink" not in space_of(of("itemknn", model={"shrink": 0.0}))


def test_settings_are_counted() -> None:
    assert count({}) == 1
    assert count({"a": Choice((1, 2, 3)), "b": Span(2, 5)}) == 12
    assert count({"a": Choice((1, 2)), "b": Span(0.0, 1.0)}) == math.inf


def test_other_settings_leave_the_experiment_as_it_was() -> None:
    before = of("mf", training={"epochs": 3})
    after = with_settings(before, {"model.embedding_dim": 8, "solver.l2": 0.25})
    assert (after.model["embedding_dim"], after.solver["l2"], after.training.epochs) == (8, 0.25, 3)
    assert "embedding_dim" not in before.model
    assert before.solver == {}


def test_which_models_learn_in_epochs() -> None:
    assert learns_in_epochs(of("mf"))
    assert learns_in_epochs(of("delf"))
    assert not learns_in_epochs(of("ease"))
