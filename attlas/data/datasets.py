"""Public data sets by name: where they are, what they hold, and on which terms. The names stand in datasets.toml."""

from __future__ import annotations

import os
import shlex
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from attlas.errors import ConfigError, nearest
from attlas.settings import build

REGISTRY = Path(__file__).with_name("datasets.toml")
STRICT = ConfigDict(extra="forbid")

# A registry may come from somebody else: its names are names inside the folder and nothing more.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=120)]
Address = Annotated[str, Field(pattern=r"^https?://\S+$")]
Checksum = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")]


@dataclass(frozen=True, config=STRICT)
class Source:
    """One file of a data set.

    Attributes:
        name: what it is called in the folder.
        address: where it is fetched from; None if no public place is known.
        checksum: ``sha256:`` or ``md5:`` and its digits; None if it is not known, and then the first fetch notes one.
        bytes: how many, where known.
        members: of a zip archive, the files to take out and their bytes, 0 where not known.
    """

    name: FileName
    address: Address | None = None
    checksum: Checksum | None = None
    bytes: int | None = None
    members: dict[FileName, int] = Field(default_factory=dict)

    @property
    def host(self) -> str:
        """The server that has it; "" if none is known."""
        return (self.address or "").partition("//")[2].partition("/")[0]


@dataclass(frozen=True, config=STRICT)
class Dataset:
    """One public data set.

    Attributes:
        name, title, page: how it is called, and where it is described.
        columns: what is in a row.
        terms, citation: what one may do with it, and whom to cite.
        files: what to fetch.
        data: the file that ``--data`` takes, "." for a folder of given files; None if attlas does not read it yet.
        facts: the file that ``--items`` takes.
        model: a model that suits its size, for a first run.
        convert: how the table is made out of the files, where they are none.
        users, items, rows: how many, where known.
        note: what else one should know.
    """

    name: str
    title: str
    page: str
    columns: str
    terms: str
    citation: str
    files: Annotated[tuple[Source, ...], Field(min_length=1)]
    data: FileName | Literal["."] | None = None
    facts: FileName | None = None
    model: str = "ease"
    convert: Literal["reviews"] | None = None
    users: int | None = None
    items: int | None = None
    rows: int | None = None
    note: str = ""

    def table(self, folder: Path) -> Path | None:
        """What ``--data`` takes, once the set is in a folder."""
        return None if self.data is None else folder if self.data == "." else folder / self.data

    def next_command(self, folder: Path) -> str | None:
        """The command that trains on the set in a folder, ready for a shell; None if attlas does not read it yet."""
        if (table := self.table(folder)) is None:
            return None
        facts = ["--items", str(folder / self.facts)] if self.facts else []
        words = ["--data", str(table), *facts, "--model", self.model, "--out", f"runs/{self.name}"]
        return shlex.join(["attlas", "fit", *words])

    def default_folder(self) -> Path:
        """``$ATTLAS_DATA/NAME`` where that is set, else ``data/NAME`` under the present folder."""
        return Path(os.environ.get("ATTLAS_DATA") or "data") / self.name

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def known_datasets(registry: Path = REGISTRY) -> dict[str, Dataset]:
    """The sets of a registry by name.

    Raises:
        ConfigError: the registry cannot be read.
    """
    try:
        tables = tomllib.loads(registry.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the registry {registry}: {error}; expected TOML, one table a data set") from error
    return {name: _dataset(name, table) for name, table in tables.items()}


def find_dataset(name: str, registry: Path = REGISTRY) -> Dataset:
    """The set of that name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    found = known_datasets(registry)
    if name not in found:
        raise ConfigError(f"no data set is called {name!r}; {nearest(name, found)}")
    return found[name]


def _dataset(name: str, table: Any) -> Dataset:
    if not isinstance(table, dict) or not all(isinstance(file, dict) for file in table.get("files", [None])):
        raise ConfigError(f"[{name}] is no data set; expected title, page, columns, terms, citation and files in a table")
    files = tuple(build(Source, file, where=f"{name}.files") for file in table["files"])
    return build(Dataset, {**table, "name": name, "files": files}, where=name)
