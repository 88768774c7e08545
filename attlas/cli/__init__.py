"""The command line: it parses, calls one library function and prints."""

from __future__ import annotations

import sys


def main() -> None:
    """Run a command; exit with 0 when done, 2 for the user's mistake, 130 when interrupted."""
    from attlas.cli.app import app
    from attlas.errors import AttlasError, Interrupted

    try:
        app()
    except Interrupted as stop:
        print(f"attlas: {stop}", file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        print("attlas: stopped", file=sys.stderr)
        sys.exit(130)
    except AttlasError as error:
        print(f"attlas: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
