"""How much memory there is, and the refusal of what would not fit."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from attlas.errors import ConfigError, TooLarge

UNITS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # of the container, where there is one


def parse_bytes(text: str | int) -> int:
    """Bytes from text such as ``4GB``, ``512 MiB`` or ``1000000``.

    Raises:
        ConfigError: the text names no size.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-zA-Z]*)\s*", str(text))
    if not match or match[2].lower() not in UNITS:
        raise ConfigError(f"{text!r} is no size of memory; write for instance 4GB or 512MiB")
    return int(float(match[1]) * UNITS[match[2].lower()])


def available_bytes(device: str = "cpu") -> int:
    """The memory that the machine, its container or another device can give now.

    Args:
        device: whose; ``cpu`` is the machine, without swapping where that is known.
    """
    if device == "cpu":
        return min(_of_machine(), _of_container())
    from torch import cuda

    return cuda.mem_get_info(device)[0] + cuda.memory_reserved(device) - cuda.memory_allocated(device)


def _of_machine() -> int:
    if MEMINFO.exists():
        match = re.search(r"MemAvailable:\s+(\d+) kB", MEMINFO.read_text())
        if match:
            return int(match[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_container() -> int:
    """What is left of its limit; pages of files that nobody uses count as free."""
    try:
        limit, used, told = ((CGROUP / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
    except OSError:
        return sys.maxsize
    idle = re.search(r"^inactive_file (\d+)", told, re.MULTILINE)
    return sys.maxsize if limit.strip() == "max" else int(limit) - int(used) + (int(idle[1]) if idle else 0)


def refuse_too_large(what: str, needs: dict[str, int], given: int | None, *, device: str = "cpu") -> None:
    """Refuse a deed by name if what it will hold at once exceeds the memory it was given.

    Args:
        what: the deed, for the message: ``EASE on 35,648 items``.
        needs: bytes by the name of what holds them.
        given: bytes allowed; None means what the device has available.
        device: where they will be held.

    Raises:
        TooLarge: the sum of the needs is more than what was given.
    """
    limit = available_bytes(device) if given is None else given
    total = sum(needs.values())
    if total > limit:
        parts = ", ".join(f"{name}" for name in needs)
        has = "the machine has available" if device == "cpu" else f"{device} has free"
        whose = has if given is None else "it was given"
        raise TooLarge(
            f"{what} needs {readable_bytes(total)} ({parts}), more than the {readable_bytes(limit)} that {whose}; "
            "give it more with --memory, choose a smaller model or leave rare items out"
        )


def readable_bytes(size: int) -> str:
    """A size as a person says it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
