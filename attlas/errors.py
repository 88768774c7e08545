"""Every exception that attlas raises on purpose.

    AttlasError
    ├── DataError          a table, file or frame cannot be understood
    ├── UnknownId          an id that the model has never seen
    ├── ConfigError        a setting that does not exist or does not fit
    ├── TooLarge           a deed predicted to exceed the memory it was given
    ├── TooLate            a computation that went on for longer than anybody waits for it
    ├── ArtefactError      a run folder that is not whole, not ours or not of this version
    ├── MissingExtra       an optional library that is not installed
    └── Interrupted        stopped by the person; what was done is kept

Each message says what came, what was expected and what to do.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class AttlasError(Exception):
    """The root of them all: ``except AttlasError`` catches whatever attlas raises on purpose."""


class DataError(AttlasError):
    """A table, file or frame that cannot be understood as it stands."""


class UnknownId(AttlasError):
    """An id that the model has never seen."""


class ConfigError(AttlasError):
    """A setting that does not exist, or a value that it cannot take."""


class TooLarge(AttlasError):
    """A deed that was predicted to exceed the memory it was given, and so was not begun."""


class TooLate(AttlasError):
    """A computation that went on for longer than anybody waits for it, and so was given up."""


class ArtefactError(AttlasError):
    """A run folder that is not whole, not one of ours or written by another version."""


class MissingExtra(AttlasError):
    """An optional library that this deed needs is not installed."""


class Interrupted(AttlasError):
    """The person stopped a deed; the message says what was kept and how to go on."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint that ends a message about an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(names)}"


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional library, or say which command installs it.

    Raises:
        MissingExtra: the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs {module.split('.')[0]}, which is not installed; install it with: pip install 'attlas[{extra}]'"
        ) from error
