"""The service as a process: where it listens, whom it lets in, how it ends."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from attlas import errors
from attlas.errors import ArtefactError, ConfigError, MissingExtra
from attlas.telling import Teller
from attlas.web.server import check_address, find_token, listen, load_all, serve
from tests.web.asking import club_run

SECONDS = 120  # for what takes a second on a machine with nothing else to do


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return club_run().save(tmp_path_factory.mktemp("runs") / "ease")


@contextmanager
def service(*words: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``attlas serve`` with the given words in a process of its own, ready, and its port; gone after the block."""
    command = [sys.executable, "-m", "attlas", "serve", *map(str, words), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        host, port = re.search(r"http://([\d.]+):(\d+);", said).groups()  # type: ignore[union-attr]
        until = time.monotonic() + SECONDS
        while _asked(int(port), "GET", "/ready", host=host)[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield process, int(port)
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def _asked(port: int, method: str, path: str, *, host: str = "127.0.0.1", **said: Any) -> tuple[int, Any]:
    line = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        line.request(method, path, json.dumps(said) if said else None, {"Content-Type": "application/json"})
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


def test_a_run_is_served_and_sigterm_lets_the_request_in_flight_end(folder: Path) -> None:
    body = b'{"user": "m17", "k": 3}'
    head = f"POST /api/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with service(folder, "--access-log") as (process, port):
        status, answer = _asked(port, "POST", "/api/recommend", user="m17", k=3)
        assert status == 200
        assert answer["items"] == club_run().recommend(["m17"], 3).select("rank", "item", "title", "score").to_dicts()
        assert answer["model"] == "ease"
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as line:
            line.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert line.recv(100).startswith(b"HTTP/1.1 100")  # the service has begun to read the request
            process.send_signal(signal.SIGTERM)
            _await_closed(port)
            line.sendall(body)
            assert b" 200 " in line.recv(100).split(b"\r\n")[0]
        assert process.wait(SECONDS) == 0
        lines = [json.loads(said) for said in (process.stderr or []) if said.startswith("{")]
        assert [one["status"] for one in lines if one["path"] == "/api/recommend"] == [200, 200]


def _await_closed(port: int) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
        except ConnectionError:
            return
        time.sleep(0.02)
    pytest.fail("the service still lets people in after SIGTERM")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2 without being told")
def test_the_address_that_is_announced_answers_whichever_of_this_computers_it_is(folder: Path) -> None:
    with service(folder, "--host", "127.0.0.2") as (_, port):
        assert _asked(port, "POST", "/api/recommend", host="127.0.0.2", user="m17", k=1)[0] == 200


def test_ctrl_c_ends_it_with_the_code_of_an_interrupt(folder: Path) -> None:
    with service(folder) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org", ""])
def test_an_address_that_others_reach_is_refused_without_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="lets others in, and there is no token; set ATTLAS_TOKEN or --token-file"):
        check_address(host, None)
    assert not check_address(host, "x" * 16)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_computers_own_addresses_want_no_token(host: str) -> None:
    assert check_address(host, None)


def test_nothing_is_loaded_before_the_address_is_found_good(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 lets others in"):
        serve([tmp_path / "absent"], host="0.0.0.0")


def test_the_token_comes_from_a_file_or_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTLAS_TOKEN", raising=False)
    assert find_token(None) is None
    monkeypatch.setenv("ATTLAS_TOKEN", "0123456789abcdef")
    assert find_token(None) == "0123456789abcdef"
    (tmp_path / "token").write_text("from-a-file-1234567\n")
    assert find_token(tmp_path / "token") == "from-a-file-1234567"


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "wïth-an-ümläut-in-it", "line\nbreak-and-more-text"])
def test_a_token_that_guards_nothing_is_refused(token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(ConfigError, match="expected 16 or more of ASCII, without spaces"):
        find_token(tmp_path / "token")


def test_a_token_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        find_token(tmp_path / "absent")


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do() -> None:
    with listen("127.0.0.1", 0) as door, pytest.raises(ConfigError, match=r"cannot listen at 127\.0\.0\.1, port \d+"):
        listen("127.0.0.1", door.getsockname()[1])


def test_runs_are_called_by_their_folders_and_no_two_alike(folder: Path, tmp_path: Path) -> None:
    assert list(load_all([folder], Teller())) == ["ease"]
    other = club_run().save(tmp_path / "ease")
    with pytest.raises(ConfigError, match="two runs are called 'ease'; give one of the folders another name"):
        load_all([folder, other], Teller())


def test_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="is no run folder; attlas fit --out makes one"):
        load_all([tmp_path / "absent"], Teller())


def test_without_the_extra_the_command_says_which_one_it_needs(
    folder: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(module: str) -> Any:
        raise ImportError(module)

    monkeypatch.setattr(errors.importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match=r"attlas serve needs fastapi, .* pip install 'attlas\[serve\]'"):
        serve([folder])
    said = command("serve", folder)
    assert said.code == 2
    assert "pip install 'attlas[serve]'" in said.err
