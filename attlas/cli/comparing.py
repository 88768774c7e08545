"""What ``attlas compare`` was told on the command line, as a plan; and what happens when it is stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attlas.comparing.compare import PLAN, recall_plan, run_plan
from attlas.comparing.plan import Plan
from attlas.errors import ConfigError, Interrupted
from attlas.evaluation.comparison import Comparison
from attlas.experiment import read_toml
from attlas.telling import Teller


def compare_from_options(
    config: Path | None, options: Mapping[str, Mapping[str, Any]], *, out: Path | None, resume: Path | None, tell: Teller
) -> tuple[Comparison, Path]:
    """Compare, and return what was found and the folder in which it lies.

    Raises:
        ConfigError: options that do not go together.
        Interrupted: Ctrl-C; the message says how to go on.
    """
    given = {name: {key: value for key, value in table.items() if value is not None} for name, table in options.items()}
    if resume:
        if config or out or any(given.values()):
            raise ConfigError("--resume takes the settings noted in the comparison; give it alone")
        plan, folder = recall_plan(resume), resume
    else:
        if config is None and "source" not in given["data"]:
            raise ConfigError("nothing to compare on; give --data ratings.csv, or a TOML file")
        tables: dict[str, Any] = read_toml(config) if config else {}
        for name, table in given.items():
            tables[name] = {**tables.get(name, {}), **table}
        plan = Plan.of(tables)
        folder = out or Path("runs") / f"compare-{config.stem if config else Path(plan.data.source).stem}"
    try:
        return run_plan(plan, out=folder, tell=tell), folder
    except KeyboardInterrupt:
        kept = f"go on with: attlas compare --resume {folder}" if (folder / PLAN).is_file() else "nothing had begun"
        raise Interrupted(f"stopped; {kept}") from None
