"""What ``attlas fit`` was told on the command line, as an Experiment; and what happens when it is stopped."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from attlas.artefact import MANIFEST, is_unfinished
from attlas.errors import ConfigError, Interrupted
from attlas.experiment import Experiment, read_toml, recall
from attlas.final import final_folder, fit_final
from attlas.runner import run
from attlas.telling import Teller, typed


def fit_from_options(
    config: Path | None,
    options: dict[str, dict[str, Any]],
    settings: list[str],
    *,
    out: Path | None,
    resume: Path | None,
    final: Path | None,
    tell: Teller,
) -> dict[str, Any]:
    """Fit, and return the card of the run. Options override the TOML file, ``--set`` overrides both.

    With ``final``, a run is trained anew on all rows.

    Raises:
        ConfigError: options that do not go together.
        Interrupted: Ctrl-C; the message says how to go on.
    """
    given = [name for table in options.values() for name, value in table.items() if value is not None]
    if resume and (config or out or final or settings or given not in ([], ["source"])):
        raise ConfigError("--resume takes the settings noted in the run; only --data goes with it")
    if final and (config or settings or given not in ([], ["source"])):
        raise ConfigError("--final takes the settings noted in the run; only --data and --out go with it")
    folder = resume or out or (final_folder(final) if final else None)
    try:
        if final:
            card = fit_final(final, data=options["data"]["source"], out=out, tell=tell).card
            tell.say(f"the final model is in {folder}")
        else:
            experiment = recall(resume).experiment if resume else Experiment.of(merged(config, options, settings))
            moved = options["data"]["source"] if resume else None
            card = run(experiment, data=moved, out=folder, resume=resume is not None, tell=tell).card
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {_kept(folder)}") from None
    if folder is None:
        tell.say("the model was not kept, only measured; --out RUN keeps it")
    return card


def _kept(folder: Path | None) -> str:
    if folder is None:
        return "nothing was kept; give --out next time"
    if is_unfinished(folder):
        return f"finished epochs are kept; go on with: attlas fit --resume {typed(folder)}"
    return f"{folder} is finished" if (folder / MANIFEST).is_file() else "nothing had begun"


def merged(config: Path | None, options: dict[str, dict[str, Any]], settings: list[str]) -> dict[str, Any]:
    """The tables of a TOML file with options over them, and ``--set`` over both.

    Raises:
        ConfigError: there is neither a file nor data and a model.
    """
    tables: dict[str, Any] = read_toml(config) if config else {}
    if config is None and options["data"]["source"] is None:
        raise ConfigError("nothing to learn from; give --data ratings.csv, or a TOML file")
    if config is None and options["model"]["name"] is None:
        raise ConfigError("no model was named; give --model NAME, one of those that attlas models lists")
    given = {name: {key: value for key, value in table.items() if value is not None} for name, table in options.items()}
    for name, table in [*given.items(), *assigned(settings).items()]:
        tables[name] = {**tables.get(name, {}), **table}
    return tables


def assigned(settings: list[str]) -> dict[str, dict[str, Any]]:
    """``table.key=value`` by table; values are written as in TOML, and what is none is text.

    Raises:
        ConfigError: a setting that is written another way.
    """
    tables: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        table, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise ConfigError(f"--set {setting!r} does not fit; write TABLE.KEY=VALUE, for instance model.embedding_dim=32")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        tables.setdefault(table, {})[key] = value
    return tables
