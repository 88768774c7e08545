"""The commands. Nothing heavy is imported before a command needs it, so that help answers at once."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from attlas.cli import option, show
from attlas.cli.auditing import audit
from attlas.cli.comparing import compare
from attlas.cli.data import data
from attlas.cli.serving import serve
from attlas.cli.tuning import tune
from attlas.cli.updating import update
from attlas.errors import ConfigError

app = typer.Typer(
    name="attlas",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Recommendation with attentive latent factor models: train, evaluate, recommend, explain.\n\n"
    "Begin with [bold]attlas demo[/bold], or with a table of your own:\n\n"
    "[bold]attlas fit --data ratings.csv --model delf --out runs/delf[/bold]",
)
app.add_typer(data, name="data")


@app.callback()
def _main(version: option.Version = False) -> None:
    """What may be asked without a command; the help is that of ``app``."""


def _terminal() -> Any:
    from attlas.telling import Terminal

    return Terminal()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the runs and the report go.")] = Path("demo"),
    quick: Annotated[bool, typer.Option(help="A smaller club, for a first look in seconds.")] = False,
    as_json: option.Json = False,
) -> None:
    """Simulate a film club, train three models, and write a report to look at.

    Example: [bold]attlas demo --out demo[/bold], then open demo/report.html
    """
    from attlas.demo import run_demo

    found = run_demo(out, quick=quick, tell=_terminal())
    if as_json:
        return show.show_json(found.to_dict())
    show.show_table(found.table(), found.columns, title="Which model ranks the held-out films best?")
    show.show_sentences(found.sentences())
    return None


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="One model, in full.", show_default=False)] = None,
    as_json: option.Json = False,
) -> None:
    """List the models: what each needs, whether it serves strangers, what it explains.

    Example: [bold]attlas models delf[/bold]
    """
    from attlas.catalogue import describe, describe_all

    found = [describe(name)] if name else describe_all()
    if as_json:
        return show.show_json(found[0] if name else found)
    rows = [{**row, "needs": ", ".join(row["needs"])} for row in found]
    show.show_table(rows, ("name", "summary", "needs", "strangers", "explains"))
    if name:
        columns = ("name", "default", "meaning")
        show.show_table(found[0]["settings"], columns, title="Settings ([model] in a TOML file, or --set model.NAME=)")
        if found[0]["solver_settings"]:
            title = f"Training by {found[0]['solvers'][0]} ([solver] in a TOML file, or --set solver.NAME=)"
            show.show_table(found[0]["solver_settings"], columns, title=title)
    return None


@app.command()
@option.with_table
def fit(
    table: dict[str, Any],
    config: option.Config = None,
    data: option.Data = None,
    label: option.Label = None,
    model: option.Model = None,
    out: option.Out = None,
    resume: option.Resume = None,
    final: option.Final = None,
    split: option.Split = None,
    validation: option.Validation = None,
    protocol: option.Protocols = None,
    epochs: option.Epochs = None,
    refit: option.Refit = None,
    seed: option.Seed = None,
    device: option.Device = None,
    memory: option.Memory = None,
    setting: option.Setting = None,
    as_json: option.Json = False,
) -> None:
    """Train a model on a table, with early stopping, and evaluate it on what was held out.

    Example: [bold]attlas fit --data ratings.csv --model delf --out runs/delf[/bold]

    [bold]attlas fit --resume RUN[/bold] goes on after a kill, [bold]attlas fit --final RUN[/bold] trains anew on all rows.
    """
    from attlas.cli.fitting import fit_from_options

    tables: dict[str, dict[str, Any]] = {
        "data": {"source": data, "label": label, "split": split, "validation": validation, **table},
        "model": {"name": model},
        "training": {"epochs": epochs, "refit": refit, "seed": seed, "device": device, "memory": memory},
        "evaluation": {"protocol": protocol or None},
    }
    card = fit_from_options(config, tables, setting or [], out=out, resume=resume, final=final, tell=_terminal())
    return show.show_json(card) if as_json else show.show_reports(card["reports"], title=show.heading(card))


@app.command()
def evaluate(
    run: option.Run,
    data: Annotated[str | None, typer.Option(help="Where the data are now.", show_default="where they were")] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="full, ncf, ncf-clean, which bring full along; rating for models of ratings; label or target for those of "
            "labelled rows; may be repeated.",
            show_default="full; of ratings and labels what is predicted",
        ),
    ] = None,
    k: Annotated[list[int] | None, typer.Option("-k", help="Cut-offs; may be repeated.", show_default="10")] = None,
    as_json: option.Json = False,
) -> None:
    """Measure a saved run again on the rows held out from it.

    Example: [bold]attlas evaluate runs/delf --protocol full -k 10 -k 20[/bold]
    """
    from attlas.runner import evaluate_run

    tell = _terminal()
    reports = evaluate_run(run, data=data, protocols=protocol or [], k=k or [10], tell=tell)
    if as_json:
        return show.show_json([report.to_dict() for report in reports])
    show.show_reports([report.to_dict() for report in reports], title=str(run))
    return show.show_sentences([sentence for report in reports for sentence in report.sentences()])


for command in (compare, tune, audit, update):
    app.command()(command)


@app.command()
def recommend(
    run: option.Run,
    users: Annotated[list[str] | None, typer.Argument(help="User ids.", show_default=False)] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Everybody the model knows; wants --out.")] = False,
    history: option.History = None,
    feature: option.Feature = None,
    k: option.Length = 10,
    out: Annotated[Path | None, typer.Option(help="Write to this .parquet, .csv or .jsonl file.", show_default=False)] = None,
    unknown: option.Unknown = None,
    candidates: option.Candidates = None,
    context: option.Context = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Also items that the user has chosen.")] = False,
    as_json: option.Json = False,
) -> None:
    """The best items for users, for a stranger with a history, or for everybody.

    Examples: [bold]attlas recommend demo/delf m17 m3 -k 5[/bold], [bold]attlas recommend demo/delf --history f4,f10[/bold]

    [bold]attlas recommend demo/delf --all-users -k 100 --out recs.parquet[/bold]
    """
    from attlas.cli.answering import recommend_from_options

    asked: dict[str, Any] = {"all_users": all_users, "history": _listed(history), "features": feature, "k": k}
    found = recommend_from_options(
        run,
        users or [],
        **asked,
        out=out,
        unknown=unknown,
        candidates=_listed(candidates),
        context=context,
        exclude_seen=not include_seen,
        tell=_terminal(),
    )
    if as_json:
        return show.show_json(found)
    if isinstance(found, dict):
        return show.show_sentences([f"{found['rows']:,} rows for {found['users']:,} users written to {found['out']}"])
    columns = [name for name in ("user", "rank", "item", "title", "score", "way") if found and name in found[0]]
    return show.show_table(found, columns)


@app.command()
def similar(
    run: option.Run,
    item: Annotated[str, typer.Argument(help="An item id.", show_default=False)],
    k: option.Length = 10,
    as_json: option.Json = False,
) -> None:
    """The items most like one item.

    Example: [bold]attlas similar demo/delf f4 -k 5[/bold]
    """
    from attlas.recommender import load

    rows = load(run).similar_items(item, k).to_dicts()
    return show.show_json(rows) if as_json else show.show_table(rows, ("rank", "item", "title", "score", "way"))


@app.command()
def explain(
    run: option.Run,
    words: option.Asked = None,
    history: option.History = None,
    feature: option.Feature = None,
    context: option.Context = None,
    method: option.Method = None,
    top: Annotated[int | None, typer.Option(help="So many of the heaviest reasons.", min=1, show_default="10")] = None,
    plot: option.Plot = None,
    faithfulness: option.Faithfulness = False,
    users: option.DrawnUsers = None,
    seed: option.DrawSeed = None,
    out: option.FaithfulnessOut = None,
    as_json: option.Json = False,
) -> None:
    """Why an item is recommended: what of the history, which features or which dimensions weigh how much.

    Examples: [bold]attlas explain demo/delf m17 f42[/bold]

    [bold]attlas explain demo/delf f42 --history f4,f10,f77 --method counterfactual[/bold]

    [bold]attlas explain runs/afm 421 17 --context weather=sunny[/bold], or [bold]17 --feature age=30[/bold], on feature fields

    [bold]attlas explain demo/delf demo/ease --faithfulness[/bold]: are these reasons what they seem?
    """
    words = words or []
    if faithfulness:
        from attlas.cli.faithful import measure_faithfulness

        said = {"history": history, "feature": feature, "context": context, "method": method, "top": top, "plot": plot}
        drawn = {"users": 200 if users is None else users, "seed": 1 if seed is None else seed}
        found = measure_faithfulness([run, *map(Path, words)], said, **drawn, out=out, tell=_terminal())
        return show.show_json([each.to_dict() for each in found]) if as_json else show.show_faithfulness(found)
    if any(value is not None for value in (out, users, seed)):
        raise ConfigError("--out, --users and --seed belong to --faithfulness; one explanation is kept by --json > FILE")
    from attlas.cli.answering import explain_from_options

    asked: dict[str, Any] = {"history": _listed(history), "features": feature, "context": context, "method": method}
    why = explain_from_options(run, words, **asked, top=top or 10, plot=plot, tell=_terminal())
    return show.show_json(why.to_dict()) if as_json else show.show_explanation(why)


app.command()(serve)


def _listed(text: str | None) -> list[str] | None:
    """The ids of one line of CSV, in which an id with a comma is quoted."""
    if text is None:
        return None
    try:
        parts = next(csv.reader([text], skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"{text!r} is no list of ids ({error}); separate them by commas") from error
    return [part.strip() for part in parts if part.strip()]
