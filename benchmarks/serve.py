"""What one user's ten best take over HTTP: a service as users start it, asked in an open loop from another process.

Requests arrive at random moments (Poisson) that were drawn before, whether or not earlier ones are answered, and each is timed
from the moment at which it was due. Every request asks for a user drawn anew from all, each of whom was trained on; nothing is
cached. Each model is trained with its default Config for a few epochs, since its speed does not depend on how good it is, and
kept in runs/serve.

    ATTLAS_DATA=... python benchmarks/serve.py [--data ml-100k] [--seconds 60] [--rate 50] [MODEL ...]
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
import numpy as np
from machine import Spell, data_folder, die_with_parent, record

from attlas.data.interactions import Interactions
from attlas.errors import ArtefactError, ConfigError
from attlas.experiment import Experiment
from attlas.models import MODELS
from attlas.runner import run
from attlas.telling import Terminal

FAMILIES = (
    *("popularity", "itemknn", "ease", "slim", "ials", "mf", "biased_mf", "eals", "expomf", "fawmf", "aimf"),
    *("fism", "nais", "neumf", "deepcf", "delf", "drnet", "dacr", "fm", "nfm", "deepfm", "afm"),
)
RUNS, EPOCHS, K = Path("runs/serve"), 2, 10
SETTLING_SECONDS, READY_SECONDS, LATEST_SECONDS = 5.0, 900.0, 30.0


def trained(name: str, source: str, data: Interactions) -> Path:
    """The run folder of a model, trained now if it is not there."""
    folder = RUNS / f"{source}-{name}"
    if not (folder / "run.json").is_file():
        tables = {"data": {"split": "leave-last-out"}, "model": {"name": name}, "training": {"epochs": EPOCHS}}
        run(Experiment.of(tables), data=data, out=folder, tell=Terminal())
    return folder


@contextmanager
def served(*folders: Path) -> Iterator[tuple[int, int]]:
    """The port and the process of a service of some runs, ready."""
    command = [sys.executable, "-m", "attlas", "serve", *map(str, folders), "--port", "0"]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    try:
        said = service.stderr.readline() if service.stderr else ""
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        if not found:
            raise ArtefactError(f"the service did not start: {said}{service.stderr.read() if service.stderr else ''}")
        await_ready(int(found[1]))
        yield int(found[1]), service.pid
    finally:
        service.terminate()
        service.wait(timeout=60)


def await_ready(port: int) -> None:
    """Wait until all that is made on first use has been made."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10):
                return
        except urllib.error.URLError:
            time.sleep(0.2)
    raise ArtefactError(f"the service was not ready after {READY_SECONDS:g} seconds")


def drive(port: int, bodies: list[bytes], due_N: np.ndarray) -> tuple[np.ndarray, int]:
    """Send each body when it is due, on whichever connection is free; seconds from due to answered, and how many failed.

    There are more connections than requests in flight; were there not, waiting for one would count.
    """
    took_N, places, failed, began = (
        np.zeros(len(due_N)),
        queue.SimpleQueue[int](),
        queue.SimpleQueue[str](),
        time.perf_counter(),
    )
    for place in range(len(due_N)):
        places.put(place)

    def ask() -> None:
        line = None
        while True:
            try:
                place = places.get_nowait()
            except queue.Empty:
                return
            time.sleep(max(0.0, began + due_N[place] - time.perf_counter()))
            try:
                line = line or connected(port)
                if not is_answered(line, bodies[place]):
                    failed.put("no list")
            except OSError as error:
                failed.put(str(error))
                line = None
            took_N[place] = time.perf_counter() - began - due_N[place]

    # Each is used about once a second, before the service would close it for idleness.
    threads = [threading.Thread(target=ask) for _ in range(max(2, round(len(due_N) / due_N[-1])))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took_N, failed.qsize()


def connected(port: int) -> socket.socket:
    """A line to the service."""
    line = socket.create_connection(("127.0.0.1", port), timeout=LATEST_SECONDS)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def is_answered(line: socket.socket, body: bytes) -> bool:
    """Whether a request gets a list of K items."""
    head = f"POST /api/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    line.sendall(f"{head}\r\n\r\n".encode() + body)
    arrived, length = b"", None
    while length is None or len(arrived.partition(b"\r\n\r\n")[2]) < length:
        part = line.recv(65536)
        if not part:
            raise ConnectionError("the service closed the line")
        arrived += part
        found = re.search(rb"content-length: (\d+)\r\n.*\r\n\r\n", arrived, re.IGNORECASE | re.DOTALL)
        length = int(found[1]) if found else None
    return b" 200 " in arrived.split(b"\r\n")[0] and arrived.count(b'"rank"') == K


def facts_of(process: int) -> tuple[float, float]:
    """CPU seconds that a process has used, and MiB that it holds in memory."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    resident = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), resident / 2**20


def measured(name: str, folder: Path, users: list[str | int], *, rate: float, seconds: float) -> dict[str, Any]:
    """The line of one model."""
    rng = np.random.default_rng(1)

    def drawn(lasting: float) -> tuple[list[bytes], np.ndarray]:
        due_N = np.cumsum(rng.exponential(1 / rate, size=max(1, round(rate * lasting))))
        return [json.dumps({"user": users[at], "k": K}).encode() for at in rng.integers(len(users), size=len(due_N))], due_N

    with served(folder) as (port, process):
        drive(port, *drawn(SETTLING_SECONDS))
        cpu_before, resident_before = facts_of(process)
        with Spell() as spell:
            took_N, failed = drive(port, *drawn(seconds))
        cpu_after, resident_after = facts_of(process)
    cpu = cpu_after - cpu_before
    others = max(0.0, spell.others - cpu / (spell.wall * (os.cpu_count() or 1)))
    at = {f"{label}_ms": round(1000 * float(value), 2) for label, value in quantiles_of(took_N).items()}
    return {
        "what": f"{name}: one user's ten best over HTTP",
        "rate": rate,
        "requests": len(took_N),
        "errors": failed,
        **at,
        "service_cpu_s": round(cpu, 2),
        "rss_mib": [round(resident_before, 1), round(resident_after, 1)],
        "drive": {**spell.facts(), "others": round(others, 3)},
    }


def quantiles_of(took_N: np.ndarray) -> dict[str, float]:
    """The usual ones and the worst."""
    return {**{f"p{share}": np.quantile(took_N, share / 100) for share in (50, 90, 99)}, "max": took_N.max()}


def main() -> None:
    """A line for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", nargs="*", default=FAMILIES)
    parser.add_argument("--data", default="ml-1m", choices=("ml-1m", "ml-100k"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second")
    given = parser.parse_args()
    for name in given.models:
        if name not in MODELS:
            raise ConfigError(f"no model is called {name!r}; known are: {', '.join(MODELS)}")
    wanted = {"ml-1m": "ratings.csv.gz", "ml-100k": "u.data.gz"}
    data = attlas.read(data_folder() / given.data / wanted[given.data])
    users = data.users.ids.to_list()
    for name in given.models:
        folder = trained(name, given.data, data)
        record("serve", [{"data": given.data, **measured(name, folder, users, rate=given.rate, seconds=given.seconds)}])


if __name__ == "__main__":
    main()
