"""The page that a person opens at ``/``, and the files it is made of: nothing else is fetched, from here or elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import FastAPI
from fastapi.responses import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
LOOK = "/page/report.css"  # the reports' own: colours, type, cards


def places() -> Iterator[tuple[str, Traversable]]:
    """Every path and the file that is given there."""
    yield LOOK, files("attlas.page").joinpath("page.css")
    for file in sorted(files("attlas.web.page").iterdir(), key=lambda file: file.name):
        if _kind(file):
            yield "/" if file.name == "page.html" else f"/page/{file.name}", file


def add_page(app: FastAPI) -> None:
    """Give the page and its files their paths. They hold no data and so need no token; what they ask for does."""
    for path, file in places():
        app.add_api_route(path, _giving(file.read_bytes(), _kind(file) or ""), include_in_schema=False)


def _kind(file: Traversable) -> str | None:
    return KINDS.get(file.name.rpartition(".")[2])


def _giving(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def give() -> Response:
        return Response(content, headers=HEADERS, media_type=kind)

    return give
