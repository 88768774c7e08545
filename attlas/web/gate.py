"""What stands before the service: who may come in, how much they may bring, how long they may take; and the log of it.

Plain ASGI, since every request passes here and a layer that wraps requests in objects would cost as much as an answer.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from attlas.web.assets import places

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/health", "/ready", "/docs", "/openapi.json", *(path for path, _ in places())})


@dataclass(frozen=True)
class Limits:
    """What one service allows.

    Attributes:
        threads: how many answers are computed at once, each on one core; one thread more computes what may take long, reasons
            and batches, so that nobody's list waits for them.
        waiting: how many more requests may wait for a thread.
        timeout_seconds: how long an answer may take, waiting included; and how long a body may take to arrive.
        body_bytes: how long a body may be.
    """

    threads: int = 2
    waiting: int = 64
    timeout_seconds: float = 10.0
    body_bytes: int = 2**20


class Gate:
    """Lets a request through to the service, or refuses it with one sentence.

    Args:
        app: the service.
        limits: what is allowed.
        token: what requests must bring as ``Authorization: Bearer TOKEN``, but for the paths in ``OPEN``; None for nothing.
        hosts: the names under which a browser may know the service, so that no foreign page can lead one here by a name of
            its own; None for any.
        log: told one line of JSON per request, or None.
    """

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        token: str | None = None,
        hosts: Collection[str] | None = None,
        log: Callable[[str], None] | None = None,
    ):
        self.app, self.token, self.hosts, self.log = app, token, hosts, log
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; or the start and the end of the service, which pass."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, told = time.perf_counter(), {"status": 500, "bytes": 0}

        async def noting(message: Message) -> None:
            told["status"] = message.get("status", told["status"])
            told["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            refusal = self._refusal(scope)
            await (refusal(scope, receive, noting) if refusal else self.app(scope, self._limited(receive), noting))
        finally:
            if self.log is not None:
                moment = datetime.now(UTC).isoformat(timespec="milliseconds")
                asked = {"time": moment, "method": scope["method"], "path": scope["path"]}
                self.log(json.dumps({**asked, **told, "ms": round(1000 * (time.perf_counter() - began), 2)}))
        return None

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request may not come in, judged by its headers alone; None where it may."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and _without_port(host) not in self.hosts:
            return refuse(
                400, f"this service is called {' or '.join(self.hosts)} here, not {host[:100]!r}; ask it by that name"
            )
        if self.token is not None and scope["path"] not in OPEN and not self._is_known(headers.get(b"authorization", b"")):
            said = "a token is needed; send it as the header Authorization: Bearer TOKEN"
            return refuse(401, said, {"WWW-Authenticate": "Bearer"})
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self.limits.body_bytes:
            return refuse(413, self._too_long())
        return None

    def _is_known(self, credential: bytes) -> bool:
        scheme, _, token = credential.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), (self.token or "").encode())

    def _limited(self, receive: Receive) -> Receive:
        """The body as it arrives, as long as it is neither too long nor, as a whole, too slow."""
        arrived, is_whole = 0, False
        until = asyncio.get_running_loop().time() + self.limits.timeout_seconds

        async def limited() -> Message:
            nonlocal arrived, is_whole
            if is_whole:  # what comes now is that they left
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408, f"the body did not arrive within {self.limits.timeout_seconds:g} seconds; send it again"
                ) from error
            arrived += len(message.get("body", b""))
            if arrived > self.limits.body_bytes:
                raise HTTPException(413, self._too_long())
            is_whole = not message.get("more_body", False)
            return message

        return limited

    def _too_long(self) -> str:
        return f"the body is longer than the {self.limits.body_bytes:,} bytes that are allowed; ask for less at once"


def refuse(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that says what is wrong; in ASCII, which spells whatever came."""
    return Response(json.dumps({"error": sentence}), status, headers, "application/json")


def _without_port(host: str) -> str:
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
