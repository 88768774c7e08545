"""The commands that judge: many models against each other, one model's settings, data and results for faults."""

from __future__ import annotations

from typing import Any

from attlas.cli import option, show


@option.with_table
def compare(
    table: dict[str, Any],
    config: option.Config = None,
    data: option.Data = None,
    model: option.Against = None,
    without: option.Without = None,
    budget: option.Budget = None,
    trials: option.Trials = None,
    seeds: option.Seeds = None,
    metric: option.Metric = None,
    out: option.Folder = None,
    resume: option.ResumeComparison = None,
    split: option.Split = None,
    validation: option.Validation = None,
    seed: option.Seed = None,
    device: option.Device = None,
    memory: option.Memory = None,
    as_json: option.Json = False,
) -> None:
    """Hold models against tuned baselines: equal budgets, several seeds, intervals, significance, one report.

    Examples: [bold]attlas compare --data purchases.csv --budget 10m[/bold]

    [bold]attlas compare configs/compare-ml-1m-ncf.toml --out runs/ml-1m[/bold]

    Killed at any time, it goes on with [bold]attlas compare --resume DIR[/bold].
    """
    from attlas.cli.comparing import compare_from_options
    from attlas.comparing.tables import rows, sentences, to_dict
    from attlas.telling import Terminal

    asked = {"models": model or None, "without": without or None, "budget": budget, "trials": trials, "seeds": seeds}
    asked |= {"metric": metric, "seed": seed, "device": device, "memory": memory}
    options = {"data": {"source": data, "split": split, "validation": validation, **table}, "compare": asked}
    found, folder = compare_from_options(config, options, out=out, resume=resume, tell=Terminal())
    if as_json:
        return show.show_json(to_dict(found))
    for code in found.protocols:
        show.show_table(lines := rows(found, code), list(lines[0]), title=f"Protocol {code}, split {found.data['split']}, test")
    return show.show_sentences([*sentences(found), f"open {folder / 'report.html'}; the winner's run is {folder / 'winner'}"])
