"""The options of the commands: type, meaning and what stands when nothing is said."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def _text(meaning: str, default: str | bool = False, panel: str | None = None) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(help=meaning, show_default=default, rich_help_panel=panel)
    return found


def _of_table(meaning: str, default: str | bool = False) -> typer.models.OptionInfo:
    return _text(meaning, default, "What the table says, and what its rows become")


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"attlas {version('attlas')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which attlas this is, and end.")
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout; progress stays on stderr.")]
Run = Annotated[Path, typer.Argument(help="A run folder, made by attlas fit --out.", show_default=False)]
Length = Annotated[int, typer.Option("-k", help="How many items.", min=1)]
Unknown = Annotated[str | None, _text("Unknown users: error, popular, or learned.", "error")]
History = Annotated[str | None, _text('Item ids of a stranger, separated by commas; "quote, so" an id with a comma.')]

Config = Annotated[Path | None, typer.Argument(help="A TOML file with settings; options go over it.", show_default=False)]
Data = Annotated[str | None, _text("A table, or a folder of given files.")]
Label = Annotated[str | None, _text("The column of labels, 0 and 1, which makes the rows examples of feature fields.")]
Model = Annotated[str | None, _text("A name from attlas models.")]
Out = Annotated[Path | None, _text("The run folder to make; without it the model is measured and not kept.")]
Resume = Annotated[Path | None, _text("Go on with an unfinished run.")]
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
        "global-time where times are known, else user-ratio; global-ratio of labelled rows",
    ),
]
Validation = Annotated[
    str | None, _text("none; or for given files of interactions also leave-last-out or leave-random-out.", "auto")
]
Protocols = Annotated[
    list[str] | None,
    _text(
        "full, ncf or ncf-clean, which bring full along; rating for models of ratings; label or target for those of labelled "
        "rows; may be repeated.",
        "full; ncf too where files give candidates; of ratings and labels what is predicted",
    ),
]
Epochs = Annotated[int | None, _text("At most so many epochs.", "100")]
Refit = Annotated[
    bool | None,
    typer.Option("--refit/--no-refit", help="Train anew with validation for the best number of epochs.", show_default="no"),
]
Seed = Annotated[
    int | None, _text("What weights, order and negatives depend on; a random split depends on --set data.seed.", "1")
]
FirstSeed = Annotated[
    int | None,
    _text(
        "What weights, order, negatives and the search depend on, further seeds follow it; a random split depends on seed in "
        "the TOML file's table of data.",
        "1",
    ),
]
Device = Annotated[str | None, _text("cpu or cuda.", "cpu")]
Memory = Annotated[str | None, _text("What fitting may use, such as 4GB.", "what is available")]
Budget = Annotated[str | None, _text("Time for everything, such as 90s, 10m or 2h.", "as long as it takes")]
Against = Annotated[
    list[str] | None,
    _text("A model to hold against the baselines; may be repeated.", "delf; nfm, deepfm and afm on labelled rows"),
]
Without = Annotated[list[str] | None, _text("A baseline that shall not run; may be repeated.")]
Trials = Annotated[int | None, _text("Settings tried per model at most.", "20")]
Seeds = Annotated[int | None, _text("Fits per model with the settings that won.", "3")]
Metric = Annotated[str | None, _text("What validation chooses by.", "ndcg@10; rmse of ratings, logloss of labels")]
Objective = Annotated[str | None, _text("Of labelled rows what all models learn: logistic or squared.", "logistic")]
Folder = Annotated[Path | None, _text("The folder of the comparison.", "runs/compare-NAME")]
ResumeComparison = Annotated[Path | None, _text("Go on with a comparison that was stopped.")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting: model.embedding_dim=32, solver.learning_rate=0.002.", show_default=False),
]
Context = Annotated[
    list[str] | None,
    typer.Option("--context", help="What is known of the moment: weather=sunny; may be repeated.", show_default=False),
]
Asked = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[USER] ITEM",
        help="A user and an item; of a stranger the item alone; with --faithfulness further runs.",
        show_default=False,
    ),
]
Faithfulness = Annotated[
    bool, typer.Option("--faithfulness", help="Measure whether reasons are what happens when they are taken away.")
]
DrawnUsers = Annotated[
    int | None, typer.Option("--users", help="Of --faithfulness: how many users are drawn.", min=1, show_default="200")
]
DrawSeed = Annotated[
    int | None, typer.Option("--seed", help="Of --faithfulness: of the draw and of random order.", show_default="1")
]
FaithfulnessOut = Annotated[Path | None, _text("Of --faithfulness: write it to this .json file.")]
Plot = Annotated[Path | None, _text("Draw the reasons into this .html file.")]
Method = Annotated[
    str | None, _text("counterfactual: by how much the score falls without each item.", "what the model itself gives")
]
Feature = Annotated[
    list[str] | None,
    typer.Option(
        "--feature",
        help="Of a run on feature fields, what is known of a stranger: age=25-34, or genres=drama|comedy; may be repeated.",
        show_default=False,
    ),
]
Candidates = Annotated[str | None, _text("Rank these items only, separated as in --history.")]

TABLE: dict[str, Any] = {
    "user": Annotated[str | None, _of_table("Name of the user column.", "guessed")],
    "item": Annotated[str | None, _of_table("Name of the item column.", "guessed")],
    "rating": Annotated[str | None, _of_table("Name of the rating column.", "guessed")],
    "time": Annotated[str | None, _of_table("Name of the time column.", "guessed")],
    "items": Annotated[str | None, _of_table("A file with titles of the items.")],
    "users": Annotated[str | None, _of_table("A file with facts about the users.")],
    "repeat": Annotated[
        str | None, _of_table("What rows of one user and item become: count, sum:COLUMN, first or last.", "count")
    ],
    "positive": Annotated[str | None, _of_table("Keep only rows that meet this: 'rating>=4', 'event=purchase and price>0'.")],
    "min_user": Annotated[int | None, _of_table("Keep only users with so many items.", "0")],
    "min_item": Annotated[int | None, _of_table("Keep only items with so many users.", "0")],
    "since": Annotated[str | None, _of_table("Leave out rows before this date, or these seconds since 1970.")],
    "returns": Annotated[str | None, _of_table("What negative amounts do: drop or cancel.", "they are refused")],
}


def with_table(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options about a table; it gets all of them as ``table``, by the names of ``[data]``."""

    @functools.wraps(command)
    def told(**given: Any) -> None:
        command(table={name: given.pop(name) for name in TABLE}, **given)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "table"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in TABLE.items()]
    told.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    told.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
    return told
