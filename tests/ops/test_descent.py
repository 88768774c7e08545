import numpy as np
import pytest

from attlas.ops.descent import Tables, deal_cells, descend_on_choices


def test_cells_that_are_worked_on_together_share_no_row_and_no_column():
    rng = np.random.default_rng(1)
    user, item = rng.integers(0, 50, 400), rng.integers(0, 200, 400)
    cells = deal_cells(user, item, 50, 200, rng)
    assert cells.side == 8
    assert sorted(cells.order) == list(range(400))
    for turn in range(8):
        together = [a * 8 + (a + turn) % 8 for a in range(8)]
        for index in (user, item):
            rows = [set(index[cells.order[cells.start[cell] : cells.start[cell + 1]]].tolist()) for cell in together]
            assert sum(map(len, rows)) == len(set.union(*rows))


def test_negatives_are_drawn_evenly_and_never_among_what_is_listed():
    """One user has chosen the first 8 of 40 items; whose bias has fallen was drawn."""
    listed = np.array([0, 8]), np.arange(8)
    pairs = np.zeros(8, np.int64), np.arange(8)
    drawn = np.zeros(40)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        tables = Tables(np.zeros((1, 1)), np.zeros((40, 1)), np.zeros(1), np.zeros(40))
        cells = deal_cells(*pairs, 1, 40, rng)
        steps = {"negatives": 4, "pairwise": False, "learning_rate": 1e-3, "l2": 0.0, "seed": seed}
        moved, _ = descend_on_choices(tables, listed, pairs, cells, **steps)
        drawn += moved.item_bias < 0
    assert (drawn[:8] == 0).all()
    # 32 draws an epoch over 32 items: each is drawn at least once in 63 % of the epochs or so, less where groups clash.
    assert drawn[8:].min() > 0.4 * 400
    assert drawn[8:].max() < 0.8 * 400


@pytest.mark.parametrize(("num_items", "groups"), [(1, 1), (16, 1), (33, 2), (127, 7), (128, 8), (10**6, 8)])
def test_a_small_catalogue_falls_into_few_groups_so_that_each_has_enough_to_draw_from(num_items, groups):
    nobody = np.zeros(0, np.int64)
    assert deal_cells(nobody, nobody, 1, num_items, np.random.default_rng(1)).side == groups


@pytest.mark.parametrize("pairwise", [True, False])
def test_a_catalogue_of_eight_items_is_learned_from(pairwise):
    listed = np.array([0, 4, 8]), np.array([0, 1, 2, 3, 4, 5, 6, 7])
    pairs = np.repeat([0, 1], 4), np.arange(8)
    rng = np.random.default_rng(1)
    tables = Tables(rng.normal(0, 0.1, (2, 3)), rng.normal(0, 0.1, (8, 3)), np.zeros(2), np.zeros(8))
    steps = {"negatives": 2, "pairwise": pairwise, "learning_rate": 0.1, "l2": 0.0}
    losses = []
    for seed in range(60):
        tables, loss = descend_on_choices(tables, listed, pairs, deal_cells(*pairs, 2, 8, rng), **steps, seed=seed)
        losses.append(loss)
    assert losses[-1] < 0.5 * losses[0]
