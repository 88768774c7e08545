"""Public files that are no tables -> tables."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from attlas.errors import DataError

REVIEW_FIELDS = {
    "review/userId": "user",
    "product/productId": "item",
    "review/score": "rating",
    "review/time": "time",
}


def write_ratings_of_reviews(reviews: Path, table: Path) -> None:
    """SNAP's reviews, a block of ``key: value`` lines each, as a CSV of user, item, rating and time in their order.

    Raises:
        DataError: the file is damaged or holds no review.
    """
    part = table.with_name(f".{table.name}.part")
    try:
        with gzip.open(reviews, "rt", encoding="latin-1") as lines, open(part, "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(REVIEW_FIELDS.values())
            rows.writerows(_reviews(lines))
            is_empty = file.tell() <= len(",".join(REVIEW_FIELDS.values())) + 2
        if is_empty:
            raise DataError(f"{reviews} holds no review; expected lines such as 'review/userId: A1B2'")
        part.replace(table)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{reviews} is no whole gzip file ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot write {table}: {error.strerror}; make room and run the same command again") from error
    finally:
        part.unlink(missing_ok=True)


def _reviews(lines: IO[str]) -> Iterator[list[str]]:
    """A row per product line; what a review does not say is empty."""
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(": ")
        if key not in REVIEW_FIELDS:
            continue
        if key == "product/productId" and found:
            yield [found.get(name, "") for name in REVIEW_FIELDS.values()]
            found = {}
        found[REVIEW_FIELDS[key]] = value.strip()
    if found:
        yield [found.get(name, "") for name in REVIEW_FIELDS.values()]


CONVERTERS: dict[str, Callable[[Path, Path], None]] = {"reviews": write_ratings_of_reviews}
