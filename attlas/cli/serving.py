"""attlas serve: trained runs as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, served side by side.", show_default=False)],
    host: Annotated[str, typer.Option(help="The address; any that others reach wants a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that requests must bring.", show_default="the variable ATTLAS_TOKEN"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Answers computed at once, each on one core.", min=1, max=256)] = 2,
    timeout: Annotated[float, typer.Option(help="Seconds that an answer may take.", min=0.1, max=3600)] = 10.0,
    access_log: Annotated[bool, typer.Option("--access-log", help="One line of JSON per request on stderr.")] = False,
) -> None:
    """A page to look at the lists and ask why, and the same over HTTP as JSON.

    Example: [bold]attlas serve runs/delf runs/ease[/bold], then open http://127.0.0.1:8000

    Whoever is not on this computer needs a token: [bold]ATTLAS_TOKEN=... attlas serve runs/delf --host 0.0.0.0[/bold]
    """
    from attlas.telling import Terminal
    from attlas.web.server import find_token
    from attlas.web.server import serve as answer

    answer(
        runs,
        host=host,
        port=port,
        token=find_token(token_file),
        threads=threads,
        timeout_seconds=timeout,
        access_log=access_log,
        tell=Terminal(),
    )
