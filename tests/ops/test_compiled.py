"""Kernels give the same bits in the process that compiles them as in those that load them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from attlas.ops import _numba

KERNELS = Path(_numba.__file__).parent

FITS = """
import attlas, hashlib, numpy, torch
from attlas.data.inputs import Inputs
from attlas.models import model_class
from attlas.training.solvers import make_solver

inputs = Inputs(attlas.simulate(60, 40, seed=3).interactions)
own = ("ials", "eals", "expomf", "mf", "biased_mf")
for name, table in [(name, {}) for name in own] + [("ials", {"method": "cholesky"})]:
    torch.manual_seed(0)
    model = model_class(name)(inputs.sizes)
    with torch.no_grad():
        make_solver(model, table).epoch(model, inputs, numpy.random.default_rng(1))
    print(name, table, hashlib.sha256(b"".join(w.numpy().tobytes() for w in model.state_dict().values())).hexdigest())
"""


def test_a_fit_has_the_same_bits_whether_its_kernels_are_compiled_or_loaded(tmp_path: Path) -> None:
    def fitted() -> str:
        env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        return subprocess.run([sys.executable, "-c", FITS], env=env, capture_output=True, text=True, check=True).stdout

    compiled = fitted()
    assert list(tmp_path.rglob("*.nbi"))
    assert fitted() == compiled


def test_no_kernel_was_compiled_before_what_it_takes_from_another_file_changed() -> None:
    stale = []
    for path in KERNELS.glob("*.py"):
        taken = re.findall(r"^from attlas\.ops\._numba\.(\w+) import", path.read_text(), re.MULTILINE)
        changed = max((KERNELS.joinpath(f"{name}.py").stat().st_mtime for name in taken), default=0.0)
        compiled = KERNELS.joinpath("__pycache__").glob(f"{path.stem}.*py{sys.version_info.major}{sys.version_info.minor}*.nbc")
        stale += [kernel.name for kernel in compiled if kernel.stat().st_mtime < changed]
    assert not stale, "numba does not see such changes; run make kernels"
