from __future__ import annotations

import json
from pathlib import Path

from attlas.training.journal import read_curve


def test_a_curve_has_the_epochs_of_the_fit_and_not_of_the_refit(tmp_path: Path) -> None:
    rows = [{"stage": stage, "epoch": epoch, "loss": 0.5, "valid ndcg@10": 0.1, "seconds": 1.0} for stage, epoch in
            (("fit", 1), ("fit", 2), ("refit", 1))]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert [epoch.number for epoch in read_curve(tmp_path, "ndcg@10")] == [1, 2]


def test_what_is_solved_in_one_epoch_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"stage": "fit", "epoch": 1, "loss": None, "seconds": 1.0}) + "\n")
    assert read_curve(tmp_path, "ndcg@10") == ()
