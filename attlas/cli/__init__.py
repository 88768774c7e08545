"""The command line: it parses, calls one library function and prints."""

from __future__ import annotations

import os
import sys
from typing import Any


def main() -> None:
    """Run a command; exit with 0 when done, 2 for the user's mistake, 130 when interrupted."""
    try:
        from typer import BadParameter

        from attlas.cli.app import app
        from attlas.errors import AttlasError, Interrupted

        misuse: type[Exception] = BadParameter.__bases__[0]  # typer has click inside or beside it; this is its UsageError
        try:
            code = app(standalone_mode=False)
            sys.stdout.flush()
            if code == 130:
                raise KeyboardInterrupt
            sys.exit(code if isinstance(code, int) else 0)
        except Interrupted as stop:
            _fail(str(stop), 130)
        except AttlasError as error:
            _fail(str(error), 2)
        except misuse as error:
            _explain_misuse(error)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain_misuse(error: Any) -> None:
    said = " ".join(error.format_message().rstrip(".").split())
    if not said or len(sys.argv) < 2:  # help was shown instead
        sys.exit(0)
    _fail(f"{said}; see {error.ctx.command_path if error.ctx else 'attlas'} --help", 2)


def _fail(sentence: str, code: int) -> None:
    print(f"attlas: {sentence}", file=sys.stderr)
    sys.exit(code)
