"""attlas compare: what it was told, as a plan; what came of it, as tables; and what happens when it is stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attlas.cli import option, show
from attlas.errors import ConfigError, Interrupted
from attlas.telling import typed

if TYPE_CHECKING:
    from attlas.evaluation.comparison import Comparison
    from attlas.telling import Teller


@option.with_table
def compare(
    table: dict[str, Any],
    config: option.Config = None,
    data: option.Data = None,
    label: option.Label = None,
    model: option.Against = None,
    without: option.Without = None,
    budget: option.Budget = None,
    trials: option.Trials = None,
    seeds: option.Seeds = None,
    metric: option.Metric = None,
    objective: option.Objective = None,
    out: option.Folder = None,
    resume: option.ResumeComparison = None,
    split: option.Split = None,
    validation: option.Validation = None,
    seed: option.FirstSeed = None,
    device: option.Device = None,
    memory: option.Memory = None,
    as_json: option.Json = False,
) -> None:
    """Hold models against tuned baselines: equal budgets, several seeds, intervals, significance, one report.

    Examples: [bold]attlas compare --data purchases.csv --budget 10m[/bold], [bold]attlas compare TABLES.toml --out DIR[/bold]

    Killed at any time, it goes on with [bold]attlas compare --resume DIR[/bold].
    """
    from attlas.comparing.tables import rows, sentences, to_dict
    from attlas.telling import Terminal

    asked = {"models": model or None, "without": without or None, "budget": budget, "trials": trials, "seeds": seeds}
    asked |= {"metric": metric, "objective": objective, "seed": seed, "device": device, "memory": memory}
    options = {"data": {"source": data, "label": label, "split": split, "validation": validation, **table}, "compare": asked}
    found, folder = _compared(config, options, out=out, resume=resume, tell=Terminal())
    if as_json:
        return show.show_json(to_dict(found))
    for code in found.protocols:
        show.show_table(lines := rows(found, code), list(lines[0]), title=f"Protocol {code}, split {found.data['split']}, test")
    after = f"open {folder / 'report.html'}; the winner's run is {folder / 'winner'}"
    return show.show_sentences([*sentences(found), after])


def _compared(
    config: Path | None, options: Mapping[str, Mapping[str, Any]], *, out: Path | None, resume: Path | None, tell: Teller
) -> tuple[Comparison, Path]:
    """Compare, and return what was found and the folder in which it lies.

    Raises:
        ConfigError: options that do not go together.
        Interrupted: Ctrl-C; the message says how to go on.
    """
    from attlas.comparing.compare import PLAN, recall_plan, run_plan
    from attlas.comparing.plan import Plan
    from attlas.experiment import read_toml

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
        kept = f"go on with: attlas compare --resume {typed(folder)}" if (folder / PLAN).is_file() else "nothing had begun"
        raise Interrupted(f"stopped; {kept}") from None
