"""The registry, and that each set's own next command works on files of its layout."""

from __future__ import annotations

import gzip
import io
import os
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attlas.data.datasets import find_dataset, known_datasets
from attlas.data.describing import describe_source
from attlas.data.fetching import fetch
from attlas.errors import ConfigError
from tests.data.server import Site, serving

DATA = Path(os.environ.get("ATTLAS_DATA", Path(__file__).parents[3] / "shared" / "data"))
KNOWN = known_datasets()
ROWS = [
    (user, item, 1 + (user + item) % 5, 978300000 + (7 * user + 11 * item) % 37) for user in range(1, 9) for item in range(1, 6)
]


def lines(layout: str, head: str = "") -> str:
    """Eight users who chose five items each, in the layout of a published file."""
    return head + "".join(layout.format(*row) + "\n" for row in ROWS)


CSV = {
    "ratings.csv": lines("{},{},{}.0,{}", "userId,movieId,rating,timestamp\r\n"),
    "movies.csv": "movieId,title,genres\r\n" + "".join(f'{n},"Film {n}, The (1995)",Comedy|Drama\r\n' for n in range(1, 6)),
}
# The first lines of the published files have these layouts; ids and values are made up.
FILES = {
    "ml-100k": {
        "u.data": lines("{}\t{}\t{}\t{}"),
        "u.item": "".join(f"{n}|Film {n} (1995)|01-Jan-1995||http://x/{n}|{'|'.join('0' * 19)}\n" for n in range(1, 6)),
    },
    "ml-1m": {
        "ratings.dat": lines("{}::{}::{}::{}"),
        "movies.dat": "".join(f"{n}::Film {n} (1995)::Comedy|Drama\n" for n in range(1, 6)),
    },
    "ml-latest-small": CSV,
    "ml-20m": CSV,
    "ml-32m": CSV,
    "lastfm-2k": {
        "user_artists.dat": lines("{}\t{}\t{}", "userID\tartistID\tweight\n"),
        "artists.dat": "id\tname\turl\tpictureURL\n" + "".join(f"{n}\tBand {n}\thttp://x\thttp://y\n" for n in range(1, 6)),
    },
    "amazon-food": {
        "finefoods.txt.gz": lines("product/productId: B{1}\nreview/userId: A{0}\nreview/score: {2}.0\nreview/time: {3}\n")
    },
    "douban": {"uir.index": lines("{}\t{}\t{}")},
    "frappe": {
        "frappe.csv": lines(
            "{}\t{}\t{}\tmorning\tsunday\tweekend\tunknown\tfree\tsunny\tSpain\t0",
            "user\titem\tcnt\tdaytime\tweekday\tisweekend\thomework\tcost\tweather\tcountry\tcity\n",
        )
    },
    "ml-tag": {
        f"ml-tag.{part}.libfm": "".join(f"{1 - 2 * ((u + i) % 2)} {u}:1 {10 + i}:1 {20 + tag}:1\n" for u, i, tag, _ in ROWS)
        for part in ("train", "validation", "test")
    },
    "pinterest": {
        "pinterest-20.train.rating": "".join(f"{u}\t{i}\t1\n" for u in range(8) for i in range(4)),
        "pinterest-20.test.rating": "".join(f"{u}\t{4 + u % 2}\t1\n" for u in range(8)),
        "pinterest-20.test.negative": "".join(f"({u},{4 + u % 2})\t{5 - u % 2}\t6\n" for u in range(8)),
    },
}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as found:
        yield found


def test_every_set_that_attlas_reads_is_tried_here() -> None:
    assert set(FILES) == {name for name, dataset in KNOWN.items() if dataset.data}


@pytest.mark.parametrize("name", FILES)
def test_the_next_command_works_on_files_of_the_layout_of(
    name: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    sources = []
    for source in KNOWN[name].files:
        body = packed(FILES[name]) if source.members else FILES[name][source.name].encode()
        site.files[source.name] = gzip.compress(body) if source.name.endswith(".gz") else body
        members = dict.fromkeys(source.members, 0)
        sources.append(replace(source, address=site.address(source.name), checksum=None, bytes=None, members=members))
    found = fetch(replace(KNOWN[name], files=tuple(sources)), Path(f"data/{name}"))
    said = command(*shlex.split(found.next_command)[1:], "--json")
    assert said.code == 0, said.err
    assert (said.json["data"]["users"], Path("runs", name, "run.json").is_file()) == (8, True)


def packed(files: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"inside/{name}", text)
    return file.getvalue()


def real(name: str, file: str) -> Path:
    """A file of the development data, packed or not."""
    path = next((DATA / name).glob(f"{file}*"), None)
    if path is None:
        pytest.skip(f"needs {name}/{file} in the folder ATTLAS_DATA or ../shared/data")
    return path


@pytest.mark.parametrize("name", ["ml-100k", "ml-latest-small", "lastfm-2k", "frappe"])
def test_the_registry_knows_the_sizes_of_the_real_files_of(name: str) -> None:
    known = KNOWN[name]
    for member, size in known.files[0].members.items():
        path = real(name, member)
        assert len(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()) == size
    found = describe_source(str(real(name, str(known.data))))
    assert (found.users, found.items, found.rows) == (known.users, known.items, known.rows)


@pytest.mark.parametrize("name", KNOWN)
def test_the_registry_tells_terms_and_whom_to_cite_of(name: str) -> None:
    found = KNOWN[name]
    assert all([found.title, found.terms, found.citation, found.columns, found.page.startswith("https://")])
    assert all(source.address is None or re.match(r"https://\S+$", source.address) for source in found.files)
    assert {found.facts, found.data} - {None, "."} <= {
        *(name for source in found.files for name in source.members or [source.name]),
        *([found.data] if found.convert else []),
    }


def test_a_folder_of_libfm_files_is_what_afm_trains_on() -> None:
    assert find_dataset("ml-tag").next_command(Path("x")) == "attlas fit --data x --model afm --out runs/ml-tag"


def test_a_set_goes_to_a_folder_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTLAS_DATA", raising=False)
    assert KNOWN["ml-1m"].default_folder() == Path("data/ml-1m")
    monkeypatch.setenv("ATTLAS_DATA", "/sets")
    assert KNOWN["ml-1m"].default_folder() == Path("/sets/ml-1m")


def test_an_unknown_name_is_told_its_nearest() -> None:
    with pytest.raises(ConfigError, match="no data set is called 'ml1m'; did you mean 'ml-1m'"):
        find_dataset("ml1m")


MADE = '[toy]\ntitle = "t"\npage = "p"\ncolumns = "c"\nterms = "t"\ncitation = "c"\n'
WRONG = {
    "a path for a name": (MADE + 'files = [{ name = "../evil" }]', r"\[toy\.files\] name = '\.\./evil' does not fit"),
    "a file of this computer": (
        MADE + 'files = [{ name = "a", address = "file:///etc/passwd" }]',
        r"\[toy\.files\] address = 'file:///etc/passwd' does not fit",
    ),
    "a checksum without its kind": (MADE + 'files = [{ name = "a", checksum = "00" }]', r"checksum = '00' does not fit"),
    "no files": (MADE + "files = []", r"\[toy\] files = \(\) does not fit"),
    "a typing mistake": (MADE + 'url = "x"\nfiles = [{ name = "a" }]', r"\[toy\] has no setting 'url'"),
    "no table": ("toy = 1", r"\[toy\] is no data set; expected title"),
    "no TOML": ("[toy", r"cannot read the registry .*sets\.toml: .*expected TOML"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_registry_is_refused_with(what: str, tmp_path: Path) -> None:
    text, said = WRONG[what]
    (tmp_path / "sets.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        known_datasets(tmp_path / "sets.toml")
