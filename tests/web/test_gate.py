"""Who may come in, how much they may bring and how long they may take."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from attlas.errors import ConfigError
from attlas.web.app import create_app
from attlas.web.gate import Limits
from tests.web.asking import asking, club_run

TOKEN = "a token of some length"
HEADERS = {"Content-Type": "application/json"}


def test_with_a_token_only_what_holds_nothing_of_a_run_is_open() -> None:
    with asking(create_app({"ease": club_run()}, token=TOKEN)) as client:
        assert client.get("/ready").status_code == 503
        for path in ("/health", "/", "/docs", "/openapi.json"):  # the page leads to the last two, and no link brings a token
            assert client.get(path).status_code == 200, path
        for path in ("/api/models", "/api/user/m17", "/nothing", "/health/", "/docs/"):
            refused = client.get(path)
            assert refused.status_code == 401, path
            assert "Authorization: Bearer TOKEN" in refused.json()["error"]
            assert refused.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("credential", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ä"])
def test_a_wrong_token_is_refused(credential: str) -> None:
    with asking(create_app({"ease": club_run()}, token=TOKEN)) as client:
        headers = {"Authorization": credential.encode("latin-1")}
        assert client("GET", "/api/models", headers=headers).status_code == 401


def test_the_token_lets_in() -> None:
    with asking(create_app({"ease": club_run()}, token=TOKEN)) as client:
        assert client("GET", "/api/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client("GET", "/api/models", headers={"authorization": f"bearer  {TOKEN} "}).status_code == 200


@pytest.mark.parametrize(("host", "status"), [("localhost:8000", 200), ("[::1]:8000", 200), ("evil.example", 400), ("", 400)])
def test_a_service_for_this_computer_is_not_asked_by_a_foreign_name(host: str, status: int) -> None:
    with asking(create_app({"ease": club_run()}, hosts=("localhost", "[::1]"))) as client:
        assert client("GET", "/health", headers={"Host": host}).status_code == status


def test_a_body_that_is_too_long_is_refused_by_its_header_and_as_it_arrives() -> None:
    limits = Limits(body_bytes=100)

    async def in_parts() -> Any:
        for _ in range(20):
            yield b" " * 10

    with asking(create_app({"ease": club_run()}, limits=limits)) as client:
        at_once = client("POST", "/api/recommend", content=b" " * 101, headers=HEADERS)
        slowly = client("POST", "/api/recommend", content=in_parts(), headers=HEADERS)
        for refused in (at_once, slowly):
            assert refused.status_code == 413
            assert refused.json() == {"error": "the body is longer than the 100 bytes that are allowed; ask for less at once"}
        assert client.post("/api/recommend", user="m17").status_code == 200


def test_a_body_that_arrives_too_slowly_is_refused() -> None:
    async def never_ending() -> Any:
        yield b"{"
        await asyncio.sleep(30)

    with asking(create_app({"ease": club_run()}, limits=Limits(timeout_seconds=0.1))) as client:
        refused = client("POST", "/api/recommend", content=never_ending(), headers=HEADERS)
    assert refused.status_code == 408
    assert "did not arrive within 0.1 seconds" in refused.json()["error"]


def test_a_body_that_trickles_is_too_slow_as_a_whole() -> None:
    async def trickling() -> Any:
        for _ in range(40):
            yield b" "
            await asyncio.sleep(0.05)

    with asking(create_app({"ease": club_run()}, limits=Limits(timeout_seconds=0.5))) as client:
        refused = client("POST", "/api/recommend", content=trickling(), headers=HEADERS)
    assert refused.status_code == 408
    assert "did not arrive within 0.5 seconds" in refused.json()["error"]


def test_the_log_has_one_line_of_json_per_request() -> None:
    lines: list[str] = []
    with asking(create_app({"ease": club_run()}, log=lines.append, token=TOKEN)) as client:
        client.get("/health")
        answer = client.get("/api/user/%0A%E2%80%A8x")
    health, user = (json.loads(line) for line in lines)
    assert (health["method"], health["path"], health["status"]) == ("GET", "/health", 200)
    assert (user["path"], user["status"], user["bytes"]) == ("/api/user/\n\u2028x", 401, len(answer.content))
    assert all("\n" not in line for line in lines)
    assert health["ms"] >= 0


def test_no_run_is_nothing_to_serve() -> None:
    with pytest.raises(ConfigError, match="nothing to serve; give at least one run"):
        create_app({})
