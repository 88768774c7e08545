"""Recommendations for very many users, written to one file in bounded memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from attlas.data.vocabulary import listed
from attlas.errors import ArtefactError, ConfigError
from attlas.recommender import Recommender, Unknown
from attlas.telling import Teller
from attlas.training.checkpoint import write_whole

SUFFIXES = (".parquet", ".csv", ".jsonl")


def export_recommendations(
    recommender: Recommender,
    users: Sequence[str | int] | None,
    k: int,
    path: str | Path,
    *,
    exclude_seen: bool = True,
    candidates: Sequence[str | int] | None = None,
    unknown: Unknown = "error",
    context: Mapping[str, Any] | None = None,
    tell: Teller | None = None,
) -> int:
    """Write the k best items of each user to a Parquet, CSV or JSON-lines file, block by block; returns the number of rows.

    Args:
        users: outside ids; None means every known user.
        path: ends in .parquet, .csv or .jsonl; it is there as a whole or as it was before.

    Raises:
        ConfigError: another ending.
        ArtefactError: the file cannot be written.
    """
    path, tell = Path(path), tell or Teller()
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path.name} has no known ending; expected one of {', '.join(SUFFIXES)}")
    asked = recommender.users.ids.to_list() if users is None else listed(users)
    blocks = recommender.recommend_blocks(
        asked, k, exclude_seen=exclude_seen, candidates=candidates, unknown=unknown, context=context
    )
    staged = _staged_beside(path)
    try:
        if not asked:
            write_whole(staged / "none.parquet", recommender.recommend([], k).write_parquet)
        rows = _write_parts(blocks, staged, len(asked), tell)
        _join(staged, path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return rows


def _staged_beside(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise ArtefactError(f"could not write {path}: {error}") from error


def _write_parts(blocks: Iterator[pl.DataFrame], staged: Path, asked: int, tell: Teller) -> int:
    rows = 0
    with tell.bar("recommend", total=max(asked, 1)) as bar:
        for number, (done, block) in enumerate(_counted(blocks)):
            write_whole(staged / f"{number:06d}.parquet", block.write_parquet)
            rows += block.height
            bar.update(done)
    return rows


def _counted(blocks: Iterator[pl.DataFrame]) -> Iterator[tuple[int, pl.DataFrame]]:
    done = 0
    for block in blocks:
        done += block["user"].n_unique()
        yield done, block


def _join(staged: Path, path: Path) -> None:
    parts = pl.scan_parquet(sorted(staged.glob("*.parquet")), glob=False, hive_partitioning=False)
    sinks: dict[str, Callable[[Path], None]] = {
        ".parquet": parts.sink_parquet,
        ".csv": parts.sink_csv,
        ".jsonl": parts.sink_ndjson,
    }
    write_whole(path, sinks[path.suffix])
