"""Many models on one split: equal budgets, several seeds, and what can be said of their differences.

In the folder of a comparison:

    plan.json               what is compared, and the fingerprint of its data
    NAME/                   one model; see ``cell.py``
    comparison.json, table.md, table.tex, report.html
    winner/                 the run that validation would choose, for ``attlas recommend`` and all else
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attlas.artefact import move_into_place
from attlas.auditing.split import audit_split
from attlas.auditing.together import audit_together
from attlas.comparing.cell import run_cell
from attlas.comparing.plan import Entrant, Plan
from attlas.comparing.predicting import refuse_too_slow
from attlas.comparing.tables import latex, markdown, to_dict
from attlas.data.split import Split
from attlas.errors import ArtefactError, AttlasError, ConfigError
from attlas.evaluation.breakdown import by_activity
from attlas.evaluation.comparison import Comparison, Contender, Skipped
from attlas.evaluation.significance import compare_pairs
from attlas.experiment import versions
from attlas.loading import load_split
from attlas.page.comparison import write_comparison
from attlas.page.results import measure_intervals
from attlas.telling import Teller, default_teller
from attlas.training.checkpoint import write_whole
from attlas.trial import Trial, fingerprints

PLAN = "plan.json"


def compare(
    data: Any = None,
    models: Sequence[str] = ("delf",),
    *,
    without: Sequence[str] = (),
    out: str | Path,
    split: str = "auto",
    contenders: Mapping[str, Mapping[str, Any]] | None = None,
    tell: Teller | None = None,
    **settings: Any,
) -> Comparison:
    """Compare models with the ladder of baselines on one split; the same call goes on after a kill.

    Args:
        data: the path of a table or of a folder of given files, Interactions, a Split, or a frame.
        models: names of ``attlas models``, beside the ladder.
        without: baselines that shall not run.
        out: the folder of the comparison.
        split: how to hold out: a code of ``attlas.split``.
        contenders: variants by names of their own, each with tables ``model``, ``solver`` and ``training``.
        settings: trials, budget, seeds, metric and others of ``CompareConfig``.

    Raises:
        ConfigError: an unknown setting; the message names the nearest known one.
        DataError: the data cannot be understood.
        ArtefactError: the folder holds something else.
    """
    is_path = isinstance(data, str | Path)
    tables = {
        "data": {"source": str(data) if is_path else "", "split": split},
        "compare": {"models": tuple(models), "without": tuple(without), **settings},
        "contenders": contenders or {},
    }
    return run_plan(Plan.of(tables), data=None if is_path else data, out=out, tell=tell)


def run_plan(plan: Plan, *, out: str | Path, data: Any = None, tell: Teller | None = None) -> Comparison:
    """Run a comparison, or go on with it where it was stopped.

    Raises:
        ArtefactError: the folder holds something else, or the data have changed since.
    """
    tell, folder = tell or default_teller(), Path(out)
    split, said = load_split(plan.data, data)
    for sentence in said:
        tell.say(sentence)
    if split.valid is None:
        raise ConfigError("without a validation part nothing can be chosen; split with one: --validation leave-random-out")
    _enter(folder, plan, split)
    entrants = plan.entrants(has_candidates=split.candidates is not None)
    contenders, skipped = _run_all(plan, entrants, split, folder, tell)
    if not contenders:
        raise ConfigError("no model was left to compare: " + "; ".join(each.reason for each in skipped))
    tell.say("auditing, testing, drawing")
    found = _compared(plan, contenders, skipped, split, tell)
    for sentence in _write(found, folder, tell):
        tell.say(sentence)
    return found


def recall_plan(folder: Path) -> Plan:
    """The plan of a comparison that was begun in a folder.

    Raises:
        ArtefactError: none was.
    """
    try:
        return Plan.of(json.loads((folder / PLAN).read_text(encoding="utf-8"))["plan"])
    except OSError as error:
        raise ArtefactError(f"{folder} holds no comparison; begin one: attlas compare --data FILE --out {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / PLAN} is not whole; delete the folder and compare anew") from error


def _enter(folder: Path, plan: Plan, split: Split) -> None:
    noted = {"plan": plan.to_dict(), "data": fingerprints(split)}
    noted = json.loads(json.dumps(noted))
    path = folder / PLAN
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ArtefactError(f"{folder} is not empty and holds no comparison; choose another --out")
        write_whole(path, (json.dumps(noted, indent=2) + "\n").encode())
        return
    recall_plan(folder)
    known = json.loads(path.read_text(encoding="utf-8"))
    if known["data"] != noted["data"]:
        raise ArtefactError(f"the data are not those that the comparison in {folder} was begun with; choose another --out")
    if known["plan"] != noted["plan"]:
        raise ArtefactError(
            f"{folder} holds a comparison with other settings; go on with it: attlas compare --resume {folder}, "
            "or choose another --out"
        )


def _run_all(
    plan: Plan, entrants: Sequence[Entrant], split: Split, folder: Path, tell: Teller
) -> tuple[list[Contender], list[Skipped]]:
    contenders: list[Contender] = []
    skipped: list[Skipped] = []
    left = plan.compare.seconds
    for place, entrant in enumerate(entrants):
        tell.say(f"{entrant.name}: {place + 1} of {len(entrants)}")
        share = None if left is None else max(left, 0.0) / (len(entrants) - place)
        found = _run_one(plan, entrant, split, folder / entrant.name, share, tell)
        if isinstance(found, Skipped):
            tell.say(f"{entrant.name} is skipped: {found.reason}")
            skipped.append(found)
        else:
            contenders.append(found)
            left = None if left is None else left - found.seconds
    return contenders, skipped


def _run_one(
    plan: Plan, entrant: Entrant, split: Split, folder: Path, share: float | None, tell: Teller
) -> Contender | Skipped:
    """A model's numbers, or why it has none, which is noted so that a resumed comparison says the same."""
    experiment, note = entrant.experiment, folder / "skipped.json"
    name, model = entrant.name, str(experiment.model["name"])
    if note.is_file():
        return Skipped(name, model, json.loads(note.read_text(encoding="utf-8"))["reason"])
    try:
        Trial(experiment, split, None, tell)  # refuses what does not fit into memory
        if share is not None and not (folder / "searched.json").is_file():
            refuse_too_slow(experiment, split, share)
        return run_cell(
            experiment,
            split,
            folder=folder,
            trials=plan.compare.trials,
            seconds=share,
            seeds=plan.compare.seeds,
            name=name,
            fixed=entrant.fixed,
            is_baseline=entrant.is_baseline,
            tell=tell,
        )
    except ArtefactError:
        raise
    except AttlasError as error:
        write_whole(note, (json.dumps({"reason": str(error)}, indent=2) + "\n").encode())
        return Skipped(name, model, str(error))


def _compared(plan: Plan, contenders: list[Contender], skipped: list[Skipped], split: Split, tell: Teller) -> Comparison:
    metric, code = plan.compare.metric, "full"
    together = {each.name: {code: each.pooled(code) for code in each.reports[0]} for each in contenders}
    findings = audit_split(split, tell=tell) + audit_together(together, metric=metric)
    pooled = {each.name: each.pooled(code) for each in contenders}
    parts = {"train": split.train, "valid": split.valid, "test": split.test}
    return Comparison(
        contenders=tuple(contenders),
        skipped=tuple(skipped),
        metric=metric,
        protocols=tuple(contenders[0].reports[0]),
        pairs=tuple(compare_pairs({each.name: each.values(code, metric) for each in contenders}, metric)),
        winner=max(contenders, key=lambda each: each.valid["value"]).name,
        activity=by_activity(pooled, split, metric),
        findings=tuple(finding.to_dict() for finding in findings),
        data={
            "source": split.train.origin.source,
            "split": split.code,
            "users": len(split.train.users),
            "items": len(split.train.items),
            **{name: len(part) for name, part in parts.items() if part is not None},
            **fingerprints(split),
        },
        budget=plan.compare.words(),
        seconds=sum(each.seconds for each in contenders),
        versions=versions(),
    )


def _write(found: Comparison, folder: Path, tell: Teller) -> list[str]:
    """The tables, the page and the winner's run; what could not be shown is returned."""
    measure_intervals(found, tell)
    write_whole(folder / "comparison.json", (json.dumps(to_dict(found), indent=2, ensure_ascii=False) + "\n").encode())
    write_whole(folder / "table.md", markdown(found).encode())
    write_whole(folder / "table.tex", latex(found).encode())
    winner = next(each for each in found.contenders if each.name == found.winner)
    staged = folder / ".winner.part"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(winner.run, staged)
    move_into_place(staged, folder / "winner")
    commands = {
        f"attlas recommend {folder / 'winner'} USER": f"ten items for a user, by {found.winner}",
        f"attlas fit --final {folder / 'winner'}": "train it anew on all rows",
        f"attlas compare --resume {folder}": "write this page again",
    }
    return write_comparison(found, folder / "report.html", commands=commands, tell=tell)
