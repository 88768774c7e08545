"""Draw a film club whose tastes and exposures are known, to see how much of the truth a model finds.

Shapes: N rows, U users, I items, C communities.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from attlas.data.film_club import (
    CONTEXT_LEVELS,
    CONTEXT_SHARE,
    DAYPART_HOURS,
    ITEM_LEVELS,
    LEVELS,
    PAIR_STRENGTHS,
    USER_LEVELS,
    Truth,
    film_titles,
)
from attlas.data.interactions import Interactions, Origin
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError

LEAST_PER_USER = 5
RATING_STEPS = (-0.9, 0.0, 0.9, 1.8)
RATING_NOISE = 0.5
FIRST_DAY, DAYS, DAY_SECONDS = 1_672_531_200, 365, 86_400  # midnight before Sunday, 1 January 2023, UTC
ROWS_PER_BLOCK = 250_000
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Club:
    """A simulated film club.

    Attributes:
        interactions: who saw what, rated 1 to 5, in the order of time; the vocabularies hold facts about users and items.
        features: one row per interaction: three features of the user, four of the item, three of the context.
        truth: what the rows were drawn from.
    """

    interactions: Interactions
    features: pl.DataFrame
    truth: Truth


def simulate(
    num_users: int = 1500,
    num_items: int = 800,
    *,
    seed: int = 1,
    num_interactions: int | None = None,
    num_communities: int = 6,
) -> Club:
    """Draw a film club; the same arguments give the same club, bit by bit.

    Args:
        num_users: members, at least 1.
        num_items: films, at least 10.
        seed: 0 or more.
        num_interactions: rows, exactly; from 5 per user up to half of all items per user. By default 45 per user, or fewer
            where that is more than a quarter of the items.
        num_communities: groups that hear of different films, from 1 to the number of items.

    Raises:
        ConfigError: a size is impossible.
    """
    if num_interactions is None:
        num_interactions = num_users * min(45, max(num_items // 4, LEAST_PER_USER))
    _check_sizes(num_users, num_items, seed, num_interactions, num_communities)
    rng = np.random.default_rng(seed)
    truth = _draw_truth(num_users, num_items, num_communities, rng)
    count = _draw_activity(num_users, num_items // 2, num_interactions, rng)
    user, item = _draw_rows(truth, count, rng)
    time, context = _draw_context(truth, user, item, rng)
    by_time = np.argsort(time, kind="stable")
    user, item, time = user[by_time], item[by_time], time[by_time]
    context = {name: level[by_time] for name, level in context.items()}
    features = _features(truth, user, item, context)
    felt = truth.preference(user, item, features) + RATING_NOISE * rng.standard_normal(len(user))
    rating = (1 + np.searchsorted(RATING_STEPS, felt)).astype(np.float32)
    users, items = _vocabularies(truth, rng)
    origin = Origin(f"simulated film club, seed {seed}", len(user))
    return Club(Interactions(users, items, user, item, rating, time, origin), features, truth)


def _check_sizes(num_users: int, num_items: int, seed: int, num_interactions: int, num_communities: int) -> None:
    if num_users < 1:
        raise ConfigError(f"num_users is {num_users:,}; a film club needs at least 1")
    if num_items < 2 * LEAST_PER_USER:
        raise ConfigError(
            f"num_items is {num_items:,}; expected at least {2 * LEAST_PER_USER}, since a user sees "
            f"from {LEAST_PER_USER} items up to half of them"
        )
    if not 1 <= num_communities <= num_items:
        raise ConfigError(f"num_communities is {num_communities:,}; expected 1 to {num_items:,}, the number of items")
    if seed < 0:
        raise ConfigError(f"seed is {seed}; expected 0 or more")
    least, most = num_users * LEAST_PER_USER, num_users * (num_items // 2)
    if not least <= num_interactions <= most:
        raise ConfigError(
            f"num_interactions is {num_interactions:,}; {num_users:,} users and {num_items:,} items allow {least:,} to "
            f"{most:,} ({LEAST_PER_USER} per user up to half of all items): give another number, or change the sizes"
        )


def _draw_truth(num_users: int, num_items: int, num_communities: int, rng: np.random.Generator) -> Truth:
    levels = {name: rng.integers(len(known), size=num_users) for name, known in USER_LEVELS.items()}
    levels |= {name: rng.integers(len(known), size=num_items) for name, known in ITEM_LEVELS.items()}
    # Regions meet different communities, and so differ in what they hear of, never in what they like.
    regional = rng.dirichlet(np.full(num_communities, 0.5), size=len(USER_LEVELS["region"]))
    membership = rng.standard_gamma(0.05 + 0.25 * regional[levels["region"]]) + 1e-9
    popularity = 0.9 * (10 / (10 + rng.permutation(num_items))) ** 0.8
    homely = np.eye(num_communities)[rng.integers(num_communities, size=num_items)]
    reach = popularity[:, None] * np.maximum(homely, rng.beta(0.5, 6, size=(num_items, num_communities)))
    genre_trait = rng.standard_normal((len(ITEM_LEVELS["genre"]), num_communities))
    trait = 0.6 * genre_trait[levels["genre"]] + 0.8 * rng.standard_normal((num_items, num_communities))
    decade_quality = 0.2 * rng.standard_normal(len(ITEM_LEVELS["decade"]))
    quality = decade_quality[levels["decade"]] + 0.4 * rng.standard_normal(num_items)
    return Truth(
        membership=membership / membership.sum(axis=1, keepdims=True),
        reach=np.clip(reach, 1e-4, None),
        taste=rng.standard_normal((num_users, num_communities)),
        trait=0.8 * trait / np.sqrt((trait**2).sum(axis=1).mean()),
        quality=quality - quality.mean(),
        hype=0.3 * np.log(popularity / popularity.mean()) + 0.4 * rng.standard_normal(num_items),
        curiosity=rng.beta(2, 8, size=num_users),
        levels=levels,
        effects={pair: _draw_effect(*pair, strength, rng) for pair, strength in PAIR_STRENGTHS.items()},
    )


def _draw_effect(one: str, other: str, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A table of two features' levels without main effects, whose deviation is the strength."""
    share, weight = (np.array(CONTEXT_SHARE.get(name, [1 / len(LEVELS[name])] * len(LEVELS[name]))) for name in (one, other))
    table = rng.standard_normal((len(share), len(weight)))
    table -= share @ table
    table -= (table @ weight)[:, None]
    return strength * table / np.sqrt(share @ table**2 @ weight)


def _draw_activity(num_users: int, most: int, total: int, rng: np.random.Generator) -> np.ndarray:
    """How many items each user sees, int64[U]: heavy-tailed, from five to ``most``, and ``total`` together."""
    eagerness = rng.lognormal(sigma=1.0, size=num_users)
    low, high = 0.0, most / eagerness.min()
    for _ in range(100):  # bisection to the last bit of the factor
        middle = (low + high) / 2
        fits = np.minimum(LEAST_PER_USER + (middle * eagerness).astype(np.int64), most).sum() <= total
        low, high = (middle, high) if fits else (low, middle)
    count = np.minimum(LEAST_PER_USER + (low * eagerness).astype(np.int64), most)
    while missing := total - count.sum():
        count[rng.permutation(np.flatnonzero(count < most))[:missing]] += 1
    return count


def _draw_rows(truth: Truth, count: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (user, item) rows, user by user, in blocks of users so that no [U, I] matrix ever stands in memory."""
    mass_C = truth.reach.sum(axis=0)
    mix_UC = np.cumsum(truth.membership * mass_C, axis=1)
    mix_UC /= mix_UC[:, -1:]
    # Community c climbs from c to c + 1, so that one search serves all communities.
    ladder = (np.cumsum(truth.reach, axis=0) / mass_C + np.arange(len(mass_C))).T.ravel()
    rows_before = np.cumsum(count) - count
    edges = np.unique(np.append(np.searchsorted(rows_before, np.arange(0, count.sum(), ROWS_PER_BLOCK)), len(count)))
    cells = [_draw_block(truth, mix_UC, ladder, np.arange(*edge), count[slice(*edge)], rng) for edge in pairwise(edges)]
    return np.concatenate([user for user, _ in cells]), np.concatenate([item for _, item in cells])


def _draw_block(
    truth: Truth, mix_UC: np.ndarray, ladder: np.ndarray, users: np.ndarray, count: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Items come to notice one by one by exposure and are taken by choice, until each of the users has enough."""
    num_items = len(truth.quality)
    cell = np.empty(0, np.int64)  # the user's place in the block times the number of items, plus the item
    for _ in range(ROUNDS):
        missing = count - np.bincount(cell // num_items, minlength=len(users))
        place = np.repeat(np.arange(len(users)), np.where(missing > 0, 3 * missing + 8, 0))
        user = users[place]
        community = (rng.random(len(place))[:, None] > mix_UC[user, :-1]).sum(axis=1)
        noticed = np.searchsorted(ladder, community + rng.random(len(place))) - community * num_items
        noticed = np.clip(noticed, 0, num_items - 1)  # a ladder's last step is rounded
        taken = rng.random(len(place)) < truth.choice(user, noticed)
        cell = np.concatenate([cell, (place * num_items + noticed)[taken]])
        cell = cell[np.sort(np.unique(cell, return_index=True)[1])]
        cell = cell[np.argsort(cell // num_items, kind="stable")]
        cell = cell[_rank_within(cell // num_items, len(users)) < count[cell // num_items]]
    missing = count - np.bincount(cell // num_items, minlength=len(users))
    late = [
        _draw_rest(truth, int(users[place]), int(place), int(missing[place]), cell, rng) for place in np.flatnonzero(missing)
    ]
    cell = np.concatenate([cell, *late])
    return users[cell // num_items], cell % num_items


def _draw_rest(truth: Truth, user: int, place: int, missing: int, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The cells that a user still lacks, by the same law in one go: whichever item would be taken first.

    An item that is taken at rate w waits an exponential time of mean 1 / w; the earliest items are a draw without replacement.
    """
    num_items = len(truth.quality)
    item, same = np.arange(num_items), np.full(num_items, user)
    waiting = rng.standard_exponential(num_items) / (truth.exposure(same, item) * truth.choice(same, item))
    waiting[cell[cell // num_items == place] % num_items] = np.inf
    return place * num_items + np.argpartition(waiting, missing - 1)[:missing]


def _rank_within(owner: np.ndarray, count: int) -> np.ndarray:
    """0, 1, 2, ... within each run of equal owners; owners ascend."""
    size = np.bincount(owner, minlength=count)
    return np.arange(len(owner)) - (np.cumsum(size) - size)[owner]


def _draw_context(
    truth: Truth, user: np.ndarray, item: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """When each row happened, in seconds since 1970, and the levels of its context; people pick contexts that fit the film."""
    level = {}
    for (one, other), table in truth.effects.items():
        if other in CONTEXT_LEVELS:
            odds = np.cumsum(np.array(CONTEXT_SHARE[other]) * np.exp(table), axis=1)
            step = (odds / odds[:, -1:])[:, :-1]
            level[other] = (rng.random(len(item))[:, None] > step[truth.levels[one][item]]).sum(axis=1, dtype=np.uint8)
    joined = 0.6 * DAYS * rng.random(len(truth.taste))
    day = (joined[user] + (DAYS - joined[user]) * rng.random(len(user))).astype(np.int64)
    begin, end = np.array(DAYPART_HOURS)[level["daypart"]].T
    second = (3600 * (begin + (end - begin) * rng.random(len(user)))).astype(np.int64)
    level["day"] = np.isin(day % 7, (0, 6)).astype(np.uint8)  # the first day is a Sunday
    return FIRST_DAY + DAY_SECONDS * day + second, level


def _features(truth: Truth, user: np.ndarray, item: np.ndarray, context: dict[str, np.ndarray]) -> pl.DataFrame:
    level = {name: truth.levels[name][user if name in USER_LEVELS else item] for name in truth.levels} | context
    return pl.DataFrame([pl.Series(name, known, dtype=pl.Enum(known)).gather(level[name]) for name, known in LEVELS.items()])


def _vocabularies(truth: Truth, rng: np.random.Generator) -> tuple[Vocabulary, Vocabulary]:
    """Users m1, m2, ... and items f1, f2, ... with their facts; the number in an id is not its index."""
    fact = {name: pl.Series(name, LEVELS[name]).gather(level) for name, level in truth.levels.items()}
    num_users, num_items = len(truth.taste), len(truth.trait)
    users = pl.DataFrame([fact[name] for name in USER_LEVELS])
    items = pl.DataFrame([pl.Series("title", film_titles(num_items, rng)), *(fact[name] for name in ITEM_LEVELS)])
    return (
        Vocabulary([f"m{number}" for number in range(1, num_users + 1)], users, noun="user"),
        Vocabulary([f"f{number}" for number in range(1, num_items + 1)], items, noun="item"),
    )
