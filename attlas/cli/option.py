"""The options of the commands: type, meaning and what stands when nothing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _text(meaning: str, default: str | bool = False) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(help=meaning, show_default=default)
    return found


Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout; progress stays on stderr.")]
Run = Annotated[Path, typer.Argument(help="A run folder, made by attlas fit --out.", show_default=False)]
Length = Annotated[int, typer.Option("-k", help="How many items.", min=1)]
History = Annotated[str | None, _text('Item ids of a stranger, separated by commas; "quote, so" an id with a comma.')]

Config = Annotated[Path | None, typer.Argument(help="A TOML file such as those in configs/.", show_default=False)]
Data = Annotated[str | None, _text("A table, or a folder of given files.")]
Model = Annotated[str | None, _text("A name from attlas models.")]
Out = Annotated[Path | None, _text("The run folder to make; without it the model is measured and not kept.")]
Resume = Annotated[Path | None, _text("Go on with an unfinished run.")]
Items = Annotated[str | None, _text("A file with titles of the items.")]
User = Annotated[str | None, _text("Name of the user column.", "guessed")]
Item = Annotated[str | None, _text("Name of the item column.", "guessed")]
Rating = Annotated[str | None, _text("Name of the rating column.", "guessed")]
Time = Annotated[str | None, _text("Name of the time column.", "guessed")]
Final = Annotated[
    Path | None,
    _text(
        "Train this finished run anew on all its rows, test rows too, with its settings and best number of epochs; no metrics."
    ),
]
Split = Annotated[
    str | None,
    _text(
        "leave-last-out, leave-random-out, user-ratio, user-time, global-ratio, global-time, held-out-users (whole, strangers "
        "to training, known by a part of their rows) or held-out-users-time.",
        "global-time where times are known, else user-ratio",
    ),
]
Validation = Annotated[str | None, _text("For given files: leave-last-out, leave-random-out or none.", "auto")]
Protocols = Annotated[
    list[str] | None, _text("full, ncf or ncf-clean; may be repeated.", "full, and ncf where files give candidates")
]
Epochs = Annotated[int | None, _text("At most so many epochs.", "100")]
Refit = Annotated[
    bool | None,
    typer.Option("--refit/--no-refit", help="Train anew with validation for the best number of epochs.", show_default="no"),
]
Seed = Annotated[int | None, _text("What weights, order and negatives depend on.", "1")]
Device = Annotated[str | None, _text("cpu or cuda.", "cpu")]
Memory = Annotated[str | None, _text("What fitting may use, such as 4GB.", "what is available")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting: model.embedding_dim=32, solver.learning_rate=0.002.", show_default=False),
]
Candidates = Annotated[str | None, _text("Rank these items only, separated as in --history.")]
