"""What tests of the whole share: a small film club as files, two runs made from them, and the command line as a function."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import polars as pl
import pytest

import attlas
from attlas.cli import main

# A busy machine is slow, and a commit that touches nothing shall not turn red.
hypothesis.settings.register_profile("attlas", deadline=None, derandomize=True)
hypothesis.settings.load_profile("attlas")

TINY = ("model.embedding_dim=8", "model.attention_dim=8", "model.layers=[8]")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wheel", action="store_true", help="also build a wheel and try it in a fresh environment")


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int | str | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as exactly one strict JSON document."""
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


@pytest.fixture(scope="session")
def club() -> Any:
    """80 members, 40 films, 900 rows."""
    return attlas.simulate(80, 40, seed=3, num_interactions=900)


@pytest.fixture(scope="session")
def club_files(club: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the club's ratings.csv and films.csv."""
    folder = tmp_path_factory.mktemp("club")
    club.interactions.to_frame().write_csv(folder / "ratings.csv")
    films = club.interactions.items
    pl.DataFrame({"item": films.ids}).hstack(films.columns).write_csv(folder / "films.csv")
    return folder


@pytest.fixture(scope="session")
def process() -> Callable[..., Said]:
    """``python -m attlas`` with the given words, in a process of its own."""

    def run(*words: str | Path, cwd: Path | None = None) -> Said:
        command = [sys.executable, "-m", "attlas", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def fitted(club_files: Path, process: Callable[..., Said]) -> dict[str, Said]:
    """What ``attlas fit --json`` answered by the name of the model; the runs stand beside the files."""

    def fit(model: str, settings: Sequence[str]) -> Said:
        words = ["--data", club_files / "ratings.csv", "--items", club_files / "films.csv", "--out", club_files / model]
        return process("fit", *words, "--model", model, *(f"--set={setting}" for setting in settings), "--json")

    settings = {"ease": ["model.l2=10"], "delf": [*TINY, "training.epochs=3"]}
    with ThreadPoolExecutor() as pool:
        return dict(zip(settings, pool.map(fit, settings, settings.values()), strict=True))


@pytest.fixture(scope="session")
def runs(club_files: Path, fitted: dict[str, Said]) -> Path:
    """The folder that holds the runs ``ease`` and ``delf``."""
    assert all((club_files / name / "run.json").is_file() for name in fitted), [said.err for said in fitted.values()]
    return club_files


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command line with the given words, in this process."""

    def run(*words: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["attlas", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        return Said(stop.value.code, found.out, found.err)

    return run


@pytest.fixture(scope="session")
def given_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of four users and eight items as published files, with two candidates for each test row."""
    folder = tmp_path_factory.mktemp("given")
    train = [(user, (2 * user + step) % 8) for user in range(4) for step in range(3)]
    test = [(user, (2 * user + 3) % 8) for user in range(4)]
    (folder / "club.train.rating").write_text("".join(f"{user}\t{item}\t1\t{user + item}\n" for user, item in train))
    (folder / "club.test.rating").write_text("".join(f"{user}\t{item}\t1\t99\n" for user, item in test))
    listed = [f"({user},{item})\t{(item + 1) % 8}\t{(item + 2) % 8}\n" for user, item in test]
    (folder / "club.test.negative").write_text("".join(listed))
    return folder
