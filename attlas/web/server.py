"""The service as a process: which address it may have, what it needs of the machine, how it starts and how it stops."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attlas.errors import ArtefactError, ConfigError, require
from attlas.recommender import Recommender, load
from attlas.telling import Teller

TOKEN = "ATTLAS_TOKEN"
SHORTEST_TOKEN = 16
STOP_SECONDS = 30
MOST_CONNECTIONS = 1_024
OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


def find_token(file: Path | None) -> str | None:
    """The token that requests must bring: the one in a file, or that of the environment variable ATTLAS_TOKEN; None for none.

    Raises:
        ConfigError: the file cannot be read, or the token is too short or cannot stand in a header.
    """
    try:
        token = file.read_text(encoding="utf-8").strip() if file else os.environ.get(TOKEN, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {file} cannot be read: {error}") from error
    if not token and not file:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"the token has {len(token)} characters; expected {SHORTEST_TOKEN} or more of ASCII, without spaces")
    return token


def check_address(host: str, token: str | None) -> bool:
    """Whether an address is reached from this computer alone.

    Raises:
        ConfigError: others reach it, and there is no token.
    """
    try:
        is_own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_own = host == "localhost"
    if not is_own and token is None:
        raise ConfigError(
            f"--host {host} lets others in, and there is no token; set {TOKEN} or --token-file, or stay at 127.0.0.1"
        )
    return is_own


def load_all(folders: Sequence[Path], tell: Teller) -> dict[str, Recommender]:
    """The recommenders of some run folders, each by the name of its folder.

    Raises:
        ArtefactError: a folder is no run.
        ConfigError: two folders are called alike.
    """
    found: dict[str, Recommender] = {}
    with tell.bar("loading", len(folders)) as bar:
        for folder in folders:
            name = folder.resolve().name
            if name in found:
                raise ConfigError(f"two runs are called {name!r}; give one of the folders another name")
            if not folder.is_dir():
                raise ArtefactError(f"{folder} is no run folder; attlas fit --out makes one")
            found[name] = load(folder)
            bar.update(len(found), name)
    return found


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        ConfigError: it cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen at {host}, port {port}: {error}; choose another with --host or --port") from error


def serve(
    folders: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    threads: int = 2,
    timeout_seconds: float = 10.0,
    access_log: bool = False,
    tell: Teller | None = None,
) -> None:
    """Serve some runs until SIGTERM or SIGINT, then let requests in flight end.

    Args:
        folders: of the runs; requests name them by the names of their folders.
        port: 0 takes a free one.
        token: needed at any address that others reach.
        threads, timeout_seconds: see ``attlas.web.gate.Limits``.
        access_log: write one line of JSON per request to stderr.

    Raises:
        ConfigError: the address is refused or taken, or two runs are called alike.
        ArtefactError: a folder is no run.
        MissingExtra: FastAPI or uvicorn is not installed.
    """
    tell = tell or Teller()
    is_own = check_address(host, token)
    for module in ("fastapi", "uvicorn"):
        require(module, extra="serve", purpose="attlas serve")
    from attlas.web.app import create_app
    from attlas.web.gate import Limits

    recommenders, door = load_all(folders, tell), listen(host, port)
    name = f"[{host}]" if ":" in host else host
    place = f"http://{name}:{door.getsockname()[1]}"
    tell.say(f"serving {', '.join(recommenders)} at {place}; for programs: {place}/docs; Ctrl-C stops")
    limits = Limits(threads=threads, timeout_seconds=timeout_seconds)
    hosts = tuple(dict.fromkeys((*OWN_NAMES, name))) if is_own and token is None else None
    log = _to_stderr if access_log else None
    run(create_app(recommenders, limits=limits, token=token, hosts=hosts, log=log, when_ready=settle_down(tell)), door)


def settle_down(tell: Teller) -> Callable[[], None]:
    """What to do when everything is loaded and warm."""

    def settle() -> None:
        gc.collect()
        gc.freeze()  # what is loaded stays; looking through it again and again would hold answers up
        tell.say("ready")

    return settle


def run(app: Any, door: socket.socket) -> None:
    """Answer at a socket until a signal comes; SIGTERM ends the service well, SIGINT as Ctrl-C does elsewhere."""
    import torch
    import uvicorn

    torch.set_num_threads(1)  # each thread that answers has a core of its own, and wakes nobody
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn stops at the first and then raises it once more
    quiet: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "ws": "none"}
    bounds: dict[str, Any] = {"limit_concurrency": MOST_CONNECTIONS, "timeout_graceful_shutdown": STOP_SECONDS}
    uvicorn.Server(uvicorn.Config(app, **quiet, **bounds)).run(sockets=[door])


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
