"""Items that a user has not chosen, drawn at random."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from attlas.errors import DataError
from attlas.ops.rows import nth_missing


def draw_negatives(chosen: sparse.csr_array, user: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` items for each entry of ``user``, uniformly among those the user has not chosen, with repetition.

    No draw is rejected: a random rank among the missing items is turned into an item by binary search.

    Args:
        chosen: the set of items of each user, binary [U, I], rows sorted.
        user: int64[N], user indices.
        count: how many items to draw per entry.
        rng: where randomness comes from.

    Returns:
        int64[N, count].

    Raises:
        DataError: a user has chosen every item.
    """
    missing = chosen.shape[1] - np.diff(chosen.indptr)[user]
    if len(missing) and missing.min() <= 0:
        full = user[missing.argmin()]
        raise DataError(
            f"the user with index {full} has chosen all {chosen.shape[1]:,} items, so that no negative can be drawn; "
            "leave such users out or use an objective without negatives"
        )
    rank = (rng.random((len(user), count)) * missing[:, None]).astype(np.int64)
    return nth_missing(chosen.indptr, chosen.indices, np.repeat(user, count), rank.ravel()).reshape(len(user), count)
