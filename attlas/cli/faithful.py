"""``attlas explain --faithfulness``: whether the reasons of some runs are what happens when they are taken away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attlas.errors import ConfigError
from attlas.faithfulness import FaithfulnessReport, faithfulness
from attlas.recommender import load
from attlas.telling import Teller


def measure_faithfulness(
    runs: Sequence[Path], beside: Mapping[str, Any], *, users: int, seed: int, out: Path | None, tell: Teller
) -> list[FaithfulnessReport]:
    """Whether the reasons of each run are what happens when they are taken away; with ``out`` also as a file.

    Raises:
        ConfigError: options of a single explanation were given too, or the file cannot be written.
    """
    if given := [name for name, value in beside.items() if value is not None]:
        raise ConfigError(f"--faithfulness draws its users and items itself; leave --{', --'.join(given)} out")
    found = []
    for run in runs:
        tell.say(f"{run}: taking entries out of histories and asking again")
        found.append(faithfulness(load(run), users=users, seed=seed, tell=tell))
    if out is not None:
        try:
            out.write_text(json.dumps([report.to_dict() for report in found], indent=2))
        except OSError as error:
            raise ConfigError(f"could not write {out}: {error}") from error
    return found
