"""Locks between processes that a kill releases: files locked by whoever holds them open."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait for one's turn, and have it for as long as the ``with`` block lives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claim(path: Path) -> IO[str] | None:
    """A file that is this process's until it is closed; None if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
