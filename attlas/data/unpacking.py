"""Named files out of a zip archive, and nothing else; each is whole under its name or not there at all."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from attlas.errors import DataError
from attlas.memory import readable_bytes
from attlas.telling import Teller

BLOCK = 1 << 20


def unpack(archive: Path, members: Mapping[str, int], folder: Path, *, tell: Teller | None = None) -> list[Path]:
    """Take the named files out of an archive, whatever folder they stand in there.

    Args:
        members: plain file names, and the bytes each must have; 0 takes the archive's word.

    Raises:
        DataError: the archive is damaged or unsafe, lacks a file, or a different file has the name already.
    """
    tell = tell or Teller()
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = {name: _entry(opened, name, size, archive) for name, size in members.items()}
            needed = sum(entry.file_size for entry in entries.values())
            if needed > (free := shutil.disk_usage(folder).free):
                raise DataError(f"unpacking {archive} needs {readable_bytes(needed)}; {folder} has {readable_bytes(free)} left")
            return [_take_out(opened, entry, folder / name, archive, tell) for name, entry in entries.items()]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive} is no whole zip archive ({error}); delete it and fetch it again") from error


def _entry(opened: zipfile.ZipFile, name: str, size: int, archive: Path) -> zipfile.ZipInfo:
    paths = [(PurePosixPath(entry.filename), entry) for entry in opened.infolist() if not entry.is_dir()]
    found = [(path, entry) for path, entry in paths if path.name == name and path.parts[0] != "__MACOSX"]
    if len(found) != 1:
        held = ", ".join(str(path) for path, _ in paths[:10])
        raise DataError(f"{archive} holds {len(found)} files called {name}; expected one (it holds {held})")
    path, entry = found[0]
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
        raise DataError(f"{archive} is not to be trusted: it would put {name} at {entry.filename!r}; nothing was unpacked")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG) or entry.flag_bits & 1:
        raise DataError(f"{entry.filename} in {archive} is a link, encrypted or no plain file; nothing was unpacked")
    if size and entry.file_size != size:
        raise DataError(f"{entry.filename} in {archive} has {entry.file_size:,} bytes; expected {size:,}; nothing was unpacked")
    return entry


def _take_out(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, archive: Path, tell: Teller) -> Path:
    if target.exists():
        if not _is_equal(target, entry):
            raise DataError(f"{target} is there already and differs from the one in {archive.name}; move it away, or delete it")
        return target
    part = target.with_name(f".{target.name}.part")
    try:
        with opened.open(entry) as packed, open(part, "wb") as file, tell.bar(f"unpack {target.name}", entry.file_size) as bar:
            while block := packed.read(BLOCK):  # never more than the directory's file_size; the end compares its CRC
                file.write(block)
                bar.update(file.tell(), readable_bytes(entry.file_size))
            file.flush()
            os.fsync(file.fileno())
        if part.stat().st_size != entry.file_size:
            raise zipfile.BadZipFile(f"{entry.filename} is cut off")
        part.replace(target)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}; make room and run the same command again") from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _is_equal(path: Path, entry: zipfile.ZipInfo) -> bool:
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return path.stat().st_size == entry.file_size and crc == entry.CRC
