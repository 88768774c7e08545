import numpy as np

from attlas.ops.descent import SIDE, Tables, deal_cells, descend_on_choices


def test_cells_that_are_worked_on_together_share_no_row_and_no_column():
    rng = np.random.default_rng(1)
    user, item = rng.integers(0, 50, 400), rng.integers(0, 40, 400)
    cells = deal_cells(user, item, 50, 40, rng)
    assert sorted(cells.order) == list(range(400))
    for turn in range(SIDE):
        together = [a * SIDE + (a + turn) % SIDE for a in range(SIDE)]
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
