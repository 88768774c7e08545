"""From scores to ranked lists."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from attlas.answers import best_items, rows_of
from attlas.data.vocabulary import Vocabulary


@pytest.mark.parametrize("asked", [[2], [0, 3, 3], [-1], [1, -1, 2], []])
def test_rows_taken_as_they_lie_are_those_of_the_library_and_nobodys_is_empty(asked: list[int]) -> None:
    matrix = sparse.csr_array(np.array([[0, 1, 1], [0, 0, 0], [1, 0, 1], [0, 0, 1]], np.float32))
    rows = rows_of(matrix, np.array(asked, np.int64))
    taken = [rows.indices[low:high].tolist() for low, high in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)]
    assert taken == [[] if row < 0 else matrix[[row]].indices.tolist() for row in asked]


def test_what_a_row_hides_is_not_in_its_list_whichever_way_it_is_given() -> None:
    items, score_VI = Vocabulary(["a", "b", "c"]), np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], np.float32)
    hidden = sparse.csr_array(np.array([[1, 0, 0], [0, 1, 1]], np.float32))
    for given in (hidden, rows_of(hidden, np.arange(2))):
        answer = best_items(items, score_VI, 2, hidden=given, ways=["", ""])
        assert answer.index.tolist() == [[1, 2], [0, -1]]
