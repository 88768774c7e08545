"""What the list of models says of each, held against the models themselves."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import attlas
from attlas.catalogue import describe, describe_all
from attlas.data.inputs import NAMES
from attlas.errors import ConfigError
from attlas.models import MODELS, model_class

EVERY_MODEL = pytest.mark.parametrize("name", MODELS)


def test_the_catalogue_lists_every_model_once_in_the_order_of_models() -> None:
    assert [facts["name"] for facts in describe_all()] == list(MODELS)


def test_delf_is_described_by_what_its_file_says() -> None:
    facts = describe("delf")
    settings, _ = facts.pop("settings"), facts.pop("solver_settings")
    assert facts == {
        "name": "delf",
        "summary": "DELF: dual embeddings, user and item each seen twice (Cheng et al., IJCAI 2018).",
        "needs": ["user", "item", "user_history", "item_history"],
        "strangers": "a user vector fitted to their history",
        "explains": "attention over histories",
        "ranks": "each item encoded once",
        "solvers": ["descent"],
    }
    assert settings[0] == {"name": "embedding_dim", "default": 64, "meaning": "D, the size of all four tables."}


def test_ease_and_popularity_are_described_by_their_abilities() -> None:
    ease, popularity = describe("ease"), describe("popularity")
    assert (ease["needs"], ease["strangers"], ease["explains"], ease["ranks"], ease["solvers"]) == (
        ["item", "user_history"],
        "from their history",
        "contribution of each history item",
        "the whole catalogue at once",
        ["closed-form"],
    )
    assert (popularity["needs"], popularity["strangers"], popularity["explains"], popularity["settings"]) == (
        ["item"],
        "the most popular items",
        "popularity",
        [],
    )


@EVERY_MODEL
def test_every_setting_has_its_default_and_its_meaning(name: str) -> None:
    config: Any = model_class(name).Config
    settings = describe(name)["settings"]
    assert [(row["name"], row["default"]) for row in settings] == list(dataclasses.asdict(config()).items())
    assert all(row["meaning"] for row in settings), settings


@EVERY_MODEL
def test_a_description_is_ready_for_json_and_needs_only_known_inputs(name: str) -> None:
    facts = describe(name)
    assert json.loads(json.dumps(facts))["name"] == name
    assert set(facts["needs"]) <= set(NAMES)
    assert facts["summary"]


@EVERY_MODEL
def test_what_is_said_of_strangers_and_reasons_is_what_happens(name: str, club: Any) -> None:
    made = attlas.fit(club.interactions, name, epochs=1)
    way = made.recommend_for(["f1", "f2"], k=1)["way"][0]
    said = {
        "from their history": "from the history",
        "a user vector fitted to their history": "fitted user vector",
        "a user vector solved from their history": "folded in by one solve",
        "the most popular items": "popular",
    }
    assert said[describe(name)["strangers"]] == way
    assert describe(name)["explains"].split(" ")[0] == made.explain("m17", "f4").method


def test_an_unknown_model_is_refused_with_its_nearest_name() -> None:
    with pytest.raises(ConfigError, match="no model is called 'populrity'; did you mean 'popularity'"):
        describe("populrity")


@pytest.mark.parametrize(("name", "settings"), [("ials", ["method", "steps"]), ("ease", []), ("slim", [])])
def test_the_settings_of_the_usual_solver_are_told(name: str, settings: list[str]) -> None:
    assert [row["name"] for row in describe(name)["solver_settings"]] == settings


def test_a_model_that_descends_tells_of_its_objective_and_its_steps() -> None:
    rows = {row["name"]: row for row in describe("delf")["solver_settings"]}
    assert list(rows) == [
        "objective",
        "negatives",
        "batch_size",
        "optimizer",
        "learning_rate",
        "learning_rate_decay",
        "weight_decay",
    ]
    assert rows["objective"]["default"] == "pointwise"
    assert "whole-data" in rows["objective"]["meaning"]
