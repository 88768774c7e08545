"""Fetching from a server on this machine that stops, forgets, lies and refuses. No other network."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attlas.data.datasets import Dataset, Source
from attlas.data.downloading import Patience
from attlas.data.fetching import fetch
from attlas.errors import DataError
from tests.data.server import Site, serving

BODY = bytes(range(256)) * 4096  # 1 MiB
HURRIED = Patience(timeout_seconds=5, tries=2, pause_seconds=0.01)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as found:
        found.files["rows.bin"] = BODY
        yield found


def sha256(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def a_set(*files: Source, **more: Any) -> Dataset:
    facts = dict.fromkeys(("title", "page", "columns", "terms", "citation"), "made up")
    return Dataset(**({"name": "toy", "data": files[0].name, "files": files} | facts | more))


def rows_of(site: Site, checksum: str | None = sha256(BODY), size: int | None = None) -> Dataset:
    return a_set(Source("rows.bin", site.address("rows.bin"), checksum, size))


def packed(**members: bytes) -> bytes:
    return packed_as({name.replace("_", "."): body for name, body in members.items()})


def packed_as(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return file.getvalue()


def zipped(site: Site, body: bytes, **members: int) -> Dataset:
    site.files["toy.zip"] = body
    wanted = {name.replace("_", "."): size for name, size in members.items()}
    return a_set(Source("toy.zip", site.address("toy.zip"), None, None, wanted), data=next(iter(wanted)))


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_file_comes_whole_with_a_note_of_its_checksum_and_a_gitignore(site: Site, tmp_path: Path) -> None:
    found = fetch(rows_of(site), tmp_path / "toy")
    assert found.path.read_bytes() == BODY
    noted = json.loads((tmp_path / "toy/fetched.json").read_text())["rows.bin"]
    assert (noted["sha256"], noted["from"]) == (sha256(BODY), site.address("rows.bin"))
    assert "\n*\n" in (tmp_path / "toy/.gitignore").read_text()
    assert visible(found.folder) == {"rows.bin", "fetched.json"}


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch(rows_of(site), tmp_path)
    fetch(rows_of(site), tmp_path)
    assert len(site.log) == 1


def test_a_connection_that_breaks_is_gone_on_with_at_once(site: Site, tmp_path: Path) -> None:
    site.break_after = 400_000
    assert fetch(rows_of(site), tmp_path, patience=HURRIED).path.read_bytes() == BODY
    assert [(asked, sent) for _, asked, _, sent in site.log] == [
        (None, 400_000),
        ("bytes=400000-", 400_000),
        ("bytes=800000-", 248_576),
    ]


def registry_of(site: Site, folder: Path) -> Path:
    text = f"""[toy]
title = "a toy"\npage = "-"\ncolumns = "-"\nterms = "-"\ncitation = "-"\ndata = "rows.bin"
files = [{{ name = "rows.bin", address = "{site.address("rows.bin")}", checksum = "{sha256(BODY)}" }}]
"""
    (folder / "sets.toml").write_text(text)
    return folder / "sets.toml"


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until, "waited for 20 seconds"
        time.sleep(0.01)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_stopped_process_leaves_no_file_and_the_next_fetches_only_the_rest(
    stop: signal.Signals, code: int, site: Site, tmp_path: Path
) -> None:
    site.slow = 0.1
    words = ["fetch", "toy", "--to", str(tmp_path / "toy"), "--registry", str(registry_of(site, tmp_path))]
    command = [sys.executable, "-m", "attlas", "data", *words]
    part = tmp_path / "toy/.rows.bin.part"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: part.exists() and part.stat().st_size >= 200_000)
        process.send_signal(stop)
        _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert ("the same command goes on from there" in said) == (stop == signal.SIGINT)
    have = part.stat().st_size
    assert have < len(BODY)
    assert BODY.startswith(part.read_bytes())
    assert "rows.bin" not in visible(tmp_path / "toy")

    site.slow = 0.0
    assert len(site.log) == 1
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert site.log[1:] == [("/rows.bin", f"bytes={have}-", 206, len(BODY) - have)]
    assert (tmp_path / "toy/rows.bin").read_bytes() == BODY
    assert done.stdout.splitlines() == [
        f"ready: {tmp_path}/toy/rows.bin",
        f"then: attlas fit --data {tmp_path}/toy/rows.bin --model ease --out runs/toy",
    ]


def test_a_server_that_cannot_go_on_sends_all_again(site: Site, tmp_path: Path) -> None:
    stopped_after(300_000, site, tmp_path)
    site.ranges = False
    assert fetch(rows_of(site), tmp_path, patience=HURRIED).path.read_bytes() == BODY
    assert site.log[-1] == ("/rows.bin", "bytes=300000-", 200, len(BODY))


def stopped_after(size: int, site: Site, folder: Path) -> None:
    """Leave a part of so many bytes."""
    site.break_after, ranges, site.ranges = size, site.ranges, False
    with pytest.raises(DataError, match="the connection ended after 300,000 of 1,048,576 bytes"):
        fetch(rows_of(site), folder, patience=HURRIED)
    site.break_after, site.ranges = None, ranges
    assert (folder / ".rows.bin.part").stat().st_size == size


def test_the_rest_of_another_version_is_never_joined_to_a_part(site: Site, tmp_path: Path) -> None:
    stopped_after(300_000, site, tmp_path)
    site.tag, site.files["rows.bin"] = '"two"', BODY[::-1]
    found = fetch(rows_of(site, sha256(BODY[::-1])), tmp_path, patience=HURRIED)
    assert found.path.read_bytes() == BODY[::-1]
    assert site.log[-1][2:] == (200, len(BODY))


def test_without_a_tag_or_date_a_part_is_not_trusted(site: Site, tmp_path: Path) -> None:
    site.tag = None
    stopped_after(300_000, site, tmp_path)
    fetch(rows_of(site), tmp_path, patience=HURRIED)
    assert site.log[-1] == ("/rows.bin", None, 200, len(BODY))


def test_a_whole_part_that_was_not_moved_yet_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    card = {"address": site.address("rows.bin"), "version": '"one"', "total": len(BODY)}
    (tmp_path / ".rows.bin.part").write_bytes(BODY)
    (tmp_path / ".rows.bin.part.json").write_text(json.dumps(card))
    assert fetch(rows_of(site), tmp_path).path.read_bytes() == BODY
    assert site.log == []


def test_a_wrong_checksum_is_an_error_and_the_file_is_set_aside(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sent another file than expected: it has sha256:.*the registry says sha256:0000"):
        fetch(rows_of(site, "sha256:" + "0" * 64), tmp_path)
    assert visible(tmp_path) == {"rows.bin.wrong-checksum"}


def test_an_unknown_checksum_is_noted_at_first_and_compared_ever_after(site: Site, tmp_path: Path) -> None:
    fetch(rows_of(site, None), tmp_path).path.unlink()
    site.files["rows.bin"], site.tag = BODY[::-1], '"two"'
    with pytest.raises(DataError, match=r"fetched\.json, noted at the first fetch says .*to accept it, delete .*fetched\.json"):
        fetch(rows_of(site, None), tmp_path)


def test_a_file_that_was_altered_later_is_told(site: Site, tmp_path: Path) -> None:
    fetch(rows_of(site), tmp_path).path.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"rows\.bin was altered after it was fetched; delete it"):
        fetch(rows_of(site), tmp_path)


@pytest.mark.parametrize(("status", "said"), [(404, "answered 404 Not Found"), (403, "answered 403 Forbidden")])
def test_a_refusal_names_the_address_and_the_way_by_hand(status: int, said: str, site: Site, tmp_path: Path) -> None:
    site.status = status
    with pytest.raises(
        DataError, match=f"from 127.*: .*{said}; by hand, save\n  .*/rows.bin as .*/rows.bin\nand run the same command"
    ):
        fetch(rows_of(site), tmp_path, patience=HURRIED)
    assert len(site.log) == 1
    assert visible(tmp_path) == set()


def test_a_server_in_trouble_is_asked_again_and_then_given_up(site: Site, tmp_path: Path) -> None:
    site.status = 503
    with pytest.raises(DataError, match="answered 503 Service Unavailable"):
        fetch(rows_of(site), tmp_path, patience=HURRIED)
    assert len(site.log) == HURRIED.tries


def test_without_a_network_one_message_says_what_to_fetch_by_hand_and_that_file_is_then_taken(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/rows.bin"
    toy = a_set(Source("rows.bin", address, sha256(BODY)))
    with pytest.raises(DataError, match=f"refused; by hand, save\n  {address} as {tmp_path}/rows.bin\nand run"):
        fetch(toy, tmp_path)
    (tmp_path / "rows.bin").write_bytes(BODY)
    assert fetch(toy, tmp_path).path == tmp_path / "rows.bin"


def test_an_expired_certificate_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refusal.verify_message = "certificate has expired"

    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError(refusal)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    said = r"from example\.org: its certificate was refused \(certificate has expired\); by hand, save"
    with pytest.raises(DataError, match=said):
        fetch(a_set(Source("rows.bin", "https://example.org/rows.bin")), tmp_path)


def test_a_file_by_hand_with_a_wrong_checksum_is_refused_and_left_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "rows.bin").write_bytes(b"half")
    with pytest.raises(DataError, match=r"rows\.bin is not the file that was expected: .*delete it and run the same command"):
        fetch(rows_of(site), tmp_path)
    assert (tmp_path / "rows.bin").read_bytes() == b"half"
    assert site.log == []


def test_a_server_that_says_nothing_is_given_up_in_time(site: Site, tmp_path: Path) -> None:
    site.silent = 3
    began = time.monotonic()
    with pytest.raises(DataError, match="timed out"):
        fetch(rows_of(site), tmp_path, patience=Patience(timeout_seconds=0.2, tries=2, pause_seconds=0.01))
    assert time.monotonic() - began < 2 * site.silent  # it would have spoken at last


def test_a_file_of_another_size_than_the_registry_says_is_not_begun(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="now has 1,048,576 bytes instead of 5: it is not the file that the registry means"):
        fetch(rows_of(site, size=5), tmp_path)
    assert visible(tmp_path) == set()


def test_a_full_disk_is_told_and_the_part_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    words = ["fetch", "toy", "--to", str(tmp_path / "toy"), "--registry", str(registry_of(site, tmp_path))]
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))"
    code = f"{limit}; sys.argv = ['attlas', 'data', *sys.argv[1:]]; from attlas.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "cannot write to" in done.stderr
    assert "500,000 bytes are kept, and the same command goes on from there; make room" in done.stderr
    assert visible(tmp_path / "toy") == set()
    assert fetch(rows_of(site), tmp_path / "toy").path.read_bytes() == BODY
    assert site.log[-1] == ("/rows.bin", "bytes=500000-", 206, 548_576)


def test_two_at_once_do_not_fetch_into_one_folder(site: Site, tmp_path: Path) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="another process is fetching into"):
        fetch(rows_of(site), tmp_path)
    os.close(other)
    fetch(rows_of(site), tmp_path)


def test_the_command_prints_one_document(site: Site, tmp_path: Path, command: Callable) -> None:
    said = command("data", "fetch", "toy", "--to", tmp_path / "toy", "--registry", registry_of(site, tmp_path), "--json")
    assert said.code == 0
    assert said.json["files"] == {"rows.bin": sha256(BODY)}
    assert (said.json["path"], said.json["next"].split()[:2]) == (f"{tmp_path}/toy/rows.bin", ["attlas", "fit"])
    assert said.err.splitlines() == ["a toy. Terms: -.", f"fetching {site.address('rows.bin')}"]


def test_a_folder_with_more_in_it_gets_no_gitignore(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    fetch(rows_of(site), tmp_path)
    assert not (tmp_path / ".gitignore").exists()


def test_a_folder_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "toy").touch()
    with pytest.raises(DataError, match=r"cannot write to .*toy: File exists; choose another folder with --to"):
        fetch(rows_of(site), tmp_path / "toy")


def test_of_an_archive_only_the_named_files_are_taken_out(site: Site, tmp_path: Path) -> None:
    body = packed_as({"toy/u.data": b"1\t2\n", "toy/u.item": b"2|film\n", "toy/run.sh": b"rm"})
    found = fetch(zipped(site, body, u_data=4, u_item=0), tmp_path)
    assert found.path.read_bytes() == b"1\t2\n"
    assert visible(tmp_path) == {"toy.zip", "u.data", "u.item", "fetched.json"}


def test_an_unpacked_set_needs_its_archive_no_longer(site: Site, tmp_path: Path) -> None:
    toy = zipped(site, packed(u_data=b"1\t2\n"), u_data=0)
    fetch(toy, tmp_path)
    (tmp_path / "toy.zip").unlink()
    fetch(toy, tmp_path)
    assert len(site.log) == 1


EVIL = {
    "a path that leaves the folder": ({"../u.data": b"evil"}, 0, r"would put u\.data at '\.\./u\.data'; nothing was unpacked"),
    "a path from the root": ({"/etc/u.data": b"evil"}, 0, r"would put u\.data at '/etc/u\.data'"),
    "two files of one name": ({"a/u.data": b"1", "b/u.data": b"2"}, 0, r"holds 2 files called u\.data; expected one"),
    "no such file": ({"v.data": b"1"}, 0, r"holds 0 files called u\.data; expected one \(it holds v\.data\)"),
    "more than the registry says": ({"u.data": b"0" * 5000}, 4, r"has 5,000 bytes; expected 4; nothing was unpacked"),
}


@pytest.mark.parametrize("what", EVIL)
def test_an_archive_is_refused_with(what: str, site: Site, tmp_path: Path) -> None:
    members, size, said = EVIL[what]
    with pytest.raises(DataError, match=said):
        fetch(zipped(site, packed_as(members), u_data=size), tmp_path / "toy")
    assert visible(tmp_path / "toy") == {"toy.zip"}
    assert visible(tmp_path) == {"toy"}


def test_an_archive_is_refused_with_a_link(site: Site, tmp_path: Path) -> None:
    file, link = io.BytesIO(), zipfile.ZipInfo("u.data")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"u\.data in .*toy\.zip is a link, encrypted or no plain file"):
        fetch(zipped(site, file.getvalue(), u_data=0), tmp_path)


def test_an_archive_whose_directory_lies_about_sizes_is_damaged(site: Site, tmp_path: Path) -> None:
    body = packed(u_data=b"0" * 100_000)
    place = body.index(b"PK\x01\x02") + 24  # the directory's uncompressed size
    lying = body[:place] + (10).to_bytes(4, "little") + body[place + 4 :]
    with pytest.raises(DataError, match=r"is no whole zip archive .*delete it and fetch it again"):
        fetch(zipped(site, lying, u_data=0), tmp_path)
    assert "u.data" not in visible(tmp_path)


def test_half_an_archive_is_told_and_not_held_against_the_whole_one(site: Site, tmp_path: Path) -> None:
    whole = packed(u_data=BODY)
    with pytest.raises(DataError, match=r"toy\.zip is no whole zip archive .*; delete it and fetch it again"):
        fetch(zipped(site, whole[:500], u_data=0), tmp_path)
    (tmp_path / "toy.zip").unlink()
    assert fetch(zipped(site, whole, u_data=0), tmp_path).path.read_bytes() == BODY


def test_a_web_page_is_not_taken_for_the_file(site: Site, tmp_path: Path) -> None:
    site.kind = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="sent a web page instead of the file; perhaps one must log in; by hand, save"):
        fetch(rows_of(site, None), tmp_path, patience=HURRIED)
    assert len(site.log) == 1
    assert visible(tmp_path) == set()


def test_a_file_of_the_persons_own_is_not_overwritten_by_an_archive(site: Site, tmp_path: Path) -> None:
    (tmp_path / "u.data").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"u\.data is there already and differs from the one in toy\.zip; move it away"):
        fetch(zipped(site, packed(u_data=b"theirs"), u_data=0), tmp_path)
    assert (tmp_path / "u.data").read_bytes() == b"mine"


def test_a_set_without_a_public_source_says_what_to_put_where(tmp_path: Path) -> None:
    toy = a_set(Source("uir.index"), columns="user, item, rating")
    with pytest.raises(DataError, match=r"no public source of toy is known; put uir\.index into .*columns user, item, rating,"):
        fetch(toy, tmp_path)
    (tmp_path / "uir.index").write_text("1\t2\t3\n")
    assert fetch(toy, tmp_path).path == tmp_path / "uir.index"


REVIEWS = """product/productId: B1
review/userId: A1
review/profileName: one: two
review/score: 5.0
review/time: 1303862400
review/text: product/productId: not this

product/productId: B2
review/userId: A2
review/score: 1.0
review/time: 1303862401
"""


def test_reviews_become_a_table_in_their_order(site: Site, tmp_path: Path) -> None:
    site.files["foods.gz"] = gzip.compress(REVIEWS.encode("latin-1"))
    toy = a_set(Source("foods.gz", site.address("foods.gz")), data="ratings.csv", convert="reviews")
    assert fetch(toy, tmp_path).path.read_text().splitlines() == [
        "user,item,rating,time",
        "A1,B1,5.0,1303862400",
        "A2,B2,1.0,1303862401",
    ]


def test_a_table_of_the_persons_own_is_not_overwritten_by_reviews(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("mine")
    site.files["foods.gz"] = gzip.compress(REVIEWS.encode())
    toy = a_set(Source("foods.gz", site.address("foods.gz")), data="ratings.csv", convert="reviews")
    with pytest.raises(DataError, match=r"ratings\.csv is there already and would be overwritten; move it away"):
        fetch(toy, tmp_path)
    assert (tmp_path / "ratings.csv").read_text() == "mine"


def test_reviews_that_are_cut_off_leave_no_table(site: Site, tmp_path: Path) -> None:
    site.files["foods.gz"] = gzip.compress(REVIEWS.encode() * 100)[:-20]
    toy = a_set(Source("foods.gz", site.address("foods.gz")), data="ratings.csv", convert="reviews")
    with pytest.raises(DataError, match=r"foods\.gz is no whole gzip file"):
        fetch(toy, tmp_path)
    assert "ratings.csv" not in visible(tmp_path)
