"""What tests of the service share: an app asked in this process, and the runs it serves."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI

import attlas
from attlas.data.labelled import Layout, read_examples
from attlas.recommender import Recommender
from attlas.web.app import create_app
from attlas.web.gate import Limits
from tests.test_fields_run import frame


class Client:
    """Asks an app and waits for the answer; every request runs on one loop, as in the real service."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner):
        self.app, self.runner = app, runner
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def __call__(self, method: str, path: str, **said: Any) -> httpx.Response:
        return self.runner.run(self.http.request(method, path, **said))

    def get(self, path: str, **query: Any) -> httpx.Response:
        """GET with a query."""
        return self("GET", path, params=query)

    def post(self, path: str, **body: Any) -> httpx.Response:
        """POST with a body of JSON."""
        return self("POST", path, json=body)


@contextmanager
def asking(app: FastAPI, *, warm: bool = False) -> Iterator[Client]:
    """A client of the app; warm after its start-up, which ends with the block."""
    with asyncio.Runner() as runner:
        client = Client(app, runner)
        life = app.router.lifespan_context(app)
        if warm:
            runner.run(life.__aenter__())
        yield client
        runner.run(client.http.aclose())
        if warm:
            runner.run(life.__aexit__(None, None, None))


@functools.cache
def club_run() -> Recommender:
    """EASE on a small film club, with titles and held-out rows."""
    return attlas.fit(attlas.simulate(80, 40, seed=3, num_interactions=900).interactions, model="ease", config={"l2": 10.0})


@functools.cache
def fields_run() -> Recommender:
    """FM on labelled rows with a context."""
    rows = read_examples(frame(), Layout(item_fields=("taste",), numbers=("warmth",), bags=("tags",)))
    solver = {"batch_size": 64, "learning_rate": 0.03}
    return attlas.fit(rows, "fm", config={"embedding_dim": 4}, solver=solver, epochs=2)


@functools.cache
def two_runs() -> FastAPI:
    """Both of them, served side by side."""
    return create_app(
        {"ease": club_run(), "fm": fields_run()}, limits=Limits(timeout_seconds=300)
    )  # kernels may need compiling
