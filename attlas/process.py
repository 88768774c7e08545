"""How the process waits and where its memory goes: settled once, before torch is loaded.

OpenMP's threads spin while they wait for each other. On a machine that others use too, one of them is often without a
core, and the spinning takes the core that it needs: a training step took twenty times as long beside four busy processes.
Threads that sleep at once wake too slowly for small blocks. Spinning for a tenth of a millisecond and then sleeping is as
fast as spinning where nobody disturbs, and nearly as good as sleeping where somebody does; docs/decisions/0007 has figures.

glibc gives large blocks back to the system when they are freed; every batch then pays for fresh pages.
"""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # the names of glibc's mallopt
LARGEST_KEPT_BLOCK = 32 * 2**20  # more than this glibc does not take
KEPT_AT_MOST = 512 * 2**20
SPINS = "5000"


def settle() -> None:
    """Spin briefly, then sleep, unless the person has said otherwise; and keep freed memory for the next batch."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BLOCK)
            mallopt(TRIM_THRESHOLD, KEPT_AT_MOST)
