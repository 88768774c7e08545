from __future__ import annotations

from pathlib import Path

import pytest

from attlas.comparing.plan import LADDER, Plan
from attlas.errors import ConfigError
from attlas.search.space import space_of


def names(tables: dict) -> list[str]:
    return [entrant.name for entrant in Plan.of(tables).entrants(has_candidates=False)]


def test_without_a_word_the_ladder_runs_beside_delf() -> None:
    assert names({}) == [*LADDER, "delf"]


def test_a_baseline_is_left_out_only_by_name() -> None:
    assert names({"compare": {"models": ("delf",), "without": ("slim",)}}) == [*(n for n in LADDER if n != "slim"), "delf"]


def test_a_model_of_the_ladder_that_is_named_runs_once() -> None:
    assert names({"compare": {"models": ("ease",)}}) == list(LADDER)


def test_a_variant_stands_under_its_own_name_with_its_settings_fixed() -> None:
    tables = {"compare": {"models": ()}, "contenders": {"delf-relu": {"model": {"name": "delf", "key": "relu"}}}}
    made = Plan.of(tables).entrants(has_candidates=False)[-1]
    assert (made.name, made.experiment.model["name"], made.fixed) == ("delf-relu", "delf", ("model.key",))
    assert not made.is_baseline


def test_a_variant_may_say_how_it_is_trained() -> None:
    tables = {"compare": {"models": ()}, "contenders": {"bpr": {"model": {"name": "mf"}, "solver": {"objective": "bpr"}}}}
    made = Plan.of(tables).entrants(has_candidates=False)[-1]
    assert made.experiment.solver == {"objective": "bpr"}
    assert set(space_of(made.experiment, made.fixed)) == {"model.embedding_dim", "solver.learning_rate", "solver.negatives"}


def test_every_model_gets_the_same_epochs_seed_and_metric() -> None:
    made = Plan.of({"compare": {"epochs": 7, "seed": 3, "metric": "recall@5"}}).entrants(has_candidates=True)
    assert {(e.experiment.training.epochs, e.experiment.training.seed, e.experiment.metric) for e in made} == {
        (7, 3, "recall@5")
    }
    assert {e.experiment.evaluation.protocol for e in made} == {("full", "ncf")}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"compair": {}}, "no table \\[compair\\]; did you mean 'compare'"),
        ({"compare": {"trails": 3}}, "no setting 'trails'; did you mean 'trials'"),
        ({"compare": {"models": ("delph",)}}, "names 'delph'; did you mean 'delf'"),
        ({"compare": {"without": ("delf",)}}, "not of the ladder"),
        ({"compare": {"models": ("delf", "biased_mf")}}, "biased_mf predicts ratings, and the others rank"),
        ({"compare": {"budget": "soon"}}, "soon"),
        ({"compare": {"metric": "ndgc@10"}}, "^metric = 'ndgc@10' is not known for ranking; did you mean 'ndcg'"),
        ({"compare": {"models": ("aimf",), "metric": "ndcg@10"}}, "^metric = 'ndcg@10' is not known for rating"),
        ({"compare": {"metric": "sampled_ndcg@10"}}, "for validation alone.* write 'ndcg@10'"),
        ({"contenders": {"../x": {"model": {"name": "ease"}}}}, "cannot be the name of a folder"),
        ({"contenders": {"winner": {"model": {"name": "ease"}}}}, "cannot be the name of a folder"),
        ({"contenders": {"report.html": {"model": {"name": "ease"}}}}, "cannot be the name of a folder"),
        ({"contenders": {"x": 5}}, "does not fit; write tables"),
        ({"contenders": {"ease": {"training": {"metric": "hr@10"}}}}, "metric is alike for all"),
        ({"contenders": {"x": {"modell": {}}}}, "has no table 'modell'; did you mean 'model'"),
        ({"contenders": {"x": {"model": {"name": "delf", "dims": 3}}}}, "no setting 'dims'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(tables: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Plan.of(tables)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs").glob("compare-*.toml")), ids=lambda path: path.stem
)
def test_the_configuration_is_read(path: Path) -> None:
    assert Plan.from_file(path).entrants(has_candidates=True)


@pytest.mark.parametrize(("model", "metric"), [("ease", "ndcg@10"), ("aimf", "rmse")])
def test_the_leading_metric_is_noted_as_what_it_is(model: str, metric: str) -> None:
    assert Plan.of({"compare": {"models": (model,)}}).to_dict()["compare"]["metric"] == metric


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "up to 20 trials, 3 seeds"),
        ({"trials": 1, "seeds": 1}, "1 trial, 1 seed"),
        ({"budget": "10m"}, "up to 20 trials within an equal share of what those before it left of 10m, 3 seeds"),
    ],
)
def test_the_words_of_a_budget_say_how_it_is_shared(settings: dict, said: str) -> None:
    assert Plan.of({"compare": settings}).compare.words() == said


def test_models_of_ratings_are_held_against_biases_and_biased_mf_by_their_error() -> None:
    plan = Plan.of(
        {"compare": {"models": ("aimf",)}, "contenders": {"printed": {"model": {"name": "aimf", "value": "literal"}}}}
    )
    made = plan.entrants(has_candidates=False)
    assert (plan.task, plan.metric) == ("rating", "rmse")
    assert [(each.name, each.is_baseline) for each in made] == [
        ("biases", True),
        ("biased_mf", True),
        ("aimf", False),
        ("printed", False),
    ]
    assert {(each.experiment.task, each.experiment.metric) for each in made} == {("rating", "rmse")}
    assert made[0].fixed == ("model.embedding_dim",)
    without = Plan.of({"compare": {"models": ("aimf",), "without": ("biases",), "metric": "mae"}})
    assert [each.name for each in without.entrants(has_candidates=False)] == ["biased_mf", "aimf"]
    assert without.metric == "mae"
