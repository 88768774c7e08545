"""Popularity on the published splits of the NCF paper: figures that need no training, so that they must agree to the digit."""

import os
from pathlib import Path

import numpy as np
import pytest

from attlas.data.split import read_split
from attlas.evaluation.evaluate import evaluate
from attlas.evaluation.protocols import PROTOCOLS
from tests.evaluation.table import TableScorer

BESIDE = Path(__file__).parents[2].parent / "shared" / "data"


class Popularity(TableScorer):
    """Scores an item by its number of training rows."""

    def __init__(self, train, users_at_once):
        super().__init__(train, np.bincount(train.item, minlength=len(train.items)), users_at_once)

    def score(self, user, item):
        return self.table[item]

    def score_all(self, user):
        return np.tile(self.table, (len(user), 1))


def published_split(name: str):
    folder = Path(os.environ.get("ATTLAS_DATA", BESIDE)) / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not on this machine; set ATTLAS_DATA to the folder that holds it")
    return read_split(folder, validation="none")


@pytest.mark.parametrize(
    ("name", "hit_rate", "ndcg"),
    [("ml-1m-ncf", 0.4535, 0.2543), ("lastfm-ncf", 0.6635, 0.3866), ("amusic-ncf", 0.2483, 0.1303)],
)
def test_popularity_under_ncf_gets_its_known_figures(name, hit_rate, ndcg):
    split = published_split(name)
    report = evaluate(Popularity(split.train, users_at_once=8), split, "ncf")
    assert len(report.users) == len(split.train.users)
    assert round(report.mean("hr@10"), 4) == hit_rate
    assert round(report.mean("ndcg@10"), 4) == ndcg


def test_blocks_and_protocols_change_the_codes_but_not_the_bounds():
    split = published_split("ml-1m-ncf")
    reports = [evaluate(Popularity(split.train, users_at_once=500), split, code, k=(10,)) for code in PROTOCOLS]
    assert [report.protocol for report in reports] == list(PROTOCOLS)
    full, ncf, clean = (report.mean("hr@10") for report in reports)
    # Fewer rivals, more hits: every list of candidates is a part of the catalogue, and the clean one a part of it.
    assert 0 < full < ncf <= clean < 1
