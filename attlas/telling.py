"""What a long deed tells the person who waits for it: sentences and bars on stderr, or nothing; and what they may type."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Bar:
    """Progress of one deed; this one shows nothing."""

    def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """So much is done; the note stands beside the bar."""


class Teller:
    """Tells nothing: for libraries and tests."""

    def say(self, sentence: str) -> None:
        """One sentence for the person."""

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """A bar that lives as long as its ``with`` block."""
        yield Bar()


class Terminal(Teller):
    """Tells on stderr, so that stdout stays clean for answers."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print one line."""
        self.console.print(sentence, markup=False)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """A live bar with elapsed and remaining time; nothing where stderr is no terminal."""
        if not self.console.is_terminal:
            yield Bar()
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
        with Progress(
            *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self.console
        ) as progress:
            yield _LiveBar(progress, progress.add_task(label, total=total, note=""))


class _LiveBar(Bar):
    def __init__(self, progress: Any, task: Any):
        self.progress, self.task = progress, task

    def update(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """Move the bar and change its note."""
        self.progress.update(self.task, completed=done, note=note, total=total)


def typed(path: str | Path) -> str:
    """A path as it is typed into a shell: quoted where it holds a blank, or whatever else a shell reads."""
    return shlex.quote(str(path))


def default_teller() -> Teller:
    """A terminal where a person watches, silence elsewhere."""
    return Terminal() if sys.stderr is not None and sys.stderr.isatty() else Teller()
