"""What is demanded of a comparison by the clock, and that kills change nothing of its table.

    ATTLAS_DATA=... python benchmarks/compare.py whole [--out DIR]
    ATTLAS_DATA=... python benchmarks/compare.py kills --seed N [--whole DIR] [--out DIR]
    ATTLAS_DATA=... python benchmarks/compare.py small [--out DIR]
    python benchmarks/compare.py same DIR DIR

``whole`` runs configs/compare-ml-1m-ncf.toml from nothing to its end: two hours are given on two cores. ``kills`` runs the
same, kills it at three random moments, each 5 to 25 minutes after a start, and starts it again; what comes of it is held
against the whole run. It may be killed itself, and goes on when it is begun again. ``small`` is ml-100k with a budget of five
minutes, for which six are given. Each of them appends a line to ``results/compare.jsonl``, where what was used, and what others
took, is of the last time that ``kills`` was begun; what the command itself says stands in DIR.log. ``same`` measures nothing:
it holds two finished folders against each other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
from machine import Spell, data_folder, record

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs/compare"
LADDER = ("configs/compare-ml-1m-ncf.toml", "ml-1m-ncf", 120)  # the words after `attlas compare`, the data, the minutes given
SMALL = ("--budget=5m", "ml-100k/u.data.gz", 6)
KILLS, EARLIEST, LATEST = 3, 5 * 60, 25 * 60  # seconds after a start
PASSING = ("run", "source", "memory", "reason")  # where things lie, and what a machine had to spare
SHOWN = 5  # differences


def measure(asked: tuple[str, str, int], out: Path, moments: Sequence[float] = ()) -> dict[str, Any]:
    """Run a comparison in a new folder, killed at some moments; what a line says of it."""
    words, source, minutes = asked
    data, told = data_folder().resolve() / source, out.with_name(f"{out.name}.stretches.json")
    if not data.exists():
        sys.exit(f"{data} is not there; put the data where ATTLAS_DATA points")
    if out.exists() and not (moments and told.exists()):
        sys.exit(f"{out} is there already, and what is measured begins with nothing; delete it, or choose another --out")
    if not out.exists():
        told.unlink(missing_ok=True)
    command = [sys.executable, "-m", "attlas", "compare", words, "--data", str(data), "--out", str(out)]
    with Spell(with_children=True) as spell:
        stretches = run_killed(command, moments, told)
    table = table_of(out)
    told.unlink()  # it is over: what stands in the folder now is refused like any other
    return {
        "data": source.partition("/")[0],
        "what": f"attlas compare {words}",
        "killed_after_s": stretches[:-1],
        "minutes": round(sum(stretches) / 60, 1),
        "minutes_given": minutes,
        "whole": spell.facts(),
        "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "trials": {each["name"]: len(each["trials"]) for each in table["contenders"]},
        "skipped": [each["name"] for each in table["skipped"]],
        "table": digest(table),
    }


def run_killed(command: list[str], moments: Sequence[float], told: Path) -> list[int]:
    """Run a command, kill it so many seconds after each start and start it again, then run it to its end.

    What ends before its moment has come is not started again. Whoever runs this may be killed too: what ran then counts as
    one more stretch, up to the last word it said.

    Args:
        told: the file that keeps how long each stretch was; what the command says is written beside it.

    Returns:
        The seconds of every stretch, the last one that of the command's own end.
    """
    told.parent.mkdir(parents=True, exist_ok=True)
    log = told.with_name(f"{told.name.removesuffix('.stretches.json')}.log")
    kept = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {"begun": None, "seconds": []}
    stretches: list[int] = kept["seconds"]
    if kept["begun"] is not None:
        stretches.append(max(0, round(log.stat().st_mtime - kept["begun"])))
    with log.open("ab") as said:
        for after in (*moments[len(stretches) :], None):
            begun = time.time()
            told.write_text(json.dumps({"begun": begun, "seconds": stretches}), encoding="utf-8")
            code = exit_code(command, said, after)
            if code:
                told.write_text(json.dumps({"begun": None, "seconds": stretches}), encoding="utf-8")
                sys.exit(f"it ended with exit code {code}; {log} says why")
            stretches.append(round(time.time() - begun))
            told.write_text(json.dumps({"begun": None, "seconds": stretches}), encoding="utf-8")
            if code == 0:
                break
    return stretches


def exit_code(command: list[str], said: IO[bytes], after: float | None) -> int | None:
    """That of a command, None if it was killed so many seconds after its start."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        return process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def table_of(folder: Path) -> dict[str, Any]:
    """What a finished comparison found: all of its JSON but seconds, memory, and where things lie."""
    path = folder / "comparison.json"
    if not path.is_file():
        sys.exit(f"{folder} holds no finished comparison")
    found: dict[str, Any] = lasting(json.loads(path.read_text(encoding="utf-8")))
    return found


def lasting(value: Any) -> Any:
    """The same value without what may be another each time."""
    if isinstance(value, dict):
        return {name: lasting(part) for name, part in value.items() if "seconds" not in name and name not in PASSING}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def digest(table: dict[str, Any]) -> str:
    """By what a table is known again."""
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Every place in which two tables differ, with both values: ``winner: 'ease' / 'mf'``."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            yield from differences(one.get(name, "absent"), other.get(name, "absent"), f"{where}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, parts in enumerate(zip(one, other, strict=True)):
            yield from differences(*parts, f"{where}.{place}")
    elif one != other:
        yield f"{where.removeprefix('.')}: {one!r} / {other!r}"


def killed_and_compared(seed: int, whole: Path, out: Path) -> dict[str, Any]:
    """The line of a comparison that was killed at random moments, and whether its table is that of the whole run."""
    expected, draw = table_of(whole), random.Random(seed)
    line = measure(LADDER, out, [draw.uniform(EARLIEST, LATEST) for _ in range(KILLS)])
    found = list(differences(expected, table_of(out)))
    return {**line, "seed": seed, "of_whole": digest(expected), "is_same": not found, "differs": found[:SHOWN]}


def main() -> int:
    """One line, or whether two folders say the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="what", required=True)
    for name in ("whole", "kills", "small"):
        part = parts.add_parser(name)
        part.add_argument("--out", type=Path, help="a new folder for the comparison")
        if name == "kills":
            part.add_argument("--seed", type=int, required=True, help="what the moments depend on")
            part.add_argument("--whole", type=Path, default=RUNS / "whole", help="the folder of a whole run")
    parts.add_parser("same").add_argument("folders", type=Path, nargs=2)
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs does not outlive this
    if words.what == "same":
        found = list(differences(*map(table_of, words.folders)))
        print("\n".join(found) or f"the same table, {digest(table_of(words.folders[0]))}")
        return int(bool(found))
    if words.what == "kills":
        out = words.out or RUNS / f"kills-{words.seed}"
        line = killed_and_compared(words.seed, words.whole.resolve(), out.resolve())
    else:
        line = measure(LADDER if words.what == "whole" else SMALL, (words.out or RUNS / words.what).resolve())
    record("compare", [line])
    return 0


if __name__ == "__main__":
    sys.exit(main())
