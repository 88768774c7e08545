"""Rows in random order, in blocks that keep together what a model wants together.

Shapes: N rows, G groups that own them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def in_blocks(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """All rows from 0 to ``count`` - 1 in random order, ``size`` at a time."""
    order = rng.permutation(count)
    for first in range(0, count, size):
        yield order[first : first + size]


def in_whole_groups(group: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """All rows, group after group in random order, in blocks of whole groups: of ``size`` rows, more or less.

    Args:
        group: int64[N], whose each row is.
        size: a new block begins with the first group that begins beyond a multiple of so many rows.
    """
    if not len(group):
        return
    place = rng.permutation(int(group.max()) + 1)
    place = place.astype(np.uint16 if len(place) < 2**16 else np.int64)[group]  # numpy sorts 16 bits by counting
    order, length_G = np.argsort(place, kind="stable"), np.bincount(place)
    block_G = (np.cumsum(length_G) - length_G) // size
    length_of_block = np.bincount(block_G, weights=length_G).astype(np.int64)
    ends = np.cumsum(length_of_block[length_of_block > 0])  # a group of more than ``size`` rows skips blocks
    yield from np.split(order, ends[:-1])
