"""A small web server on this machine that can go on in the middle, forget how, break off, be slow or refuse."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What the server has and how it behaves.

    Attributes:
        files: bodies by path.
        tag: the ETag of all of them; None sends neither tag nor date.
        ranges: whether it goes on in the middle.
        status: answered instead of a file, if not 200.
        break_after: end the connection after so many bytes of a body.
        silent: say nothing for so many seconds.
        kind: the Content-Type.
        slow: seconds between blocks of 64 KiB.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    tag: str | None = '"one"'
    ranges: bool = True
    status: int = 200
    break_after: int | None = None
    silent: float = 0.0
    kind: str = "application/octet-stream"
    slow: float = 0.0
    base: str = ""
    done: list[tuple[str, str | None, int, int]] = field(default_factory=list)
    begun: int = 0

    @property
    def log(self) -> list[tuple[str, str | None, int, int]]:
        """(path, the Range that was asked for, status, bytes sent) of each answer, once all that have begun are done."""
        until = time.monotonic() + 20
        while len(self.done) < self.begun:
            assert time.monotonic() < until, "an answer has not ended within 20 seconds"
            time.sleep(0.005)
        return self.done

    def address(self, name: str) -> str:
        """Where a file is."""
        return f"{self.base}/{name}"


@contextmanager
def serving() -> Iterator[Site]:
    """A server that lives as long as the block."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            answer(self, site)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    site.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    """One answer in the way the site is set."""
    site.begun += 1
    time.sleep(site.silent)
    handler.close_connection = True
    body, asked = site.files.get(handler.path.lstrip("/")), handler.headers.get("Range")
    status = 404 if body is None else site.status
    start = 0
    if status == 200 and body is not None and asked and site.ranges and handler.headers.get("If-Range") == site.tag:
        start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
    body = b"" if body is None or status not in (200, 206) else body
    handler.send_response(status)
    handler.send_header("Content-Type", site.kind)
    if site.tag:
        handler.send_header("ETag", site.tag)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    end, sent = len(body) if site.break_after is None else min(len(body), start + site.break_after), start
    try:
        while sent < end:
            sent += handler.wfile.write(body[sent : min(end, sent + (1 << 16))])
            time.sleep(site.slow)
    except OSError:
        pass
    site.done.append((handler.path, asked, status, sent - start))
