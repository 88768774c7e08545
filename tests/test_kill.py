"""A fit that is killed at any moment goes on where it stood and ends with the same bits as one that never was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import attlas
from attlas.data.split import Split
from attlas.errors import ArtefactError
from attlas.experiment import Experiment
from attlas.runner import run

SETTINGS = [
    *("model.embedding_dim=8", "model.attention_dim=8", "model.layers=[8]"),
    *("solver.learning_rate=0.02", "solver.batch_size=1000"),
    *("training.epochs=12", "training.patience=12", "training.refit=true", "training.metric=recall@20"),
]
FINISHED = {"experiment.json", "metrics.jsonl", "run.json", "weights.safetensors", "history.safetensors"}
FINISHED |= {"users.parquet", "items.parquet"}
# Files in the order in which a fit first touches them; a kill falls when one is there or has changed.
EVENTS = [
    *(".experiment.json.part", "experiment.json", "metrics.jsonl", ".fit.checkpoint.part", "fit.checkpoint"),
    *(".metrics.jsonl.part", "fit.checkpoint", ".refit.checkpoint.part", "refit.checkpoint", "refit.checkpoint"),
    *(".weights.safetensors.part", "weights.safetensors", "history.safetensors", "items.parquet", ".run.json.part", "run.json"),
]

# A process that has imported everything heavy, and forks for each command one that then is a real process of its own:
# most of a short command's time goes into importing torch, where a kill can do no harm.
NURSERY = """
import os, sys
import attlas.cli.app, attlas.cli.fitting, attlas.models.delf
import rich.table, torch._dynamo
from attlas.cli import main

print("ready", flush=True)
for line in sys.stdin:
    words = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if not child:
        for place, path in enumerate((os.devnull, words[0], words[0])):
            os.dup2(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), place)
        sys.argv = ["attlas", *words[1:]]
        try:
            main()
        except SystemExit as stop:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stop.code or 0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

# When to kill: told the folder, asked until it says now.
Moment = Callable[[], bool]
# Does a command, and kills it at the moment; the exit code, -9 if it was killed.
Do = Callable[[list[str], Moment], int]


def fit_words(club_files: Path, folder: Path) -> list[str]:
    """The words that begin the fit in a folder."""
    words = ["fit", "--data", str(club_files / "ratings.csv"), "--model", "delf", "--out", str(folder)]
    return [*words, *(f"--set={setting}" for setting in SETTINGS)]


def never() -> bool:
    """A moment that does not come."""
    return False


def after(seconds: float) -> Moment:
    """The moment so many seconds from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def once_touched(path: Path) -> Moment:
    """The moment at which a file is there, or is another than now."""
    before = signature(path)
    return lambda: signature(path) not in (None, before)


def signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where killed commands have spoken."""
    return tmp_path_factory.mktemp("log") / "said.txt"


@pytest.fixture(scope="module")
def warm(log: Path) -> Iterator[Do]:
    """Does commands in forked processes that begin with everything imported."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("whether a process still runs is read from /proc")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", NURSERY], text=True, bufsize=1, **pipes) as nursery:  # type: ignore[call-overload]

        def do(words: list[str], moment: Moment) -> int:
            nursery.stdin.write("\t".join([str(log), *words]) + "\n")
            child = int(nursery.stdout.readline())
            while not moment() and is_running(child):
                time.sleep(0.0005)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            return int(nursery.stdout.readline())

        assert nursery.stdout.readline() == "ready\n"
        yield do
        nursery.stdin.close()


def is_running(process: int) -> bool:
    """Whether a process is neither gone nor only waiting to be counted."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def cold(log: Path) -> Do:
    """Does commands in processes of their own, from the first import on."""

    def do(words: list[str], moment: Moment) -> int:
        with (
            log.open("a") as said,
            subprocess.Popen([sys.executable, "-m", "attlas", *words], stdout=said, stderr=said) as made,
        ):
            while not moment() and made.poll() is None:
                time.sleep(0.001)
            made.kill()
            return made.wait()

    return do


@pytest.fixture(scope="module")
def untouched(club_files: Path, cold: Do, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never killed."""
    folder = tmp_path_factory.mktemp("untouched") / "run"
    assert cold(fit_words(club_files, folder), never) == 0
    return folder


def go_on(do: Do, club_files: Path, folder: Path, moment: Moment) -> int:
    """Resume what was begun in a folder; where nothing was, begin."""
    is_begun = (folder / "experiment.json").exists()
    return do(["fit", "--resume", str(folder)] if is_begun else fit_words(club_files, folder), moment)


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the time that they took."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same(folder: Path, untouched: Path) -> None:
    """A run ended with the same bits as another and left nothing else behind."""
    assert {path.name for path in folder.iterdir()} == FINISHED
    for name in ("weights.safetensors", "history.safetensors", "users.parquet", "items.parquet"):
        assert (folder / name).read_bytes() == (untouched / name).read_bytes(), name
    assert metrics_of(folder) == metrics_of(untouched)
    cards = [json.loads((place / "run.json").read_text()) for place in (folder, untouched)]
    for card in cards:
        card["training"].pop("seconds")
        card.pop("sha256")
    assert cards[0] == cards[1]
    assert attlas.load(folder).recommend(["m17"], 3).height == 3


def test_the_run_that_the_killed_ones_are_held_against_has_two_long_stages(untouched: Path) -> None:
    stages = [row["stage"] for row in metrics_of(untouched)]
    assert stages.count("fit") == 12
    assert stages.count("refit") >= 4


def test_killed_at_twenty_random_moments_in_a_chain_it_ends_with_the_same_bits(
    warm: Do, club_files: Path, untouched: Path, tmp_path: Path, log: Path
) -> None:
    rng = random.Random(1)
    began = time.monotonic()
    assert go_on(warm, club_files, tmp_path / "whole", never) == 0
    seconds = time.monotonic() - began
    assert_same(tmp_path / "whole", untouched)
    kills, chain = 0, 0
    while kills < 20:
        folder, code = tmp_path / str(chain), -signal.SIGKILL
        while code == -signal.SIGKILL:
            moment = after(rng.uniform(0.05, 0.5) * seconds) if kills < 20 else never
            code = go_on(warm, club_files, folder, moment)
            kills += code == -signal.SIGKILL
        assert code == 0, log.read_text()[-2000:]
        assert_same(folder, untouched)
        chain += 1


def test_killed_whenever_a_file_is_touched_it_ends_with_the_same_bits(
    warm: Do, club_files: Path, untouched: Path, tmp_path: Path, log: Path
) -> None:
    folder, killed = tmp_path / "run", []
    for name in EVENTS:
        code = go_on(warm, club_files, folder, once_touched(folder / name))
        assert code in (0, -signal.SIGKILL), log.read_text()[-2000:]
        killed += [name] if code else []
    assert go_on(warm, club_files, folder, never) == 0
    assert_same(folder, untouched)
    assert len(set(killed)) >= 5  # on a busy machine a touch can pass unseen
    assert "experiment.json" in killed
    assert {".fit.checkpoint.part", "fit.checkpoint"} & set(killed)
    assert {".refit.checkpoint.part", "refit.checkpoint"} & set(killed)


def test_killed_four_times_from_the_first_import_on_it_ends_with_the_same_bits(
    cold: Do, club_files: Path, untouched: Path, tmp_path: Path, log: Path
) -> None:
    rng, folder = random.Random(2), tmp_path / "run"
    began = time.monotonic()
    go_on(cold, club_files, folder, once_touched(folder / "fit.checkpoint"))
    seconds = time.monotonic() - began
    for share in (rng.uniform(0.1, 0.9), rng.uniform(0.9, 1.1), rng.uniform(1.0, 1.2)):
        go_on(cold, club_files, folder, after(share * seconds))
    assert go_on(cold, club_files, folder, never) == 0, log.read_text()[-2000:]
    assert_same(folder, untouched)


def test_killed_before_it_began_there_is_nothing_to_resume_and_a_fresh_fit_works(
    warm: Do, club_files: Path, untouched: Path, tmp_path: Path, log: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".experiment.json.part").write_text('{"experi')
    assert warm(["fit", "--resume", str(folder)], never) == 2
    assert (
        log.read_text()
        .splitlines()[-1]
        .endswith(f"holds no fit to resume; begin one with: attlas fit --data FILE --out {folder}")
    )
    assert warm(fit_words(club_files, folder), never) == 0
    assert_same(folder, untouched)


class Killed(BaseException):
    """What a kill is to the code that it falls into."""


class Reaper:
    """Counts every step at which a fit touches the disk, and kills at one of them."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int):
        self.steps, self.at = 0, at
        self._guard(patch, os, "fsync")
        self._guard(patch, Path, "replace")
        self._guard(patch, Path, "unlink")
        self._guard(patch, Path, "write_bytes", torn=True)

    def _guard(self, patch: pytest.MonkeyPatch, owner: Any, name: str, *, torn: bool = False) -> None:
        deed = getattr(owner, name)

        def guarded(*given: Any, **options: Any) -> Any:
            self.steps += 1
            if self.steps == self.at:
                if torn:
                    deed(given[0], given[1][: len(given[1]) // 2])
                raise Killed
            return deed(*given, **options)

        patch.setattr(owner, name, guarded)


QUICK = {
    "model": {"name": "delf", "embedding_dim": 4, "attention_dim": 4, "layers": [4]},
    "training": {"epochs": 2, "refit": True, "patience": 2},
    "evaluation": {"k": [10]},
}


@pytest.fixture(scope="module")
def parts() -> Split:
    """A small club, split by time."""
    return attlas.split(attlas.simulate(20, 20, seed=1, num_interactions=160).interactions)


@pytest.fixture(scope="module")
def quick(parts: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that was never killed."""
    folder = tmp_path_factory.mktemp("quick") / "run"
    run(Experiment.of(QUICK), data=parts, out=folder)
    return folder


def is_killed(folder: Path, parts: Split, at: int) -> bool:
    """Begin or go on, killed at a step (0 for never); whether it came to that."""
    with pytest.MonkeyPatch.context() as patch:
        Reaper(patch, at)
        try:
            run(Experiment.of(QUICK), data=parts, out=folder, resume=(folder / "experiment.json").exists())
        except Killed:
            return True
    return False


def assert_same_quick(folder: Path, quick: Path) -> None:
    """As ``assert_same``, for the small run."""
    assert {path.name for path in folder.iterdir()} == FINISHED
    assert (folder / "weights.safetensors").read_bytes() == (quick / "weights.safetensors").read_bytes()
    assert metrics_of(folder) == metrics_of(quick)


def test_killed_at_any_step_that_touches_the_disk_it_ends_with_the_same_bits(parts: Split, quick: Path, tmp_path: Path) -> None:
    at = 1
    while is_killed(tmp_path / str(at), parts, at):
        assert not is_killed(tmp_path / str(at), parts, 0)
        assert_same_quick(tmp_path / str(at), quick)
        at += 1
    checkpoints, files, tidied = 2 * 2, 1 + 5, 2
    assert at - 1 >= 3 * checkpoints + 2 * files + tidied


def test_killed_one_step_later_each_time_it_ends_with_the_same_bits(parts: Split, quick: Path, tmp_path: Path) -> None:
    folder, at = tmp_path / "run", 1
    while is_killed(folder, parts, at):
        at += 1
    assert_same_quick(folder, quick)
    assert at > 6


def test_until_its_last_step_a_killed_fit_is_no_run(parts: Split, tmp_path: Path) -> None:
    folder, at = tmp_path / "run", 1
    while is_killed(folder, parts, at):
        if not (folder / "run.json").exists():
            with pytest.raises(ArtefactError, match=r"has not finished; go on with|no run folder"):
                attlas.load(folder)
        at += 1
    assert attlas.load(folder).card["model"]["name"] == "delf"
