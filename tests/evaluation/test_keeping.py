from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from attlas.errors import ArtefactError
from attlas.evaluation.keeping import read_reports, write_reports
from tests.page.rows import report_of


def test_reports_come_back_with_every_user(tmp_path: Path) -> None:
    report = dataclasses.replace(report_of([0.25, 1.0, 0.0]), ways={"popular": 2})
    write_reports(tmp_path / "seed.safetensors", {"full": report}, {"seed": 7})
    reports, facts = read_reports(tmp_path / "seed.safetensors")
    back = reports["full"]
    assert facts == {"seed": 7}
    np.testing.assert_array_equal(back.per_user["ndcg@10"], [0.25, 1.0, 0.0])
    np.testing.assert_array_equal(back.users, report.users)
    assert back.to_dict() == report.to_dict()


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seed.safetensors"
    write_reports(path, {"full": report_of([0.5])}, {})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtefactError, match="does not hold whole reports"):
        read_reports(path)


def test_an_average_over_reports_is_taken_user_by_user() -> None:
    one, other = report_of([0.0, 1.0]), report_of([1.0, 1.0])
    np.testing.assert_array_equal(one.averaged([one, other]).per_user["ndcg@10"], [0.5, 1.0])
