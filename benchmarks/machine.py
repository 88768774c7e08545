"""What the machine gave while something was measured: its own limits, and how much of it others took."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
VOID_ABOVE = 0.1


@dataclass
class Spell:
    """One measured spell: wall seconds, own CPU seconds, and the share of the machine that other processes took.

    ``with_children`` counts as own what children took that ended, or were killed, and were waited for.
    """

    wall: float = 0.0
    cpu: float = 0.0
    others: float = 0.0
    with_children: bool = False
    _began: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0), repr=False)

    def __enter__(self) -> Spell:
        self._began = (time.perf_counter(), self._own(), _busy())
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu, busy = self._began
        self.wall = time.perf_counter() - wall
        self.cpu = self._own() - cpu
        self.others = max(0.0, _busy() - busy - self.cpu) / (self.wall * (os.cpu_count() or 1))

    def _own(self) -> float:
        if not self.with_children:
            return time.process_time()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    def facts(self) -> dict[str, float]:
        """Rounded, for a result line."""
        return {"wall_s": round(self.wall, 4), "cpu_s": round(self.cpu, 4), "others": round(self.others, 3)}


def _busy() -> float:
    """Seconds that all processors together have been busy since the machine started."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def limits() -> dict[str, float]:
    """The machine's rates with all threads: sgemm in GFLOP/s, triad in GB/s; best of five."""
    import torch

    size, long = 2048, 2**25
    a, b = torch.randn(size, size), torch.randn(size, size)
    x, y, out = torch.randn(long), torch.randn(long), torch.empty(long)
    sgemm = 2 * size**3 / _best(lambda: a @ b) / 1e9
    triad = 3 * 4 * long / _best(lambda: torch.add(x, y, alpha=3.0, out=out)) / 1e9
    return {"sgemm_gflops": round(sgemm, 1), "triad_gbs": round(triad, 1)}


def _best(deed: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        deed()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def peak_mib() -> int:
    """The most memory this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def record(subject: str, lines: list[dict[str, Any]]) -> None:
    """Print each result line and append it to ``results/<subject>.jsonl``; a line disturbed by others is marked void."""
    RESULTS.mkdir(exist_ok=True)
    where = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **limits(),
    }
    with (RESULTS / f"{subject}.jsonl").open("a") as file:
        for line in lines:
            others = max(
                (value["others"] for value in line.values() if isinstance(value, dict) and "others" in value), default=0.0
            )
            whole = {**where, **line, "void": others > VOID_ABOVE}
            print(json.dumps(whole))
            file.write(json.dumps(whole) + "\n")


def data_folder() -> Path:
    """Where the public data sets lie: the environment variable ATTLAS_DATA."""
    return Path(os.environ.get("ATTLAS_DATA", "data"))


def die_with_parent() -> None:
    """Have the system kill this process when the one that started it ends, however that ends; on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
