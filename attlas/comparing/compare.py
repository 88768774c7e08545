"""Many models on one split: equal budgets, several seeds, and what can be said of their differences.

In the folder of a comparison:

    plan.json               what is compared, and the fingerprint of its data
    NAME/                   one model; see ``cell.py``
    comparison.json, table.md, table.tex, report.html
    winner/                 the run that validation would choose, for ``attlas recommend`` and all else
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from attlas.artefact import move_into_place
from attlas.auditing.data import audit_rows
from attlas.auditing.examples import audit_examples
from attlas.auditing.finding import Finding
from attlas.auditing.split import audit_split
from attlas.auditing.together import audit_together
from attlas.comparing.cell import run_cell
from attlas.comparing.plan import Entrant, Plan
from attlas.comparing.predicting import refuse_too_slow
from attlas.comparing.tables import latex, markdown, to_dict
from attlas.data.examples import Examples
from attlas.data.split import Split
from attlas.errors import ArtefactError, AttlasError, ConfigError, Interrupted, MissingExtra, TooLarge
from attlas.evaluation.breakdown import by_activity, by_training_rows
from attlas.evaluation.codes import rows_of
from attlas.evaluation.comparison import Comparison, Contender, Skipped
from attlas.evaluation.metrics import ERRORS
from attlas.evaluation.naming import LEADING
from attlas.evaluation.row_pairs import compare_row_pairs
from attlas.evaluation.significance import Pair, compare_pairs
from attlas.experiment import versions
from attlas.loading import label_of, load_split
from attlas.page.comparison import write_comparison
from attlas.page.results import measure_intervals
from attlas.search.locks import claim
from attlas.telling import Teller, default_teller, typed
from attlas.training.checkpoint import write_whole
from attlas.trial import Trial, fingerprints, together

PLAN = "plan.json"
BEGINNING = f".{PLAN}.part"  # all that a kill leaves which falls before a comparison has begun


def compare(
    data: Any = None,
    models: Sequence[str] | None = None,
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
        data: the path of a table or of a folder of given files, Interactions, Examples, a Split, or a frame.
        models: names of ``attlas models``, beside the ladder; None takes delf, and on labelled rows nfm, deepfm and afm.
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
        "data": {"source": str(data) if is_path else "", "split": split} | label_of(data),
        "compare": {"models": models if models is None else tuple(models), "without": tuple(without), **settings},
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
        raise ConfigError(
            "without a validation part nothing can be chosen; leave --validation none out, put a file of validation rows "
            "beside labelled train and test files, or bring a split that has one"
        )
    _enter(folder, plan, split)
    lock = claim(folder / ".lock")
    if lock is None:
        raise ArtefactError(f"another process works on {folder}; wait for it, or choose another --out")
    with lock:
        contenders, skipped = _run_all(plan, split, folder, tell)
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
        tables = json.loads((folder / PLAN).read_text(encoding="utf-8"))["plan"]
        if tables["compare"].get("metric") == LEADING["ranking"]:  # as an earlier version noted it whatever was compared
            del tables["compare"]["metric"]
        return Plan.of(tables)
    except OSError as error:
        raise ArtefactError(f"{folder} holds no comparison; begin one: attlas compare --data FILE --out {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / PLAN} is not whole; delete the folder and compare anew") from error


def _enter(folder: Path, plan: Plan, split: Split) -> None:
    data = {**fingerprints(split), "rows": rows_of(split, candidates=True)}
    noted = json.loads(json.dumps({"plan": plan.to_dict(), "data": data}))
    path = folder / PLAN
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(child.name != BEGINNING for child in folder.iterdir())):
            raise ArtefactError(f"{folder} is not empty and holds no comparison; choose another --out")
        write_whole(path, (json.dumps(noted, indent=2) + "\n").encode())
        return
    begun = json.loads(json.dumps(recall_plan(folder).to_dict()))  # with what settings that came since stand at
    known = json.loads(path.read_text(encoding="utf-8"))
    if known["data"] != noted["data"]:
        raise ArtefactError(f"the data are not those that the comparison in {folder} was begun with; choose another --out")
    if begun != noted["plan"]:
        raise ArtefactError(
            f"{folder} holds a comparison with other settings; go on with it: attlas compare --resume {typed(folder)}, "
            "or choose another --out"
        )


def _run_all(plan: Plan, split: Split, folder: Path, tell: Teller) -> tuple[list[Contender], list[Skipped]]:
    entrants = plan.entrants(has_candidates=split.candidates is not None)
    contenders: list[Contender] = []
    skipped: list[Skipped] = []
    left = plan.compare.seconds
    for place, entrant in enumerate(entrants):
        tell.say(f"{entrant.name}: {place + 1} of {len(entrants)}")
        share = None if left is None else max(left, 0.0) / (len(entrants) - place)
        began = time.monotonic()
        found = _run_one(plan, entrant, split, folder / entrant.name, share, tell)
        spent = time.monotonic() - began
        if isinstance(found, Skipped):
            tell.say(f"{entrant.name} is skipped: {found.reason}")
            skipped.append(found)
        else:
            contenders.append(found)
            spent = max(spent, found.seconds)  # more, where it was begun in an earlier session
        left = None if left is None else left - spent
    return contenders, skipped


def _run_one(
    plan: Plan, entrant: Entrant, split: Split, folder: Path, share: float | None, tell: Teller
) -> Contender | Skipped:
    """A model's numbers, or why it has none, which is noted so that a resumed comparison says the same."""
    experiment, note, config = entrant.experiment, folder / "skipped.json", plan.compare
    name, model, is_new = entrant.name, str(experiment.model["name"]), not (folder / "search").exists()
    if reason := _noted(note):
        return Skipped(name, model, reason)
    try:
        if is_new:  # what has begun was found to fit
            Trial(experiment, split, None, tell)
            if share is not None:
                refuse_too_slow(experiment, split, share)
        how: dict[str, Any] = {"trials": config.trials, "seconds": share, "seeds": config.seeds, "name": name, "tell": tell}
        made = run_cell(experiment, split, folder=folder, fixed=entrant.fixed, **how)
        return dataclasses.replace(made, is_baseline=entrant.is_baseline)
    except (ArtefactError, MissingExtra, Interrupted):
        raise
    except (AttlasError, MemoryError, torch.cuda.OutOfMemoryError) as error:
        if isinstance(error, TooLarge) and not is_new:
            raise  # the machine has less memory than when it was begun
        if isinstance(error, AttlasError):
            write_whole(note, (json.dumps({"reason": str(error)}, indent=2) + "\n").encode())
        return Skipped(name, model, str(error) or "the memory was not enough")


def _noted(note: Path) -> str:
    """Why a model was skipped in an earlier session; "" if it was not."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(note.read_text(encoding="utf-8"))["reason"])
    return ""


def _compared(plan: Plan, contenders: list[Contender], skipped: list[Skipped], split: Split, tell: Teller) -> Comparison:
    metric, code = plan.metric, "full" if plan.task == "ranking" else plan.task
    reports = {each.name: {code: each.pooled(code) for code in each.reports[0]} for each in contenders}
    findings = _audited(split, plan, tell) + audit_together(reports, metric=metric)
    parts = {"train": split.train, "valid": split.valid, "test": split.test}
    of_all: Any = {name: known[code] for name, known in reports.items()}
    sign = -1 if metric in ERRORS else 1
    return Comparison(
        contenders=tuple(contenders),
        skipped=tuple(skipped),
        metric=metric,
        protocols=tuple(contenders[0].reports[0]),
        pairs=tuple(_told_apart(contenders, code, metric)),
        winner=max(contenders, key=lambda each: sign * each.valid["value"]).name,
        activity=(by_activity if code == "full" else by_training_rows)(of_all, split, metric),
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


def _audited(split: Split, plan: Plan, tell: Teller) -> list[Finding]:
    """What is wrong with the rows and their split, whoever learns from them."""
    if isinstance(split.train, Examples):
        return audit_examples(split)
    rows = together(split.train, split.valid, split.given, split.test)
    return audit_rows(rows) + audit_split(split, codes=("rating",) if plan.task == "rating" else (), tell=tell)


def _told_apart(contenders: list[Contender], code: str, metric: str) -> list[Pair]:
    random = [each.name for each in contenders if each.is_random]
    if code == "full":
        return compare_pairs({each.name: each.values(code, metric) for each in contenders}, metric, random=random)
    of_seeds: Any = {each.name: [reports[code] for reports in each.reports] for each in contenders}
    return compare_row_pairs(of_seeds, metric, random=random)


def _write(found: Comparison, folder: Path, tell: Teller) -> list[str]:
    """The tables, the page and the winner's run; what could not be shown is returned."""
    measure_intervals(found, tell)
    write_whole(folder / "comparison.json", (json.dumps(to_dict(found), indent=2, ensure_ascii=False) + "\n").encode())
    write_whole(folder / "table.md", markdown(found).encode())
    write_whole(folder / "table.tex", latex(found).encode())
    winner = next(each for each in found.contenders if each.name == found.winner)
    staged = folder / ".winner.part"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        shutil.copytree(winner.run, staged)
        move_into_place(staged, folder / "winner")
    except (OSError, shutil.Error) as error:
        raise ArtefactError(f"could not copy {winner.run} to {folder / 'winner'}: {error}; all else is written") from error
    commands = {
        f"attlas recommend {typed(folder / 'winner')} USER": f"ten items for a user, by {found.winner}",
        f"attlas fit --final {typed(folder / 'winner')}": "train it anew on all rows",
        f"attlas compare --resume {typed(folder)}": "write this page again",
    }
    return write_comparison(found, folder / "report.html", commands=commands, tell=tell)
