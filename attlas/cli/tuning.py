"""attlas tune: what it was told, as a search; and what came of it, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attlas.cli import option, show
from attlas.durations import parse_seconds, readable_seconds
from attlas.errors import ArtefactError, ConfigError, Interrupted
from attlas.telling import typed

if TYPE_CHECKING:
    from attlas.experiment import Experiment
    from attlas.search.search import Searched

Out = Annotated[Path | None, typer.Option(help="The folder to make.", show_default=False)]
Resume = Annotated[Path | None, typer.Option(help="Go on with the search of this folder.", show_default=False)]
Trials = Annotated[int | None, typer.Option(help="At most so many trials.", show_default="20", min=1)]
Budget = Annotated[str | None, typer.Option(help="At most so long, such as 90s, 10m or 2h.", show_default="no limit")]
Workers = Annotated[int | None, typer.Option(help="Processes that search together.", show_default="1", min=1)]
Storage = Annotated[
    str | None, typer.Option(help="The address of an Optuna storage for the study.", show_default="study.db in the folder")
]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting to hold fixed, such as model.embedding_dim=32; or any other.", show_default=False),
]


@option.with_table
def tune(
    table: dict[str, Any],
    config: option.Config = None,
    data: option.Data = None,
    label: option.Label = None,
    model: option.Model = None,
    out: Out = None,
    resume: Resume = None,
    trials: Trials = None,
    budget: Budget = None,
    workers: Workers = None,
    storage: Storage = None,
    split: option.Split = None,
    validation: option.Validation = None,
    epochs: option.Epochs = None,
    seed: option.Seed = None,
    device: option.Device = None,
    memory: option.Memory = None,
    setting: Setting = None,
    as_json: option.Json = False,
) -> None:
    """Search for the settings under which a model does best on the validation part; the test part is never seen.

    Example: [bold]attlas tune --data ratings.csv --model delf --trials 20 --out tuned/delf[/bold]

    The first trial has the settings of the TOML file, or the defaults. [bold]attlas tune --resume DIR[/bold] goes on.
    """
    tables: dict[str, dict[str, Any]] = {
        "data": {"source": data, "label": label, "split": split, "validation": validation, **table},
        "model": {"name": model},
        "training": {"epochs": epochs, "seed": seed, "device": device, "memory": memory},
    }
    seconds = parse_seconds(budget) if budget else None
    limits = {"trials": trials, "seconds": seconds, "workers": workers, "storage": storage}
    folder, found = tune_from_options(config, tables, setting or [], limits, out=out, resume=resume)
    if as_json:
        return show.show_json({"out": str(folder), **found.to_dict()})
    return _show(folder, found)


def tune_from_options(
    config: Path | None,
    options: dict[str, dict[str, Any]],
    settings: list[str],
    limits: dict[str, Any],
    *,
    out: Path | None,
    resume: Path | None,
) -> tuple[Path, Searched]:
    """Search, or go on; the folder and what was found there. What ``--set`` says of the model and its solver stays fixed.

    Raises:
        ConfigError: options that do not go together.
        Interrupted: Ctrl-C; the message says how to go on.
    """
    from attlas.search import tuning
    from attlas.search.note import NOTE
    from attlas.telling import Terminal

    given = [name for table in options.values() for name, value in table.items() if value is not None]
    if resume and (config or out or settings or given):
        raise ConfigError("--resume takes the settings noted there; only --trials, --budget, --workers, --storage go with it")
    folder = resume or out
    if folder is None:
        raise ConfigError("nowhere to keep the trials; name a folder: --out tuned/delf")
    again = f"go on with: attlas tune --resume {typed(folder)}"
    told: dict[str, Any] = {"storage": limits.pop("storage"), "tell": Terminal()}
    changes = {name: value for name, value in limits.items() if value is not None}
    try:
        if resume:
            return folder, tuning.resume(folder, changes=changes, **told)
        if (folder / NOTE).is_file():
            raise ArtefactError(f"{folder} holds a search; {again}, or choose another --out")
        experiment, fixed = _asked(config, options, settings)
        budget = tuning.USUAL._replace(**changes)
        return folder, tuning.tune_experiment(experiment, folder, budget=budget, fixed=fixed, **told)
    except KeyboardInterrupt:
        kept = f"finished trials are kept; {again}" if (folder / NOTE).is_file() else "nothing had begun"
        raise Interrupted(f"stopped; {kept}") from None


def _asked(config: Path | None, options: dict[str, dict[str, Any]], settings: list[str]) -> tuple[Experiment, set[str]]:
    """Where to start, and what of the model and its solver stays as ``--set`` has it."""
    from attlas.cli.fitting import assigned, merged
    from attlas.experiment import Experiment
    from attlas.search.space import settings_of

    experiment = Experiment.of(merged(config, options, settings))
    held = {f"{table}.{name}" for table, names in assigned(settings).items() for name in names}
    return experiment, held & settings_of(experiment).keys()


def _show(folder: Path, found: Searched) -> None:
    metric, names = found.experiment.metric, _short(found.best.settings)
    rows = [
        {
            "trial": f"{one.number}{' best' if one is found.best else ''}",
            "state": one.state,
            metric: one.value,
            "epoch": one.epoch if one.curve else None,
            "seconds": f"{one.seconds:.1f}",
            **{names[key]: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in one.settings.items()},
        }
        for one in found.tried
    ]
    columns = ("trial", "state", metric, "epoch", "seconds", *names.values())
    title = f"{found.experiment.model['name']}: {len(rows)} trials in {readable_seconds(found.seconds)}, {metric} on validation"
    show.show_table(rows, columns, title=title)
    failed = [f"trial {one.number} failed: {one.reason}" for one in found.tried if one.state == "failed"]
    best = folder / "best.toml"
    show.show_sentences([*failed, f"the best settings are in {best}; fit with: attlas fit {typed(best)} --out RUN"])


def _short(keys: Iterable[str]) -> dict[str, str]:
    """Settings without their table, where no other has the same name."""
    names = [key.partition(".")[2] for key in keys]
    return {key: name if names.count(name) == 1 else key for key, name in zip(keys, names, strict=True)}
