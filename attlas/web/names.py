"""The ids and titles of one vocabulary at hand, and the search for them.

Shapes: N ids.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from attlas.data.vocabulary import Vocabulary


class Names:
    """What every index is called, looked up in lists rather than in frames.

    Args:
        known: the vocabulary.
        count_N: int64[N], how many interactions each id has; what is searched comes in this order.
    """

    def __init__(self, known: Vocabulary, count_N: np.ndarray):
        self.ids: list[str | int] = known.ids.to_list()
        self.titles = known.titles_of(np.arange(len(known)))
        self.count_N = count_N
        self._text = pl.Series(
            [f"{id_}\n{title}".casefold() for id_, title in zip(self.ids, self.titles, strict=True)], dtype=pl.String
        )

    def of(self, index: int) -> dict[str, Any]:
        """The id and the title."""
        return {"id": self.ids[index], "title": self.titles[index]}

    def search(self, text: str, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Whose id or title holds the text, in any case, and how many there are in all.

        The one whose id it is comes first, then those whose title begins with it; among equals who has most interactions.
        No text at all finds everybody.

        Returns:
            At most ``limit`` of them: id, title and count.
        """
        wanted = " ".join(text.casefold().split())
        found = self._text.str.contains(wanted, literal=True).arg_true().to_numpy()
        of_found = self._text.gather(found)
        is_it = of_found.str.starts_with(f"{wanted}\n").to_numpy()
        begins = of_found.str.contains(f"\n{wanted}", literal=True).to_numpy()
        order = np.lexsort((found, -self.count_N[found], ~begins, ~is_it))
        best = found[order[:limit]].tolist()
        return [{**self.of(index), "count": int(self.count_N[index])} for index in best], len(found)
