"""A built wheel works in a fresh environment without the checkout, and without the optional libraries."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def do(*words: str | Path, cwd: Path, timeout_seconds: float = 600) -> str:
    """What a command says on standard output; a test fails with all it said where the command does."""
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout_seconds)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout, built outside of it."""
    if not request.config.getoption("--wheel"):
        pytest.skip("building and installing a wheel takes minutes and wants a package index: run with --wheel")
    folder = tmp_path_factory.mktemp("wheel")
    do(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (made,) = folder.glob("attlas-*.whl")
    return made


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The programs of a new environment with the wheel and what it requires, nothing more."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    for wanted in ("torch", wheel):
        how = ("--quiet", "--no-compile", "-c", ROOT / "constraints.txt")  # what is imported, Python compiles by itself
        do(programs / "python", "-m", "pip", "install", *how, wanted, cwd=folder)
    yield programs
    shutil.rmtree(folder / "env")  # a gigabyte, which pytest would keep for three sessions


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    present = {path.relative_to(ROOT).as_posix() for path in (ROOT / "attlas").rglob("*") if path.is_file()}
    assert packed == {name for name in present if "__pycache__" not in name}
    assert {"attlas/py.typed", "attlas/page/page.html", "attlas/page/page.css", "attlas/page/page.js"} <= packed


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_the_installed_package_is_not_the_checkout_and_lacks_the_optional_libraries(fresh: Path, tmp_path: Path) -> None:
    line = "import attlas, importlib.util as u; print(attlas.__file__); print(u.find_spec('plotly'), u.find_spec('pandas'))"
    place, optional = do(fresh / "python", "-c", line, cwd=tmp_path).splitlines()
    assert not Path(place).is_relative_to(ROOT)
    assert optional == "None None"


def test_the_demo_runs_outside_the_checkout_and_leaves_its_runs_and_its_report(fresh: Path, tmp_path: Path) -> None:
    said = do(fresh / "attlas", "demo", "--quick", "--out", "demo", cwd=tmp_path)
    assert "open demo/report.html in a browser" in said
    assert (tmp_path / "demo/report.html").stat().st_size > 10_000
    for name in ("popularity", "ease", "delf"):
        assert (tmp_path / "demo" / name / "run.json").is_file()
        answer = do(fresh / "attlas", "recommend", tmp_path / "demo" / name, "m17", "-k", "3", "--json", cwd=tmp_path)
        assert answer.count('"m17"') == 3


def test_the_installed_package_answers_as_a_module(fresh: Path, tmp_path: Path) -> None:
    assert "recommend" in do(fresh / "python", "-m", "attlas", "--help", cwd=tmp_path)
