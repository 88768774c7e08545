"""One file over HTTP: whole under its name or not there at all, and gone on with after any stop.

What has come so far lies in ``.NAME.part``; ``.NAME.part.json`` says of which version of the file, by the server's ETag or
date. The part is emptied before that is written anew, so that at any moment it is the beginning of the version it names.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from attlas.data.datasets import Source
from attlas.errors import DataError
from attlas.memory import readable_bytes
from attlas.telling import Bar, Teller

BLOCK = 1 << 16
HEADERS = {"User-Agent": "attlas", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server that says nothing, and how often to try again without getting further."""

    timeout_seconds: float = 30.0
    tries: int = 3
    pause_seconds: float = 1.0


class _Stopped(Exception):
    """The connection failed, or ended early; trying again may help, unless there was none."""

    def __init__(self, why: str, *, is_unreachable: bool = False):
        super().__init__(why)
        self.is_unreachable = is_unreachable


class _Part:
    """The beginning of a file on disk, and which version of the file it belongs to."""

    def __init__(self, target: Path):
        self.path = target.with_name(f".{target.name}.part")
        self.card = target.with_name(f".{target.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    def known(self) -> dict[str, Any]:
        """Address, version and total of what is here; {} if it cannot be gone on with."""
        try:
            card = json.loads(self.card.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return card if isinstance(card, dict) and card.get("version") and self.size else {}

    def begin(self, card: dict[str, Any]) -> None:
        """Empty the part, and only then say which version it will be; {} for none."""
        with _disk(self), open(self.path, "wb"):
            self.card.write_text(json.dumps(card), encoding="utf-8")


def download(
    source: Source, folder: Path, *, by_hand: str, tell: Teller | None = None, patience: Patience | None = None
) -> Path:
    """Fetch a file into a folder, going on with what an earlier call has left; its checksum is the caller's to check.

    Args:
        by_hand: what the person can do instead, to end the messages with.

    Returns:
        The path of the whole file under a name that is not yet its own.

    Raises:
        DataError: the server cannot be reached or refuses, or the disk is full; what came is kept.
    """
    tell, patience = tell or Teller(), patience or Patience()
    part = _Part(folder / source.name)
    with tell.bar(f"fetch {source.name}", source.bytes or 0) as bar:
        begun = best = part.size
        failures = 0
        while True:
            try:
                _receive(source, part, patience.timeout_seconds, bar)
                return part.path
            except _Stopped as stop:
                failures = 0 if part.size > best else failures + 1
                best = max(best, part.size)
                if failures >= patience.tries or (stop.is_unreachable and best == begun):
                    raise DataError(f"cannot fetch {source.name} from {source.host}: {stop}{_kept(part)}; {by_hand}") from stop
                time.sleep(patience.pause_seconds * failures)
            except urllib.error.HTTPError as error:
                said = f"the server answered {error.code} {error.reason}"
                raise DataError(f"cannot fetch {source.name} from {source.host}: {said}; {by_hand}") from error


def discard_card(target: Path) -> None:
    """After the whole file has its own name: forget which version its part was."""
    _Part(target).card.unlink(missing_ok=True)


def digest_of(path: Path, kind: str = "sha256") -> str:
    """``sha256:`` or ``md5:`` and the digits of a file."""
    with open(path, "rb") as file:
        return f"{kind}:{hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()}"


def _receive(source: Source, part: _Part, timeout_seconds: float, bar: Bar) -> None:
    known = part.known()
    have = part.size if known.get("address") == source.address else 0
    if have and have == known.get("total"):
        return
    asked = {"Range": f"bytes={have}-", "If-Range": known["version"]} if have else {}
    request = urllib.request.Request(str(source.address), headers=HEADERS | asked)
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:
            total = _total(answer)
            card = {"address": source.address, "version": _version(answer.headers), "total": total}
            goes_on = answer.status == 206 and have and _start(answer) == have and card["version"] == known["version"]
            if answer.headers.get_content_type() == "text/html":
                raise _Stopped("it sent a web page instead of the file; perhaps one must log in", is_unreachable=True)
            if answer.status == 206 and not goes_on:
                part.begin({})
                raise _Stopped("the server sent another part than was asked for")
            _refuse_wrong_size(source, total, part.path.parent, have if goes_on else 0)
            if not goes_on:
                part.begin(card)
            _append(answer, part, total or source.bytes, bar)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.begin({})
        if error.code in (416, 429) or error.code >= 500:
            raise _Stopped(f"the server answered {error.code} {error.reason}") from error
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _Stopped(_why(error), is_unreachable=isinstance(error, urllib.error.URLError)) from error
    if total is not None and part.size < total:
        raise _Stopped(f"the connection ended after {part.size:,} of {total:,} bytes")


def _append(answer: BinaryIO, part: _Part, total: int | None, bar: Bar) -> None:
    with _disk(part), open(part.path, "ab", buffering=0) as file:
        size = part.size
        while block := _read(answer):
            size += len(block)
            if total is not None and size > total:
                raise DataError(
                    f"the server sends more than the {total:,} bytes that were expected; {part.path} is left as it is"
                )
            rest = memoryview(block)
            while rest:
                rest = rest[file.write(rest) :]
            bar.update(size, f"{readable_bytes(size)} of {readable_bytes(total) if total else '?'}", total=total)
        os.fsync(file.fileno())


def _read(answer: BinaryIO) -> bytes:
    try:
        return answer.read1(BLOCK)  # type: ignore[attr-defined]
    except (OSError, http.client.HTTPException) as error:
        raise _Stopped(_why(error)) from error


@contextmanager
def _disk(part: _Part) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write to {part.path.parent}: {error.strerror}{_kept(part)}; make room, or choose another folder with --to"
        ) from error


def _refuse_wrong_size(source: Source, total: int | None, folder: Path, have: int) -> None:
    if total is None:
        return
    if source.checksum and source.bytes not in (None, total):
        raise DataError(
            f"{source.address} now has {total:,} bytes instead of {source.bytes:,}: it is not the file that the registry means"
        )
    if total - have > (free := shutil.disk_usage(folder).free):
        raise DataError(
            f"{source.name} needs {readable_bytes(total - have)} and {folder} has {readable_bytes(free)} left; make room, or "
            "choose another folder with --to"
        )


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate was refused ({getattr(reason, 'verify_message', '') or reason.strerror})"
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__


def _version(headers: Any) -> str | None:
    """What names the version of a file to If-Range: a strong ETag, or else its date."""
    tag = headers.get("ETag")
    found: str | None = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    return found


def _total(answer: Any) -> int | None:
    text = answer.headers.get("Content-Range", "").rpartition("/")[2] if answer.status == 206 else ""
    text = text or answer.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _start(answer: Any) -> int | None:
    text = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(text) if text.isdigit() else None


def _kept(part: _Part) -> str:
    return f"; {part.size:,} bytes are kept, and the same command goes on from there" if part.known() else ""
