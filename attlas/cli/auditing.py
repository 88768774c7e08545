"""attlas audit: what makes a number too good to be true."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from attlas.cli import option, show
from attlas.errors import ConfigError

if TYPE_CHECKING:
    from attlas.auditing.audit import Audit


@option.with_table
def audit(
    table: dict[str, Any],
    subject: Annotated[Path | None, typer.Argument(help="A run folder or a TOML file.", show_default=False)] = None,
    data: option.Data = None,
    label: option.Label = None,
    split: option.Split = None,
    validation: option.Validation = None,
    separator: Annotated[str | None, typer.Option(help="What stands between the columns.", show_default="guessed")] = None,
    seed: Annotated[int | None, typer.Option(help="What a random split depends on.", show_default="1")] = None,
    fail_on: Annotated[
        Literal["error", "warning", "never"], typer.Option(help="End with exit code 1 from this severity on.")
    ] = "error",
    as_json: option.Json = False,
) -> None:
    """Look for what makes a number too good to be true: in a run, in data, or in settings before they are trained.

    Examples: [bold]attlas audit runs/delf[/bold]

    [bold]attlas audit --data ratings.csv --split leave-last-out[/bold]

    [bold]attlas audit configs/delf-film-club.toml[/bold]

    Of a comparison audit its runs one by one. An error: the number cannot be trusted. A warning: it may mislead.
    """
    from attlas.auditing.audit import audit as look
    from attlas.loading import DataConfig
    from attlas.settings import build
    from attlas.telling import Terminal

    of_table = {"label": label, "split": split, "validation": validation, "separator": separator, "seed": seed, **table}
    given = {name: value for name, value in of_table.items() if value is not None}
    _refuse_unfit(subject, data, list(given))
    config = build(DataConfig, given, where="data") if subject is None else None
    found = look(data if subject is None else subject, data=data if subject else None, config=config, tell=Terminal())
    if as_json:
        show.show_json(found.to_dict())
    else:
        _show(found)
    if fail_on != "never" and found.reaches(fail_on):
        raise typer.Exit(1)


def _refuse_unfit(subject: Path | None, data: str | None, given: list[str]) -> None:
    if subject is None and data is None:
        raise ConfigError("nothing to audit; give a run folder, a TOML file, or --data ratings.csv")
    if subject is not None and given:
        raise ConfigError(f"{subject} says itself how its data are read and split; leave out {', '.join(given)}")


def _show(found: Audit) -> None:
    blocks = [
        (
            f"{finding.severity}  {finding.code}",
            [finding.sentence, *([f"effect: {finding.effect}"] if finding.effect else []), f"to do: {finding.advice}"],
        )
        for finding in found.findings
    ]
    show.show_blocks(blocks)
    show.show_sentences([found.sentence()])
