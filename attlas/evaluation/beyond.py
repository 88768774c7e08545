"""What lists are like, right or wrong: how novel, popular and unlike one another their items are, and whose turn never comes.

These describe; none of them is a goal, and which way is better depends on what the lists are for.

Shapes: V users that were ranked, I items, k list length, K the longest, L items that are listed, R countings of the same
lists, G groups of users. A list ends in -1 where fewer items are left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attlas.data.interactions import Interactions
from attlas.evaluation.report import Overall
from attlas.ops.neighbours import cosines_before

GROUPS = 200


def of_each_list(listed_VK: np.ndarray, train: Interactions, cuts: Sequence[int]) -> dict[str, np.ndarray]:
    """``novelty@k``, ``popularity@k`` and ``diversity@k`` of every user's list, float64[V]; nan where the list is too short.

    Args:
        listed_VK: items, best first.
        train: says who has chosen which item.
        cuts: lengths, at most K.
    """
    chosen_I = np.diff(train.by_item.indptr)
    information_I = self_information(chosen_I, int(np.count_nonzero(np.diff(train.by_user.indptr))))
    alike_VK = cosines_before(train.by_item.indptr, train.by_item.indices, len(train.users), listed_VK)
    found = {}
    for cut in cuts:
        listed_Vk = listed_VK[:, :cut]
        found[f"novelty@{cut}"] = _mean_of_listed(information_I, listed_Vk)
        found[f"popularity@{cut}"] = _mean_of_listed(chosen_I, listed_Vk)
        length_V = (listed_Vk >= 0).sum(axis=1)
        found[f"diversity@{cut}"] = 1.0 - _ratio(alike_VK[:, :cut].sum(axis=1), length_V * (length_V - 1) / 2)
    return found


def self_information(chosen: np.ndarray, num_users: int) -> np.ndarray:
    """How surprising it is that a user chose the item, -log2(share of the users who did), in bits.

    An item that nobody has chosen counts as chosen by half a user: one bit more than what a single user chose.

    Args:
        chosen: how many users chose each item.
        num_users: how many users have chosen anything, at least 1.

    Source: Vargas and Castells, RecSys 2011; Zhou et al., PNAS 2010.
    """
    information: np.ndarray = np.log2(num_users) - np.log2(np.maximum(chosen, 0.5))
    return information


def over_all_lists(listed_VK: np.ndarray, num_items: int, cuts: Sequence[int]) -> dict[str, Overall]:
    """``coverage@k`` and ``gini@k`` over the catalogue, each with its 95 % interval from a jackknife over users.

    A bootstrap repeats users, and repeated users bring no new items, so that its intervals are too short; those of the
    jackknife err on the wide side. Users are left out in up to 200 groups, the same in every run.

    Args:
        listed_VK: items, best first.
        num_items: I, the size of the catalogue.
        cuts: lengths, at most K.

    Source: Efron and Stein, Annals of Statistics 1981: the jackknife overstates the variance rather than understates it.
    """
    users = len(listed_VK)
    group_V = np.random.default_rng(0).permutation(users) % GROUPS
    found = {}
    for cut in cuts:
        count_GL = _counts(listed_VK[:, :cut], group_V, min(users, GROUPS))
        total_L = count_GL.sum(axis=0, keepdims=True)
        for name, measure in {"coverage": coverage, "gini": gini}.items():
            value, without_G = measure(total_L, num_items).item(), measure(total_L - count_GL, num_items)
            margin = 1.96 * float(np.sqrt((len(without_G) - 1) * without_G.var()))
            found[f"{name}@{cut}"] = Overall(value, max(0.0, value - margin), min(1.0, value + margin))
    return found


def coverage(count_RL: np.ndarray, num_items: int) -> np.ndarray:
    """The share of the catalogue that is listed at all, [R].

    Args:
        count_RL: how often each item is listed, at least once somewhere; other items of the catalogue are never.
        num_items: I, at least L.
    """
    share: np.ndarray = (count_RL > 0).sum(axis=1) / num_items
    return share


def gini(count_RL: np.ndarray, num_items: int) -> np.ndarray:
    """How unevenly items are listed, [R]: 0 is all alike; with all turns taken by one item of I it is 1 - 1 / I.

    The mean difference of two items' counts over twice their mean, over all pairs of the catalogue; 0 without any turn.

    Args:
        count_RL: as in coverage.
        num_items: I, at least L.
    """
    rising_RL = np.sort(count_RL, axis=1).astype(np.float64)
    place_L = np.arange(num_items - count_RL.shape[1], num_items) + 1
    total_R = rising_RL.sum(axis=1)
    return rising_RL @ (2.0 * place_L - num_items - 1) / np.maximum(num_items * total_R, 1)


def _mean_of_listed(value_I: np.ndarray, listed_Vk: np.ndarray) -> np.ndarray:
    is_there_Vk = listed_Vk >= 0
    return _ratio(np.where(is_there_Vk, value_I[listed_Vk], 0).sum(axis=1), is_there_Vk.sum(axis=1))


def _ratio(above_V: np.ndarray, below_V: np.ndarray) -> np.ndarray:
    """nan where nothing stands below."""
    return np.divide(above_V, below_V, out=np.full(len(above_V), np.nan), where=below_V > 0)


def _counts(listed_Vk: np.ndarray, group_V: np.ndarray, groups: int) -> np.ndarray:
    """How often the users of each group are shown each item that anybody is shown, int64[G, L]."""
    user, place = np.nonzero(listed_Vk >= 0)
    items, column = np.unique(listed_Vk[user, place], return_inverse=True)
    cell = group_V[user] * len(items) + column
    return np.bincount(cell, minlength=groups * len(items)).reshape(groups, len(items))
