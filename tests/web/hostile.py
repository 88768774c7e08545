"""Requests that nobody should send, made by hand and by chance; also what benchmarks/malformed.py sends."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

PATHS = ("/api/recommend", "/api/recommend-for", "/api/batch", "/api/explain", "/api/similar")
NAMES = ("user", "users", "item", "history", "k", "top", "model", "candidates", "context", "features", "unknown", "method")
JSON = "application/json"


class Request(NamedTuple):
    """A request as it goes out."""

    method: str
    path: str
    body: bytes = b""
    kind: str = JSON


def whole(path: str) -> dict[str, Any]:
    """A body that the path would take, of ids that the film club knows."""
    return {
        "/api/recommend": {"user": "m17", "k": 3},
        "/api/recommend-for": {"history": ["f4", "f10"], "k": 3},
        "/api/batch": {"users": ["m17", "m3"], "k": 3},
        "/api/explain": {"user": "m17", "item": "f10"},
        "/api/similar": {"item": "f10", "k": 3},
    }[path]


# Values in the spelling of JSON, or of what somebody took for JSON; those without spaces, then the others.
WORDS = r"""
null true false 0 -1 1.5 1e999 -1e999 NaN Infinity -Infinity 01 +1 1_000 0x10 1e400 -0.0 1.0 undefined 'm17' "" "\u0000"
9223372036854775807 9223372036854775808 -9223372036854775809 "\ud800" "\udfff\ud800" "f4\n" "../../etc/passwd" "<script>"
"%00" "ي" "１７" "\ud83d\ude00" [] {} [[]] [""] [null] [true] [1.5] ["f4",["f4"]] ["\ud800"] {"a":{"b":[]}} {"hour":NaN}
{"hour":{}} {"hour":true} {"":1} {"\ud800":"\ud800"}
"""
ODD_VALUES = [
    *(*WORDS.split(), "", " ", "\ufeff1", '" "', "1" * 400, "1" * 5000, json.dumps("x" * 257), json.dumps("x" * 100_000)),
    *("[" * 2000 + "]" * 2000, '{"a":' * 900 + "1" + "}" * 900, json.dumps([1] * 10_001)),
    *(json.dumps([f"f{place}" for place in range(300)]), json.dumps({f"a{place}": 1 for place in range(65)})),
]
SPOILT = rb"""
{ } {] nul " {"user" {"user": {"user"_"m17"} [1,2 null 1 "m17" [] {} [{"user":"m17"}] {}{} {"user":"m17","user":1}
{"__proto__":{}} <xml/> user=m17&k=3
"""
ODD_BODIES = [
    *(*SPOILT.split(), b"", b" ", b"\x00", b"\xff\xfe", b'{"user": "\xff"}', b'{"\xff": 1}', b"\xef\xbb\xbf{}"),
    *(b"[" * 100_000, b'{"a":' * 50_000, b" " * 1_100_000, b"0" * 1_048_576),
    *('{"user": "m17"}'.encode(code) for code in ("utf-16", "utf-32")),
]
ODD_KINDS = ["", "text/plain", "application/xml", "application/json;charset=utf-16", "multipart/form-data", "/", "a" * 300]
ASTRAY = """
/api /api/ /api/recommend/ //api/recommend /api/../health /API/recommend /api/recommend%00 /%ff /docs/ /?q=(((( /api/models?x=1
/api/user/ /api/user/%2e%2e%2f /api/user/%ff%fe /api/user/%00 /api/user/%ed%a0%80 /api/user/m17?limit=0 /openapi.json?x=%
/api/user/m17?limit=99999999999999999999 /api/user/m17?limit=nan /api/user/m17?model=%ff /api/search /api/search?kind=film&q=a
/api/search?kind=item&q=%ff%00 /api/search?kind=item&q=%ed%a0%80 /api/search?kind=item&limit=-1 /api/search?kind=item&limit=1e3
/api/search?kind=item&kind=user /api/search?q[]=a&kind=item
"""
ODD_PATHS = [*ASTRAY.split(), *(start + "x" * 300 for start in ("/api/user/", "/api/search?kind=item&q=", "/"))]
METHODS = ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")


def by_hand() -> Iterator[Request]:
    """Each field of each path with each odd value; each path with each odd body, kind and method; each odd path."""
    for path in PATHS:
        for name in (*NAMES, "exclude_seen", "nonsense"):
            for value in ODD_VALUES:
                kept = {other: known for other, known in whole(path).items() if other != name}
                yield Request("POST", path, (json.dumps(kept)[:-1] + f', "{name}": {value}}}').encode("utf-8", "surrogatepass"))
        for body in ODD_BODIES:
            yield Request("POST", path, body)
        for kind in ODD_KINDS:
            yield Request("POST", path, json.dumps(whole(path)).encode(), kind)
        for method in METHODS:
            yield Request(method, path, json.dumps(whole(path)).encode())
    for path in ODD_PATHS:
        for method in ("GET", "POST", "BREW"):
            yield Request(method, path)


def by_chance(seed: int) -> Iterator[Request]:
    """Without end: whole bodies with bytes of them changed, doubled, dropped or cut, or with fields swapped and misspelt."""
    rng = random.Random(seed)
    while True:
        path = rng.choice(PATHS)
        said: dict[str, Any] = {**whole(path), rng.choice(NAMES): rng.choice([*whole(path).values(), None, [], {}, -1, 2**70])}
        if rng.random() < 0.3:
            said[rng.choice(list(said)) + rng.choice("sx_ ")] = said.pop(rng.choice(list(said)))
        body = bytearray(json.dumps(said).encode())
        for _ in range(rng.choice((0, 1, 1, 2, 8))):
            place = rng.randrange(len(body))
            change = rng.choice(("byte", "double", "drop", "cut"))
            if change == "byte":
                body[place] = rng.randrange(256)
            elif change == "double":
                body[place:place] = body[place : place + rng.randrange(1, 20)]
            elif change == "drop":
                del body[place : place + rng.randrange(1, 5)]
            else:
                del body[place:]
            body = body or bytearray(b"{")
        yield Request("POST", path, bytes(body))
