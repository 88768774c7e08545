"""Whether anybody still waits for what is being computed: computations that may take long ask between their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from attlas.errors import TooLate

_IS_AWAITED: ContextVar[Callable[[], bool] | None] = ContextVar("is_awaited", default=None)


@contextmanager
def while_awaited(is_awaited: Callable[[], bool]) -> Iterator[None]:
    """What this thread computes in the block goes on for as long as the function says so; without a block, to its end."""
    before = _IS_AWAITED.set(is_awaited)
    try:
        yield
    finally:
        _IS_AWAITED.reset(before)


def go_on() -> None:
    """Asked between the steps of what may take long.

    Raises:
        TooLate: nobody waits for it any more.
    """
    is_awaited = _IS_AWAITED.get()
    if is_awaited is not None and not is_awaited():
        raise TooLate("nobody waits for this answer any more; ask for less at once")
