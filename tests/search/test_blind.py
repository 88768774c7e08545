"""What a search may see of a split."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import attlas
from attlas.data.split import Split
from attlas.errors import ConfigError
from attlas.search.blind import without_test
from tests.search.poisoned import Looked, Poisoned


@pytest.fixture(scope="module")
def parts(club: Any) -> Split:
    """The club, split by time, each test row with candidates."""
    made = attlas.split(club.interactions)
    return dataclasses.replace(made, candidates=np.zeros((len(made.test), 3), np.int64))


def test_training_and_validation_rows_stay_and_the_test_part_goes(parts: Split) -> None:
    seen = without_test(parts)
    assert seen.train is parts.train
    assert seen.valid is parts.valid
    assert len(seen.test) == 0
    assert seen.candidates is None
    assert seen.dropped == {}


@pytest.mark.parametrize("name", ["test", "candidates"])
def test_the_poison_bites_who_asks_for(name: str, parts: Split) -> None:
    with pytest.raises(Looked, match=name):
        getattr(Poisoned.of(parts), name)


def test_neither_the_test_part_nor_the_candidates_are_looked_at(parts: Split) -> None:
    seen = without_test(Poisoned.of(parts))
    assert type(seen) is Split
    assert seen.valid is parts.valid


def test_of_users_held_out_whole_only_those_of_validation_stay_known(club: Any) -> None:
    parts = attlas.split(club.interactions, "held-out-users")
    seen = without_test(parts)
    assert parts.given is not None
    assert seen.given is not None
    assert set(seen.given.user) == set(parts.valid.user)  # type: ignore[union-attr]
    assert not set(seen.given.user) & set(parts.test.user)
    assert set(parts.given.user) & set(parts.test.user)


def test_without_a_validation_part_there_is_nothing_to_choose_by(club: Any) -> None:
    parts = attlas.split(club.interactions, "user-ratio", valid=0.0)
    with pytest.raises(ConfigError, match=r"'user-ratio' came without a validation part, .* leave \[data\] validation"):
        without_test(parts)
