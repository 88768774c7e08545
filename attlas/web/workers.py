"""Where answers are computed: a few threads beside the one that talks, a bounded queue before them, and a limit of time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numba
import numpy as np

from attlas.awaiting import go_on, while_awaited
from attlas.errors import AttlasError, TooLate
from attlas.ops.topk import top_k

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
        turn: held while an answer is computed; see ``turn_of``.
    """

    def __init__(self, threads: int, waiting: int, timeout_seconds: float, turn: AbstractContextManager[Any] | None = None):
        self.timeout_seconds, self.turn = timeout_seconds, turn or nullcontext()
        self._pool = ThreadPoolExecutor(threads, "answer", initializer=numba.set_num_threads, initargs=(1,))
        self._places = threading.Semaphore(threads + waiting)
        self._is_closed = False

    async def run(self, deed: Callable[[], Answer], *, timeout_seconds: float | None = None) -> Answer:
        """What the deed returns, or raises.

        A deed that is late is not begun any more, or, once begun, ends unheard at its next step; see ``attlas.awaiting``.

        Args:
            timeout_seconds: another limit than usual.

        Raises:
            TooBusy: so many are waiting that this one was not let in.
            TooSlow: it took longer than it may.
        """
        if not self._places.acquire(blocking=False):
            raise TooBusy("too many requests are waiting; ask again in a second, or start the service with more --threads")
        limit = timeout_seconds or self.timeout_seconds
        done = self._pool.submit(self._in_turn, deed, time.monotonic() + limit)
        done.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(limit):
                return await asyncio.wrap_future(done)
        except (TimeoutError, TooLate) as error:
            raise TooSlow(f"no answer within {limit:g} seconds; ask for less at once, or raise --timeout") from error

    def _in_turn(self, deed: Callable[[], Answer], until: float) -> Answer:
        with self.turn, while_awaited(lambda: not self._is_closed and time.monotonic() < until):
            go_on()  # its turn may have come too late
            return deed()

    def close(self) -> None:
        """Begin nothing more, and let what is being computed end at its next step."""
        self._is_closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def turn_of() -> AbstractContextManager[Any]:
    """What a thread holds while it computes: nothing, or a lock where numba's parallel loops bear one caller at a time.

    That is its simplest way to run them, which it takes where it finds no OpenMP; two callers at once would end the process.
    """
    top_k(np.zeros((1, 1), np.float32), 1)  # which way it takes, numba decides at the first loop
    return threading.Lock() if numba.threading_layer() == "workqueue" else nullcontext()
