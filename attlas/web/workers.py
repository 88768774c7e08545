"""Where answers are computed: a few threads beside the one that talks, a bounded queue before them, and a limit of time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba

from attlas.errors import AttlasError

Answer = TypeVar("Answer")


class TooBusy(AttlasError):
    """More requests are waiting than the service was allowed to keep."""


class TooSlow(AttlasError):
    """An answer took longer than the service was allowed to take."""


class Workers:
    """Threads that compute answers, each on one core.

    Args:
        threads: how many answers are computed at once.
        waiting: how many more may wait.
        timeout_seconds: how long an answer may take, waiting included.
    """

    def __init__(self, threads: int, waiting: int, timeout_seconds: float):
        self.timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(threads, "answer", initializer=numba.set_num_threads, initargs=(1,))
        self._places = threading.Semaphore(threads + waiting)

    async def run(self, deed: Callable[[], Answer], *, timeout_seconds: float | None = None) -> Answer:
        """What the deed returns, or raises.

        A deed that is late is not begun any more, or, once begun, ends unheard and keeps its thread until then.

        Args:
            timeout_seconds: another limit than usual.

        Raises:
            TooBusy: so many are waiting that this one was not let in.
            TooSlow: it took longer than it may.
        """
        if not self._places.acquire(blocking=False):
            raise TooBusy("too many requests are waiting; ask again in a second, or start the service with more --threads")
        done = self._pool.submit(deed)
        done.add_done_callback(lambda _: self._places.release())
        limit = timeout_seconds or self.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await asyncio.wrap_future(done)
        except TimeoutError as error:
            raise TooSlow(f"no answer within {limit:g} seconds; ask for less at once, or raise --timeout") from error

    def close(self) -> None:
        """Let what is being computed end, and begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
