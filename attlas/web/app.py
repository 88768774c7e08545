"""The service: recommendations, reasons and searches as JSON, from any number of runs side by side."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from attlas.errors import AttlasError, UnknownId
from attlas.recommender import Recommender
from attlas.web import schemas
from attlas.web.assets import add_page
from attlas.web.docs import page_of
from attlas.web.gate import Gate, Limits, refuse
from attlas.web.served import Shelf
from attlas.web.workers import TooBusy, TooSlow, Workers, turn_of

WARM_UP_SECONDS = 600.0
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "description": meaning}
    for status, meaning in {
        400: "The body is no JSON, or the service is not called so.",
        401: "A token is needed.",
        404: "A model, a user or an item is not known.",
        408: "The body did not arrive in time.",
        413: "The body is too long.",
        422: "The request cannot be understood, or the model cannot do what it asks for.",
        503: "Too many requests are waiting, or the answer took too long.",
    }.items()
}


def create_app(
    recommenders: Mapping[str, Recommender],
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    log: Callable[[str], None] | None = None,
    when_ready: Callable[[], None] | None = None,
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        recommenders: what is served, by name; the first answers where a request names none.
        limits: what is allowed.
        token: what every request must bring, but for the paths of ``gate.OPEN``, which tell nothing of a run; None for nothing.
        hosts: the names by which a browser may call the service; None for any.
        log: told one line of JSON per request.
        when_ready: called once, when all that is made on first use has been made.

    Raises:
        ConfigError: there is nothing to serve.
    """
    limits = limits or Limits()
    turn = turn_of()
    quick, slow = (Workers(at_once, limits.waiting, limits.timeout_seconds, turn) for at_once in (limits.threads, 1))
    api = Api(Shelf(recommenders), quick, slow)

    about: dict[str, Any] = {"title": "attlas", "version": version("attlas"), "description": (__doc__ or "").split("\n")[0]}
    app = FastAPI(**about, lifespan=lambda _: api.living(when_ready), docs_url=None, redoc_url=None, redirect_slashes=False)
    api.add_to(app)
    app.add_middleware(Gate, limits=limits, token=token, hosts=hosts, log=log)
    for kind, answer in SAID.items():
        app.add_exception_handler(kind, answer)
    return app


class Api:
    """The paths of the service.

    Args:
        shelf: the runs.
        quick: who computes most answers.
        slow: who computes those that may take long.
    """

    def __init__(self, shelf: Shelf, quick: Workers, slow: Workers):
        self.shelf, self.quick, self.slow = shelf, quick, slow
        self.is_ready = False

    def add_to(self, app: FastAPI) -> None:
        """Give every path its answer."""
        self.app = app
        app.add_api_route("/health", self.health, response_model=schemas.State, tags=["state"])
        not_ready: dict[int | str, dict[str, Any]] = {503: {"model": schemas.State, "description": "Not yet."}}
        app.add_api_route("/ready", self.ready, response_model=schemas.State, responses=not_ready, tags=["state"])
        app.add_api_route("/docs", self.docs, include_in_schema=False)
        add_page(app)
        asked: dict[str, tuple[Any, Any]] = {
            "/api/recommend": (self.recommend, schemas.Recommended),
            "/api/recommend-for": (self.recommend_for, schemas.RecommendedFor),
            "/api/batch": (self.batch, schemas.Lists),
            "/api/explain": (self.explain, schemas.Explained),
            "/api/similar": (self.similar, schemas.Alike),
        }
        looked_up: dict[str, tuple[Any, Any]] = {
            "/api/models": (self.models, schemas.Models),
            "/api/search": (self.search, schemas.Found),
            "/api/user/{id:path}": (self.user, schemas.History),
        }
        for method, paths, tag in (("POST", asked, "answers"), ("GET", looked_up, "what there is")):
            for path, (answer, model) in paths.items():
                about: dict[str, Any] = {"response_model": model, "responses": PROBLEMS, "tags": [tag]}
                app.add_api_route(path, answer, methods=[method], **about)

    @asynccontextmanager
    async def living(self, when_ready: Callable[[], None] | None) -> AsyncIterator[None]:
        """From the first request to the last; warming up goes on meanwhile."""
        warming = asyncio.create_task(self.warm(when_ready))
        warming.add_done_callback(_tell_of_failure)
        yield
        warming.cancel()
        self.quick.close()
        self.slow.close()

    async def warm(self, when_ready: Callable[[], None] | None) -> None:
        """Make what is made on first use, then be ready."""
        for run in self.shelf.runs.values():
            await self.quick.run(run.warm, timeout_seconds=WARM_UP_SECONDS)
        self.is_ready = True
        if when_ready:
            when_ready()

    async def health(self) -> Response:
        """Whether the service is there; needs no token."""
        return _json({"status": "alive"})

    async def ready(self) -> Response:
        """Whether the runs are loaded and warm; needs no token."""
        return _json({"status": "ready"}) if self.is_ready else _json({"status": "warming up"}, 503)

    async def docs(self) -> Response:
        """What can be asked, as a page that needs nothing from elsewhere."""
        return HTMLResponse(page_of(self.app.openapi()))

    async def models(self) -> Response:
        """What is served."""
        return _json({"models": await self.quick.run(lambda: [run.facts() for run in self.shelf.runs.values()])})

    async def recommend(self, asked: schemas.Recommend) -> Response:
        """The best items for one user, best first."""
        return await self._answered(asked, lambda run, said: run.recommend(**said), self.quick)

    async def recommend_for(self, asked: schemas.RecommendFor) -> Response:
        """The best items for a stranger who has chosen the given items."""
        return await self._answered(asked, lambda run, said: run.recommend_for(**said), self.quick)

    async def batch(self, asked: schemas.Batch) -> Response:
        """The best items for each of several users."""
        return await self._answered(asked, lambda run, said: run.batch(**said), self.slow)

    async def explain(self, asked: schemas.Explain) -> Response:
        """Why an item stands where it stands, for a user or for a stranger with a history."""
        return await self._answered(asked, lambda run, said: run.explain(**said), self.slow)

    async def similar(self, asked: schemas.Similar) -> Response:
        """The items most like one item, without it."""
        return await self._answered(asked, lambda run, said: run.similar(**said), self.quick)

    async def search(
        self,
        kind: Literal["item", "user"],
        q: Annotated[str, Query(max_length=schemas.LONGEST_TEXT)] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        model: Annotated[str | None, Query(max_length=schemas.LONGEST_TEXT)] = None,
    ) -> Response:
        """Items or users whose id or title holds a text; without a text those with most interactions."""
        run = self.shelf.find(model)
        return _json(await self.quick.run(lambda: run.search(kind, q, limit)))

    async def user(
        self,
        id: Annotated[str, Path(max_length=schemas.LONGEST_TEXT)],
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
        model: Annotated[str | None, Query(max_length=schemas.LONGEST_TEXT)] = None,
    ) -> Response:
        """What a user has chosen, with titles."""
        run = self.shelf.find(model)
        return _json(await self.quick.run(lambda: run.history(id, limit)))

    async def _answered(self, asked: schemas.Question, deed: Callable[..., dict[str, Any]], workers: Workers) -> Response:
        run = self.shelf.find(asked.model)
        said = {name: value for name, value in asked if name != "model" and value is not None}
        return _json(await workers.run(lambda: deed(run, said)))


def _tell_of_failure(warming: asyncio.Task[None]) -> None:
    """A service that cannot get warm stays unready, and its log says why."""
    if not warming.cancelled() and (failure := warming.exception()) is not None:
        warming.get_loop().call_exception_handler({"message": "warming up failed", "exception": failure, "task": warming})


def _json(found: Any, status: int = 200) -> Response:
    """Plain data as strict JSON: a score that is no number is null."""
    try:
        text = json.dumps(found, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(found), allow_nan=False)
    return Response(text, status, media_type="application/json")


def _finite(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _finite(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_finite(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


async def _invalid(_: Request, error: Any) -> Response:
    """Where the request is wrong, and what was expected there; what came is not repeated, for it may be anything."""
    first = error.errors()[0]
    where = ".".join(str(part)[:50] for part in first["loc"][1:])
    said = str(first["msg"]).removeprefix("Value error, ")[:300]
    return refuse(422, f"{where}: {said}" if where else said)


async def _refused(_: Request, error: Any) -> Response:
    status = error.status_code
    said = {404: "there is nothing at this path; /docs says what there is", 405: "this path is asked in another way; see /docs"}
    said |= {400: "the body is no JSON that can be read; send an object in UTF-8"}
    return refuse(status, said.get(status, str(error.detail)), error.headers)


async def _mistaken(_: Request, error: Any) -> Response:
    if isinstance(error, TooBusy | TooSlow):
        return refuse(503, str(error), {"Retry-After": "1"})
    return refuse(404 if isinstance(error, UnknownId) else 422, str(error))


async def _broken(_: Request, error: Any) -> Response:
    return refuse(500, "the service failed at this request; its log says where")


SAID: dict[type[Exception], Any] = {
    RequestValidationError: _invalid,
    HTTPException: _refused,
    AttlasError: _mistaken,
    Exception: _broken,
}
