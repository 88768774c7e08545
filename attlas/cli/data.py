"""attlas data: list and fetch public sets, and describe any table before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attlas.cli import option, show

if TYPE_CHECKING:
    from attlas.data.datasets import Dataset

data = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Fetch public data sets, and look at data before training."
)

TAKES_SECONDS = 50 * 2**20  # bytes of a table that are read in more than a second or two

Registry = Annotated[
    Path | None,
    typer.Option("--registry", help="A TOML file with sets of your own, like attlas/data/datasets.toml.", show_default=False),
]


@data.command("list")
def list_datasets(
    name: Annotated[str | None, typer.Argument(help="One set, in full.", show_default=False)] = None,
    registry: Registry = None,
    as_json: option.Json = False,
) -> None:
    """List the public sets: size, terms, where they come from.

    Example: [bold]attlas data list ml-100k[/bold]
    """
    from attlas.cli.sheet import dataset_lines
    from attlas.data.datasets import REGISTRY, find_dataset, known_datasets

    if name:
        found = find_dataset(name, registry or REGISTRY)
        if as_json:
            return show.show_json(found.to_dict())
        return show.show_sentences(dataset_lines(found))
    known = list(known_datasets(registry or REGISTRY).values())
    if as_json:
        return show.show_json([dataset.to_dict() for dataset in known])
    rows = [{"name": one.name, **_sizes(one), "what": one.title} for one in known]
    show.show_table(rows, ("name", "users", "items", "rows", "what"))
    return show.show_sentences(["attlas data list NAME says more; attlas data fetch NAME fetches one."])


@data.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name from attlas data list.", show_default=False)],
    to: Annotated[
        Path | None,
        typer.Option(help="The folder for this set.", show_default="$ATTLAS_DATA/NAME, or else data/NAME"),
    ] = None,
    registry: Registry = None,
    as_json: option.Json = False,
) -> None:
    """Fetch a public set, check it, and say how to train on it. Stopped at any moment, it goes on from there.

    Example: [bold]attlas data fetch ml-100k[/bold]
    """
    from attlas.data.datasets import REGISTRY, find_dataset
    from attlas.data.fetching import fetch as fetch_dataset
    from attlas.errors import Interrupted
    from attlas.telling import Terminal

    dataset = find_dataset(name, registry or REGISTRY)
    folder = to or dataset.default_folder()
    tell = Terminal()
    tell.say(f"{dataset.title}. Terms: {dataset.terms}.")
    try:
        found = fetch_dataset(dataset, folder, tell=tell)
    except KeyboardInterrupt:
        raise Interrupted("stopped; what has come is kept, and the same command goes on from there") from None
    if as_json:
        return show.show_json(found.to_dict())
    after = [f"then: {found.next_command}"] if found.next_command else [dataset.note]
    return show.show_sentences([f"ready: {found.path}", *after])


@data.command()
@option.with_table
def describe(
    table: dict[str, Any],
    source: Annotated[str, typer.Argument(help="A table, or a folder of given files.", show_default=False)],
    separator: Annotated[str | None, typer.Option(help="What stands between the columns.", show_default="guessed")] = None,
    as_json: option.Json = False,
) -> None:
    """What to know about data before training: sizes, tails, times, and what looks wrong.

    Example: [bold]attlas data describe ratings.csv[/bold]
    """
    from attlas.cli.sheet import description_lines
    from attlas.data.describing import describe_source
    from attlas.telling import Terminal

    if (path := Path(source)).is_file() and path.stat().st_size > TAKES_SECONDS:
        Terminal().say(f"reading {source}")
    found = describe_source(source, separator=separator, **table)
    return show.show_json(found.to_dict()) if as_json else show.show_sentences(description_lines(found))


def _sizes(dataset: Dataset) -> dict[str, str]:
    """Counts as text that stands to the right of its column."""
    width = {"users": 7, "items": 6, "rows": 10}
    return {name: ("?" if (n := getattr(dataset, name)) is None else f"{n:,}").rjust(width[name]) for name in width}
