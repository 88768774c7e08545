"""``attlas explain --faithfulness``: whether the reasons of some runs are what happens when they are taken away."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attlas.errors import ConfigError
from attlas.faithfulness import FaithfulnessReport, faithfulness
from attlas.recommender import load
from attlas.telling import Teller
from attlas.training.checkpoint import write_whole


def measure_faithfulness(
    runs: Sequence[Path], beside: Mapping[str, Any], *, users: int, seed: int, out: Path | None, tell: Teller
) -> list[FaithfulnessReport]:
    """Whether the reasons of each run are what happens when they are taken away; with ``out`` also as a file.

    Raises:
        ConfigError: options of a single explanation were given too, or there can be no such file.
        ArtefactError: no whole run, or the disk is full.
    """
    if given := [name for name, value in beside.items() if value is not None]:
        raise ConfigError(f"--faithfulness draws its users and items itself; leave --{', --'.join(given)} out")
    if out is not None:
        _refuse_unwritable(out)
    found = []
    for run in runs:
        tell.say(f"{run}: taking entries out of histories and asking again")
        found.append(faithfulness(load(run), users=users, seed=seed, tell=tell))
    if out is not None:
        write_whole(out, (json.dumps([report.to_dict() for report in found], indent=2) + "\n").encode())
    return found


def _refuse_unwritable(out: Path) -> None:
    """Refuse now what would fail only after minutes of measuring."""
    try:
        if out.is_dir():
            raise ConfigError(f"{out} is a folder; name a file in it, such as --out {out / 'faithfulness.json'}")
        if out.exists() and not out.is_file():  # a device or a pipe, which would be replaced
            raise ConfigError(f"{out} is no ordinary file; name another, or write --json > FILE")
        there = next(folder for folder in out.resolve().parents if folder.exists())
        is_open = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise ConfigError(f"{out} cannot be written: {error}; choose another --out") from error
    if not is_open:
        raise ConfigError(f"{out} cannot be written, since {there} is no folder that may be written to; choose another --out")
