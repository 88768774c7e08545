from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from attlas.errors import ArtefactError
from attlas.telling import Bar, Teller
from attlas.training.journal import Journal, View, read_curve


def test_a_curve_has_the_epochs_of_the_fit_and_not_of_the_refit(tmp_path: Path) -> None:
    rows = [{"stage": stage, "epoch": epoch, "loss": 0.5, "valid ndcg@10": 0.1, "seconds": 1.0} for stage, epoch in
            (("fit", 1), ("fit", 2), ("refit", 1))]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert [epoch.number for epoch in read_curve(tmp_path, "ndcg@10")] == [1, 2]


def test_what_is_solved_in_one_epoch_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"stage": "fit", "epoch": 1, "loss": None, "seconds": 1.0}) + "\n")
    assert read_curve(tmp_path, "ndcg@10") == ()


def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = Journal(tmp_path / "metrics.jsonl", "fit", "ndcg@10", None, View(Bar(), 3), Teller())
    log(1, 0.5)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ArtefactError, match=r"could not write .*metrics\.jsonl: .*No space left on device; epochs up to"):
        log(2, 0.4)
    monkeypatch.undo()
    assert [json.loads(line)["epoch"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1]
