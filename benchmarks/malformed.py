"""Ten thousand requests that nobody should send, to a service as users start it: it must refuse them, not fail or fall.

Up to a half is made by hand, a quarter by schemathesis from the service's own OpenAPI document, of what it forbids and what it
allows, and the rest by spoiling good bodies by chance. Every answer is counted by its status; what is no answer, a 5xx or a
refusal without a sentence is a failure and printed. At the end the service must still answer.

    python benchmarks/malformed.py [--requests 10000]
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import attlas  # noqa: F401  (before torch)

# isort: split
import requests as wire
from hypothesis import HealthCheck, Phase, given, settings
from machine import record
from schemathesis import GenerationMode, openapi
from serve import facts_of, served

from tests.web.asking import club_run, fields_run
from tests.web.hostile import Request, by_chance, by_hand

SECONDS = 60.0


class Line:
    """A connection that is made again whenever the service has closed it, as it may after what it could not read."""

    def __init__(self, port: int):
        self.port, self.kept = port, http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)

    def ask(self, request: Request) -> tuple[int, bytes]:
        """Status and body of the answer."""
        target = request.path.encode("utf-8", "surrogatepass").decode("latin-1")
        headers = {"Content-Type": request.kind} if request.kind else {}
        for is_last in (False, True):
            try:
                self.kept.request(request.method, target.replace(" ", "%20"), request.body, headers)
                answer = self.kept.getresponse()
                return answer.status, answer.read()
            except (ConnectionError, http.client.HTTPException):
                self.kept.close()
                if is_last:
                    raise
        raise AssertionError


def by_schema(document: dict[str, Any], count: int) -> list[Request]:
    """What schemathesis makes of the service's own description: for each path as many that it forbids as that it allows."""
    operations = [found.ok() for found in openapi.from_dict(document).get_all_operations()]
    parts = [
        (operation, mode)
        for operation in operations
        for mode in GenerationMode
        if operation.body or operation.query or operation.path_parameters
    ]
    return [request for part in parts for request in _drawn(*part, count // len(parts) + 1)][:count]


def _drawn(operation: Any, mode: GenerationMode, count: int) -> list[Request]:
    made: list[Request] = []

    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def draw(case: Any) -> None:
        made.append(_prepared(case))

    draw()
    return made


def _prepared(case: Any) -> Request:
    """A case as it would go out."""
    said = case.as_transport_kwargs(base_url="http://127.0.0.1")
    kept = {name: said[name] for name in ("method", "url", "headers", "params", "json", "data") if name in said}
    out = wire.Request(**kept).prepare()
    body = out.body or b""
    return Request(out.method or "GET", out.path_url, body if isinstance(body, bytes) else body.encode(), "application/json")


def sent(line: Line, requests: Iterable[Request]) -> tuple[Counter[int], list[str]]:
    """How many answers there were of each status, and what failed."""
    counted: Counter[int] = Counter()
    failed = []
    for request in requests:
        try:
            status, body = line.ask(request)
        except (OSError, http.client.HTTPException) as error:
            failed.append(f"{request.method} {request.path[:80]} {request.body[:80]!r}: {type(error).__name__} {error}")
            continue
        counted[status] += 1
        says_why = status < 400 or request.method == "HEAD" or _sentence(body)
        if status >= 500 or not says_why:
            failed.append(f"{request.method} {request.path[:80]} {request.body[:80]!r}: {status} {body[:200]!r}")
    return counted, failed


def _sentence(body: bytes) -> bool:
    """Whether a refusal is ours, or that of the server below us, which could not read the request at all."""
    return body == b"Invalid HTTP request received." or list(json.loads(body)) == ["error"]


def main() -> None:
    """One line of counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000)
    wanted = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as place:
        runs = [club_run().save(Path(place) / "ease"), fields_run().save(Path(place) / "fm")]
        with served(*runs) as (port, process):
            line, began = Line(port), time.perf_counter()
            document = json.loads(line.ask(Request("GET", "/openapi.json"))[1])
            hand, schema = list(by_hand()), by_schema(document, wanted // 4)
            hand = random.Random(1).sample(hand, min(len(hand), wanted // 2))
            chance = itertools.islice(by_chance(1), wanted - len(hand) - len(schema))
            sources = {"by hand": hand, "by schema": schema, "by chance": chance}
            before = facts_of(process)[1]
            found = {name: sent(line, requests) for name, requests in sources.items()}
            good = line.ask(Request("POST", "/api/recommend", b'{"user": "m17", "k": 3}'))[0]
            after = facts_of(process)[1]
    statuses = sum((counted for counted, _ in found.values()), Counter[int]())
    failed = [one for _, some in found.values() for one in some]
    print(*failed, sep="\n", file=sys.stderr)
    what = {"what": "malformed requests over HTTP", "requests": sum(statuses.values()), "failed": len(failed)}
    what |= {"statuses": {str(status): count for status, count in sorted(statuses.items())}, "answers_after": good == 200}
    what |= {"rss_mib": [round(before, 1), round(after, 1)], "wall_s": round(time.perf_counter() - began, 1)}
    record("malformed", [{**what, "sources": {name: counted.total() for name, (counted, _) in found.items()}}])
    sys.exit(bool(failed) or good != 200)


if __name__ == "__main__":
    main()
