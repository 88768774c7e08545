"""Reading a table: 20 million rows of text ids, ratings and epoch times from a CSV file, and what polars alone needs.

python benchmarks/read.py [ROWS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import attlas

# isort: split
import numpy as np
import polars as pl
from machine import Spell, peak_mib, record

USERS, ITEMS, AT_ONCE = 138_000, 27_000, 2_000_000


def write_table(path: Path, rows: int) -> None:
    """A table with a header and rows such as u123456,i4567,3.5,1100000000, some pairs of them repeated."""
    rng = np.random.default_rng(1)
    with path.open("wb") as file:
        file.write(b"userId,itemId,rating,timestamp\n")
        for first in range(0, rows, AT_ONCE):
            count = min(AT_ONCE, rows - first)
            columns = {
                "user": (USERS * rng.random(count) ** 1.5).astype(np.int64),
                "item": (ITEMS * rng.random(count) ** 2.5).astype(np.int64),
                "rating": rng.integers(1, 11, count) / 2,
                "time": rng.integers(789_652_009, 1_427_784_002, count),
            }
            text = pl.DataFrame(columns).select(pl.format("u{}", "user"), pl.format("i{}", "item"), "rating", "time")
            text.write_csv(file, include_header=False)


def read_once(way: str, path: str) -> dict[str, Any]:
    """Seconds, memory and what came of one reading, in a process of its own so that its peak is its own."""
    read = {"attlas.read": attlas.read, "polars.read_csv": pl.read_csv}[way]
    with Spell() as spell:
        found = read(path)
    return {"best_of_3": spell.facts(), "peak_mib": peak_mib(), "rows_kept": len(found)}


def main() -> None:
    """A line for attlas.read and one for polars, each the best of three processes."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_table(path, rows)
        data = f"{rows:,} rows of CSV, {path.stat().st_size >> 20} MiB"
        for way in ("attlas.read", "polars.read_csv"):
            runs = [
                json.loads(subprocess.run([sys.executable, __file__, way, path], capture_output=True, check=True).stdout)
                for _ in range(3)
            ]
            lines.append({"data": data, "what": way, **min(runs, key=lambda run: run["best_of_3"]["wall_s"])})
    record("read", lines)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(read_once(*sys.argv[1:])))
    else:
        main()
