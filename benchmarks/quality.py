"""The cells of docs/results.md: every model on every data set, each measured in a process of its own.

    ATTLAS_DATA=... python benchmarks/quality.py [SET | SET/MODEL ...] [--page] [--again] [--trials]

``benchmarks/quality/SET.toml`` says what is asked for, ``benchmarks/results/quality/SET/MODEL.json`` what came of it. A cell
whose settings, model's file and data are those of its JSON is finished and left alone; one that was killed goes on where it
was, in ``runs/quality``. ``--page`` measures nothing and writes docs/results.md from what is there. ``--trials`` searches
nothing anew: of finished cells that miss what was published, or that are named as SET/MODEL, it adds to each trial what it
reaches on the test part.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
from machine import Spell, die_with_parent
from quality_cell import ROOT, Cell, cells_of, read_cells, read_sets
from results_page import make_page, missed

from attlas.data.split import Split
from attlas.errors import AttlasError
from attlas.evaluation.comparison import Contender
from attlas.evaluation.metrics import BY_ROW
from attlas.evaluation.report import RowReport
from attlas.experiment import versions
from attlas.search.space import with_settings
from attlas.telling import Teller, default_teller
from attlas.training.checkpoint import write_whole
from attlas.trial import Trial

PAGE = ROOT / "docs/results.md"
FOR_MODEL = 0.85  # of a cell's minutes; the rest is for reading, auditing and an epoch that has begun


def measure(cell: Cell) -> None:
    """Search, fit and evaluate in this process, and write the cell's file."""
    from attlas.comparing.cell import run_cell

    tell, compare = default_teller(), cell.tables["compare"]
    try:
        with Spell() as spell:
            contender = run_cell(
                cell.experiment(),
                cell.split(tell),
                folder=cell.folder,
                trials=compare["trials"],
                seconds=60 * FOR_MODEL * compare["minutes"],
                seeds=compare["seeds"],
                fixed=(*compare.get("fixed", ()), *cell.fixed),
                name=cell.model,
                tell=tell,
            )
    except AttlasError as error:
        write(cell, {"not_run": str(error)})
        return
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024
    write(cell, figures_of(contender, cell) | {"last_session": spell.facts(), "peak_mib": peak, "versions": versions()})


def figures_of(contender: Contender, cell: Cell) -> dict[str, Any]:
    """What the page says of a contender, and by what it was chosen."""
    shown, figures = cell.tables["page"]["metrics"], {}
    for code in contender.reports[0]:
        pooled = contender.pooled(code)
        figures[code] = {
            metric: {"mean": rounded(pooled.mean(metric)), "spread": rounded(contender.spread(code, metric))}
            | ({"interval": [rounded(end) for end in pooled.interval(metric)]} if metric in shown else {})
            | ({"by_seed": [rounded(each[code].mean(metric)) for each in contender.reports]} if code in BY_ROW else {})
            for metric in pooled.per_user
        }
    first = next(iter(contender.reports[0].values()))
    return {
        "split": first.split,
        "measured": first.measured() if isinstance(first, RowReport) else f"{len(first.users):,} test users",
        "users": len(first.users),
        "settings": {name: contender.experiment[name] for name in ("model", "solver", "training")},
        "valid": contender.valid,
        "tried": list(contender.tried),
        "published_trial": published_trial(contender, cell.published_settings),
        "seeds": list(contender.seeds),
        "figures": figures,
        "search_seconds": round(contender.search_seconds, 1),
        "fit_seconds": round(contender.fit_seconds, 2),
        "machine": f"{os.uname().machine}, {os.cpu_count()} cores",
    }


def published_trial(contender: Contender, published: Mapping[str, Any]) -> int | None:
    """The number of the trial with the published settings; None if none has them, or none are known.

    What a trial does not say of itself was the same in all of them, as in the settings that won.
    """
    tables = {name: contender.experiment[name] for name in ("model", "solver")}
    won = {f"{table}.{name}": value for table, settings in tables.items() for name, value in settings.items()}
    for trial in contender.tried if published else ():
        tried = json.loads(json.dumps(won | dict(trial["settings"])))  # lists for tuples, as a TOML file has them
        if all(name in tried and tried[name] == value for name, value in published.items()):
            return int(trial["number"])
    return None


def rounded(value: float | None) -> float | None:
    """What is worth keeping of a metric."""
    return None if value is None else round(value, 6)


def write(cell: Cell, facts: Mapping[str, Any]) -> None:
    """The cell's file, as a whole, with what its figures depend on."""
    of = {"set": cell.set, "model": cell.model, "depends": cell.depends, "date": datetime.now(UTC).date().isoformat()}
    write_whole(cell.path, (json.dumps(of | dict(facts), indent=1, allow_nan=False) + "\n").encode())


def run(cell: Cell, command: list[str], *, again: bool = False) -> str:
    """Measure a cell in a process of its own, unless it is finished; what became of it.

    A cell that needs more than its minutes, or that is killed, gets a file that says so; one that fails by a fault of the
    code gets none.
    """
    if not cell.source.exists():
        return f"left alone: {cell.source} is not there; put the data where ATTLAS_DATA points"
    known = json.loads(cell.path.read_text()) if cell.path.exists() else {}
    if not again and known.get("depends") == cell.depends:
        return f"left alone: {known['not_run']}; --again tries anew" if "not_run" in known else "finished before"
    if again and known.get("depends") == cell.depends:
        shutil.rmtree(cell.folder, ignore_errors=True)
    minutes = cell.tables["compare"]["minutes"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        write(cell, {"not_run": f"not done within the {minutes} minutes that a cell has"})
        return f"stopped after {minutes} minutes"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code == -signal.SIGKILL:
        write(cell, {"not_run": "killed by the system, most likely for want of memory"})
    return "measured" if not code else f"failed with exit code {code}"


def fill_in(cell: Cell, tell: Teller, *, is_named: bool) -> str:
    """Add to the trials of a finished cell what each reaches on the test part; what became of it.

    Nothing is chosen by these figures. The file is written after each, so that the same call goes on after a stop.

    Args:
        is_named: whether this very cell was asked for; any other takes part only if it misses what was published.
    """
    if not cell.source.exists():
        return f"left alone: {cell.source} is not there; put the data where ATTLAS_DATA points"
    known = json.loads(cell.path.read_text()) if cell.path.exists() else {}
    if known.get("depends") != cell.depends or "figures" not in known:
        return "left alone: not measured as it is asked for now"
    if not is_named and not missed(cell.model, cell.tables, known):
        return "left alone: it misses nothing that was published"
    asked = set(cell.tables["page"]["metrics"])
    left = [trial for trial in known["tried"] if trial["value"] is not None and not asked <= set(trial.get("test", ()))]
    if not left:
        return "all trials were measured before"
    split, failed = cell.split(tell), 0
    for trial in left:
        tell.say(f"{cell.name}: trial {trial['number']} on the test part")
        try:
            trial["test"] = tested(cell, trial, split, tell)
        except AttlasError as error:
            tell.say(f"{cell.name}: trial {trial['number']} failed: {error}")
            failed += 1
        write(cell, known)
    return f"trials measured: {len(left) - failed}" + (f", failed: {failed}" if failed else "")


def tested(cell: Cell, trial: Mapping[str, Any], split: Split, tell: Teller) -> dict[str, float | None]:
    """What the settings of a trial reach by the page's metrics, fitted as the winner was: first seed, epochs of validation."""
    experiment = with_settings(cell.experiment(), trial["settings"])
    valid = {"metric": experiment.metric, "value": trial["value"], "epoch": trial["epoch"]}
    reports = {report.protocol: report for report in Trial(experiment, split, None, tell).repeat(valid).reports}
    report = reports[cell.tables["evaluation"]["protocol"][0]]
    return {metric: rounded(report.mean(metric)) for metric in cell.tables["page"]["metrics"]}


def main() -> int:
    """Measure what was asked for and is not finished, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="SET[/MODEL]", help="these alone")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/results.md")
    parser.add_argument("--again", action="store_true", help="measure finished cells again")
    parser.add_argument(
        "--trials", action="store_true", help="measure the trials of cells that miss, or are named, on the test"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    words, failed = parser.parse_args(), False
    sets = read_sets()
    cells = [] if words.page else cells_of(sets, words.only)
    if words.here:
        die_with_parent()
        measure(cells[0])
        return 0
    for cell in cells if words.trials else ():
        print(f"{cell.name}: {fill_in(cell, default_teller(), is_named=cell.name in words.only)}", file=sys.stderr)
    for place, cell in enumerate(() if words.trials else cells, start=1):
        print(f"{cell.name} ({place} of {len(cells)})", file=sys.stderr)
        became = run(cell, [sys.executable, __file__, cell.name, "--here"], again=words.again)
        print(f"{cell.name}: {became}", file=sys.stderr)
        failed |= became.startswith("failed")
    write_whole(PAGE, make_page(sets, read_cells()).encode())
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AttlasError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit("stopped; what is done is kept, and the same command goes on")
