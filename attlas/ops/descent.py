"""Stochastic gradient descent on the products of two tables, one pair after the other, race-free and repeatable in parallel.

Rows of both tables are dealt at random into S groups each, eight or fewer; the pairs fall into S x S cells. In each of S turns
the S cells worked on share no row, so that threads need no locks and the result does not depend on their number. Negatives
are drawn among the columns of the pair's own cell; since groups are dealt anew every epoch, each is drawn as often in the end.

Shapes: U rows, I columns, D of both tables, N pairs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from attlas.ops._numba import descent as _cpu

MOST_GROUPS = 8
LEAST_POOL = 16  # columns in a group, where there are so many: negatives are drawn among them


class Tables(NamedTuple):
    """What is learned: two tables and a bias for each of their rows.

    Attributes:
        user, item: float32[U, D] and float32[I, D].
        user_bias, item_bias: float32[U] and float32[I].
    """

    user: np.ndarray
    item: np.ndarray
    user_bias: np.ndarray
    item_bias: np.ndarray


class Cells(NamedTuple):
    """Pairs sorted by cell, and the columns of each group.

    Attributes:
        order: int64[N], the pairs by cell, in random order inside each.
        start: int64[S^2 + 1], where each cell begins in ``order``.
        pool: int64[I], the columns by group.
        pool_start: int64[S + 1].
    """

    order: np.ndarray
    start: np.ndarray
    pool: np.ndarray
    pool_start: np.ndarray

    @property
    def side(self) -> int:
        """S, the number of groups."""
        return len(self.pool_start) - 1


def _num_groups(num_items: int) -> int:
    """S for a catalogue of so many columns: fewer groups where eight would leave each too few to draw from."""
    return max(1, min(MOST_GROUPS, num_items // LEAST_POOL))


def deal_cells(user_N: np.ndarray, item_N: np.ndarray, num_users: int, num_items: int, rng: np.random.Generator) -> Cells:
    """Rows and columns dealt into groups of like size at random, and the pairs by the cells that result."""
    side = _num_groups(num_items)
    user_group = rng.permutation(num_users) % side
    item_group = rng.permutation(num_items) % side
    order = rng.permutation(len(user_N))
    cell_N = (user_group[user_N] * side + item_group[item_N]).astype(np.int8)
    order = order[np.argsort(cell_N[order], kind="stable")]
    start = np.concatenate([[0], np.bincount(cell_N, minlength=side**2).cumsum()])
    pool_start = np.concatenate([[0], np.bincount(item_group, minlength=side).cumsum()])
    return Cells(order, start, np.argsort(item_group, kind="stable"), pool_start)


def deal_cells_reference(
    user_N: np.ndarray, item_N: np.ndarray, num_users: int, num_items: int, rng: np.random.Generator
) -> Cells:
    """``deal_cells``, pair by pair."""
    side = _num_groups(num_items)
    user_group = [place % side for place in rng.permutation(num_users).tolist()]
    item_group = [place % side for place in rng.permutation(num_items).tolist()]
    cells: list[list[int]] = [[] for _ in range(side**2)]
    for n in rng.permutation(len(user_N)).tolist():
        cells[user_group[user_N[n]] * side + item_group[item_N[n]]].append(n)
    pools: list[list[int]] = [[] for _ in range(side)]
    for item, group in enumerate(item_group):
        pools[group].append(item)
    start = np.array([0, *np.cumsum([len(cell) for cell in cells])], np.int64)
    pool_start = np.array([0, *np.cumsum([len(pool) for pool in pools])], np.int64)
    order, pool = (np.array([place for part in parts for place in part], np.int64) for parts in (cells, pools))
    return Cells(order, start, pool, pool_start)


def descend_on_choices(
    tables: Tables,
    listed: tuple[np.ndarray, np.ndarray],
    pairs: tuple[np.ndarray, np.ndarray],
    cells: Cells,
    *,
    negatives: int,
    pairwise: bool,
    learning_rate: float,
    l2: float,
    seed: int,
) -> tuple[Tables, float]:
    """Every pair once, each with fresh negatives that its row does not list; the new tables, and the mean loss on the way.

    Args:
        tables: not changed.
        listed: start int64[U + 1] and index int64[T] of what each row lists, sorted.
        pairs: rows int64[N] and columns int64[N].
        cells: of those pairs.
        negatives: how many are drawn per pair.
        pairwise: False descends on the cross-entropy of the pair (1) and of its negatives (0); True on the log-sigmoid of each
            margin between the pair and a negative (BPR), in which row biases play no part.
        learning_rate, l2: each step moves a row by rate (gradient + l2 row).
        seed: what the draws depend on.
    """
    moved = Tables(*(table.astype(np.float32) for table in tables))
    user_N, item_N = (np.ascontiguousarray(part[cells.order]) for part in pairs)
    given = (user_N, item_N, cells.start, cells.pool, cells.pool_start, cells.side, negatives, pairwise)
    told = _cpu.rank_epoch(tuple(moved), *listed, *given, np.float32(learning_rate), np.float32(l2), np.uint64(seed))
    return moved, float(told[:, 0].sum() / max(told[:, 1].sum(), 1))


def descend_on_choices_reference(
    tables: Tables,
    listed: tuple[np.ndarray, np.ndarray],
    pairs: tuple[np.ndarray, np.ndarray],
    cells: Cells,
    *,
    negatives: int,
    pairwise: bool,
    learning_rate: float,
    l2: float,
    seed: int,
) -> tuple[Tables, float]:
    """``descend_on_choices``, cell by cell and pair by pair in double precision; the same draws."""
    moved = Tables(*(table.astype(np.float64) for table in tables))
    losses: list[float] = []
    for cell, n in _in_turn(cells):
        user, item = pairs[0][cells.order[n]], pairs[1][cells.order[n]]
        pool = cells.pool[cells.pool_start[cell % cells.side] : cells.pool_start[cell % cells.side + 1]]
        number = _cpu.mixed(np.uint64(seed + n))
        if not pairwise:
            losses.append(_on_pair(moved, user, item, 1.0, False, learning_rate, l2))
        for _ in range(negatives):
            other, number = _cpu.draw(*listed, user, pool, np.uint64(number))
            if other >= 0 and pairwise:
                losses.append(_on_margin(moved, user, item, other, learning_rate, l2))
            elif other >= 0:
                losses.append(_on_pair(moved, user, other, 0.0, False, learning_rate, l2))
    return moved, float(np.mean(losses)) if losses else 0.0


def descend_on_ratings(
    tables: Tables, pairs: tuple[np.ndarray, np.ndarray, np.ndarray], cells: Cells, *, learning_rate: float, l2: float
) -> tuple[Tables, float]:
    """Every rating once, by squared error; the new tables, and the mean squared error on the way.

    Args:
        tables: not changed.
        pairs: rows int64[N], columns int64[N] and what their score should be, float32[N].
        cells: of those pairs.
        learning_rate, l2: each step moves a row by rate (error times the other row + l2 row).
    """
    moved = Tables(*(table.astype(np.float32) for table in tables))
    user_N, item_N, rating_N = (np.ascontiguousarray(part[cells.order]) for part in pairs)
    given = (user_N, item_N, rating_N.astype(np.float32), cells.start, cells.side)
    told = _cpu.rate_epoch(tuple(moved), *given, np.float32(learning_rate), np.float32(l2))
    return moved, float(told[:, 0].sum() / max(told[:, 1].sum(), 1))


def descend_on_ratings_reference(
    tables: Tables, pairs: tuple[np.ndarray, np.ndarray, np.ndarray], cells: Cells, *, learning_rate: float, l2: float
) -> tuple[Tables, float]:
    """``descend_on_ratings``, rating by rating in double precision."""
    moved = Tables(*(table.astype(np.float64) for table in tables))
    losses = []
    for _, n in _in_turn(cells):
        user, item, rating = (part[cells.order[n]] for part in pairs)
        losses.append(_on_pair(moved, user, item, float(rating), True, learning_rate, l2))
    return moved, float(np.mean(losses)) if losses else 0.0


def _in_turn(cells: Cells) -> list[tuple[int, int]]:
    """The cell and the place of each pair, in the order in which they are worked on."""
    by_turn = [a * cells.side + (a + turn) % cells.side for turn in range(cells.side) for a in range(cells.side)]
    return [(cell, n) for cell in by_turn for n in range(cells.start[cell], cells.start[cell + 1])]


def _on_pair(tables: Tables, user: int, item: int, label: float, squared: bool, rate: float, l2: float) -> float:
    user_D, item_D = tables.user[user].copy(), tables.item[item].copy()
    mine, its = tables.user_bias[user], tables.item_bias[item]
    score = user_D @ item_D + mine + its
    pull = score - label if squared else 1 / (1 + math.exp(-score)) - label
    tables.user[user] -= rate * (pull * item_D + l2 * user_D)
    tables.item[item] -= rate * (pull * user_D + l2 * item_D)
    tables.user_bias[user] -= rate * (pull + l2 * mine)
    tables.item_bias[item] -= rate * (pull + l2 * its)
    return float(pull**2 if squared else math.log1p(math.exp(score)) - label * score)


def _on_margin(tables: Tables, user: int, item: int, other: int, rate: float, l2: float) -> float:
    user_D, item_D, other_D = (table.copy() for table in (tables.user[user], tables.item[item], tables.item[other]))
    its, theirs = tables.item_bias[item], tables.item_bias[other]
    margin = user_D @ (item_D - other_D) + its - theirs
    pull = -1 / (1 + math.exp(margin))
    tables.user[user] -= rate * (pull * (item_D - other_D) + l2 * user_D)
    tables.item[item] -= rate * (pull * user_D + l2 * item_D)
    tables.item[other] -= rate * (-pull * user_D + l2 * other_D)
    tables.item_bias[item] -= rate * (pull + l2 * its)
    tables.item_bias[other] -= rate * (-pull + l2 * theirs)
    return math.log1p(math.exp(-margin))
