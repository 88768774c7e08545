"""What is known to be wrong with published files is found, with the sizes that others have counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attlas.auditing.finding import Finding
from attlas.auditing.split import audit_split
from attlas.data.split import read_split

BESIDE = Path(__file__).parents[3] / "shared" / "data"


def found_in(name: str) -> dict[str, Finding]:
    folder = Path(os.environ.get("ATTLAS_DATA", BESIDE)) / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not on this machine; set ATTLAS_DATA to the folder that holds it")
    return {finding.code: finding for finding in audit_split(read_split(folder))}


@pytest.mark.parametrize(("name", "users"), [("ml-1m-ncf", 156), ("lastfm-ncf", 86), ("amusic-ncf", 18)])
def test_users_whose_held_out_item_is_among_its_own_negatives_are_counted(name: str, users: int) -> None:
    found = found_in(name)["held-out-among-negatives"]
    assert found.severity == "warning"
    assert found.sentence.startswith(f"{users} test rows ")


@pytest.mark.parametrize(("name", "negatives"), [("lastfm-ncf", 2_434), ("amusic-ncf", 348)])
def test_negatives_that_are_training_positives_are_counted(name: str, negatives: int) -> None:
    found = found_in(name)["seen-negatives"]
    assert found.severity == "warning"
    assert found.sentence.startswith(f"{negatives:,} of the ")
    assert found.effect is not None
    assert "ncf-clean" in found.effect


def test_no_candidate_of_movielens_is_a_training_positive() -> None:
    assert "seen-negatives" not in found_in("ml-1m-ncf")


def test_a_quarter_of_the_test_on_amazon_music_is_cold() -> None:
    found = found_in("amusic-ncf")
    assert found["cold-test-items"].sentence == "464 test rows (26 %) are of items without any training row"
    assert found["cold-test-items"].size == pytest.approx(464 / 1776)
    assert found["cold-test-users"].sentence.startswith("43 test rows ")
    assert "hr@10 0.2520 -> 0.3412" in str(found["cold-test-items"].effect)
