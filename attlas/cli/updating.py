"""attlas update: what has been chosen since, taken into a saved run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attlas.cli import option, show
from attlas.errors import Interrupted

PANEL = "Where the new table differs from the first"


def _of_events(meaning: str) -> Any:
    return typer.Option(help=meaning, show_default="as before", rich_help_panel=PANEL)


def update(
    run: option.Run,
    data: Annotated[str, typer.Option(help="A table of what has been chosen since.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Write the updated run here.", show_default="over RUN")] = None,
    user: Annotated[str | None, _of_events("Name of the user column.")] = None,
    item: Annotated[str | None, _of_events("Name of the item column.")] = None,
    rating: Annotated[str | None, _of_events('Name of the rating column; "" reads none.')] = None,
    time: Annotated[str | None, _of_events('Name of the time column; "" reads none.')] = None,
    repeat: Annotated[str | None, _of_events("What rows of one user and item become, as in attlas fit.")] = None,
    positive: Annotated[str | None, _of_events("Keep only rows that meet this: 'rating>=4'.")] = None,
    items: Annotated[str | None, typer.Option(help="A file with titles of the new items.", rich_help_panel=PANEL)] = None,
    users: Annotated[str | None, typer.Option(help="A file with facts about the new users.", rich_help_panel=PANEL)] = None,
    as_json: option.Json = False,
) -> None:
    """Take new rows, new users and new items into a saved run, without training it anew.

    Example: [bold]attlas update runs/delf --data new.csv --out runs/delf-today[/bold]

    The table is read as the first one was: the same columns, the same conditions. The answer says how its rows came in:
    popularity, ItemKNN, EASE and SLIM are solved anew, which is exact; iALS, ExpoMF and FAWMF solve for users with new rows and
    for new items; eALS follows the rows one by one; histories are read at their new length; what is left gets fitted vectors.

    The run is written whole or not at all, so that a stop leaves it as it was. Fit anew now and then.
    """
    from attlas.runner import update_run
    from attlas.telling import Terminal
    from attlas.updating import Update

    named = {"user": user, "item": item, "rating": rating, "time": time, "repeat": repeat, "positive": positive}
    given = {name: value for name, value in {**named, "items": items, "users": users}.items() if value is not None}
    try:
        made = update_run(run, data, out=out, tell=Terminal(), **given)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {run} is as it was") from None
    told = made.card["updates"][-1]
    if as_json:
        return show.show_json({"run": str(out or run), **told})
    return show.show_sentences([*Update(**told).sentences(), f"the updated run is in {out or run}"])
