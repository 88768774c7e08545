"""The film club is drawn as its truth says, and can be learnt from."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from attlas.data import simulate as room
from attlas.data.film_club import CONTEXT_SHARE, ITEM_LEVELS, LEVELS, PAIR_STRENGTHS, USER_LEVELS, Truth, film_titles
from attlas.data.simulate import Club, simulate
from attlas.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def club() -> Club:
    return simulate()


def any_pairs(club: Club, count: int = 50_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(len(club.interactions.users), size=count), rng.integers(len(club.interactions.items), size=count)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def share_of_top_tenth(count: np.ndarray) -> float:
    return float(np.sort(count)[::-1][: len(count) // 10].sum() / count.sum())


def test_the_same_seed_gives_the_same_club_bit_by_bit() -> None:
    one, other = simulate(60, 40, seed=3), simulate(60, 40, seed=3)
    assert one.interactions.fingerprint == other.interactions.fingerprint
    assert one.features.equals(other.features)
    assert one.interactions.items.columns.equals(other.interactions.items.columns)
    assert np.array_equal(one.truth.membership, other.truth.membership)
    assert np.array_equal(one.truth.taste, other.truth.taste)


def test_another_seed_gives_another_club() -> None:
    one, other = simulate(60, 40, seed=3), simulate(60, 40, seed=4)
    assert one.interactions.fingerprint != other.interactions.fingerprint
    assert not np.allclose(one.truth.taste, other.truth.taste)


@pytest.mark.parametrize("rows", [350, 351, 1000, 1050])
def test_sizes_are_those_asked_for(rows: int) -> None:
    club = simulate(70, 30, num_interactions=rows, num_communities=3)
    assert len(club.interactions) == club.features.height == rows
    assert len(club.interactions.users) == 70
    assert len(club.interactions.items) == 30
    assert club.truth.membership.shape == (70, 3)
    assert club.truth.reach.shape == (30, 3)


def test_the_smallest_club_is_one_user_and_ten_items() -> None:
    assert np.bincount(simulate(1, 10, num_communities=1).interactions.user).tolist() == [5]


def test_by_default_a_user_has_45_interactions_on_average_or_a_quarter_of_few_items(club: Club) -> None:
    assert len(club.interactions) == 45 * 1500
    assert len(simulate(10, 40).interactions) == 10 * 10


def test_no_user_sees_an_item_twice(club: Club) -> None:
    rows = club.interactions
    assert len(np.unique(rows.user * len(rows.items) + rows.item)) == len(rows)


def test_every_user_has_at_least_five_interactions_and_a_few_have_very_many(club: Club) -> None:
    count = np.bincount(club.interactions.user, minlength=len(club.interactions.users))
    assert count.min() >= 5
    assert count.max() <= len(club.interactions.items) // 2
    assert share_of_top_tenth(count) > 0.3


def test_a_tenth_of_the_items_draws_more_than_a_quarter_of_the_interactions(club: Club) -> None:
    assert share_of_top_tenth(np.bincount(club.interactions.item, minlength=len(club.interactions.items))) > 0.25


def test_exposure_is_a_user_s_communities_times_what_each_hears_of_an_item(club: Club) -> None:
    truth = replace(club.truth, membership=np.array([[0.25, 0.75]]), reach=np.array([[0.4, 0.8]]))
    assert truth.exposure(np.array([0]), np.array([0])) == pytest.approx([0.25 * 0.4 + 0.75 * 0.8])


def test_exposure_is_a_probability_and_memberships_sum_to_one(club: Club) -> None:
    exposure = club.truth.exposure(*any_pairs(club))
    assert exposure.min() > 0
    assert exposure.max() < 1
    np.testing.assert_allclose(club.truth.membership.sum(axis=1), 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_users_notice_says_next_to_nothing_about_what_they_like(seed: int) -> None:
    club = simulate(seed=seed)
    user, item = any_pairs(club)
    assert abs(correlation(club.truth.exposure(user, item), club.truth.preference(user, item))) < 0.1


def test_popularity_follows_exposure_more_than_preference(club: Club) -> None:
    num_users, num_items = len(club.interactions.users), len(club.interactions.items)
    user, item = np.repeat(np.arange(num_users), num_items), np.tile(np.arange(num_items), num_users)
    noticed = club.truth.exposure(user, item).reshape(num_users, num_items).mean(axis=0)
    liked = club.truth.preference(user, item).reshape(num_users, num_items).mean(axis=0)
    popularity = np.bincount(club.interactions.item, minlength=num_items)
    assert correlation(popularity, noticed) > 0.7
    assert correlation(popularity, liked) < 0.5


def test_noticed_items_are_chosen_more_often_the_more_they_please_and_sometimes_though_they_do_not(club: Club) -> None:
    user, item = any_pairs(club)
    preference, choice = club.truth.preference(user, item), club.truth.choice(user, item)
    assert choice[preference > 1].mean() > 2 * choice[preference < -1].mean() > 0.1
    assert choice.max() <= 1
    assert (choice >= club.truth.curiosity[user]).all()


def test_ratings_are_whole_from_one_to_five_and_rise_with_preference(club: Club) -> None:
    rows = club.interactions
    preference = club.truth.preference(rows.user, rows.item, club.features)
    tenths = np.array_split(rows.rating[np.argsort(preference)], 10)
    assert rows.rating.dtype == np.float32
    assert np.unique(rows.rating).tolist() == [1, 2, 3, 4, 5]
    assert (np.diff([tenth.mean() for tenth in tenths]) > 0).all()
    assert correlation(preference, rows.rating) > 0.8


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_15_to_30_percent_of_the_chosen_items_are_disliked_and_their_ratings_tell(seed: int) -> None:
    club = simulate(seed=seed)
    rows = club.interactions
    disliked = club.truth.preference(rows.user, rows.item, club.features) < 0
    assert 0.15 < disliked.mean() < 0.30
    assert 0.15 < (rows.rating <= 2).mean() < 0.30
    assert (rows.rating[disliked] <= 2).mean() > 0.75
    assert (rows.rating[~disliked] <= 2).mean() < 0.15


def centred(value: np.ndarray, *groups: np.ndarray) -> np.ndarray:
    """What is left of the values once no group has a mean."""
    for group in groups * 5:
        value = value - (np.bincount(group, value) / np.maximum(np.bincount(group), 1))[group]
    return value


def test_in_the_ratings_the_designated_pairs_interact_five_times_as_much_as_any_other(club: Club) -> None:
    rows = club.interactions
    rating = centred(rows.rating.astype(np.float64), rows.user, rows.item)
    explained = {}
    for one, other in combinations(LEVELS, 2):
        first, second = (club.features[name].to_physical().to_numpy().astype(np.int64) for name in (one, other))
        rest, cell = centred(rating, first, second), first * len(LEVELS[other]) + second
        explained[frozenset((one, other))] = float((rest - centred(rest, cell)).var() / rest.var())
    designated = [explained.pop(frozenset(pair)) for pair in PAIR_STRENGTHS]
    assert len(explained) == 41
    assert min(designated) > 5 * max(explained.values())


def test_a_pair_s_effect_deviates_by_its_strength_and_holds_no_main_effect(club: Club) -> None:
    assert club.truth.pairs == PAIR_STRENGTHS
    for (one, other), table in club.truth.effects.items():
        share = np.array(CONTEXT_SHARE.get(other, [1 / len(LEVELS[other])] * len(LEVELS[other])))
        assert table.shape == (len(LEVELS[one]), len(LEVELS[other]))
        np.testing.assert_allclose(table.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(table @ share, 0, atol=1e-12)
        assert np.sqrt((table**2 @ share).mean()) == pytest.approx(club.truth.pairs[one, other])


@pytest.fixture
def two_pairs(club: Club) -> Truth:
    """User 0 is under 25, item 0 calm and adventure, item 1 dark and comedy; tastes and quality say nothing."""
    mood_effect = np.zeros((5, 5))
    mood_effect[0, :2] = 0.5, -2.0
    daypart_effect = np.zeros((8, 4))
    daypart_effect[0, 2] = 1.0
    levels = {"age_band": np.array([0]), "mood": np.array([0, 1]), "genre": np.array([0, 1])}
    effects = {("age_band", "mood"): mood_effect, ("genre", "daypart"): daypart_effect}
    nothing = {"taste": np.zeros((1, 1)), "trait": np.zeros((2, 1)), "quality": np.zeros(2)}
    return replace(club.truth, levels=levels, effects=effects, **nothing)


def test_pair_effects_are_read_from_the_tables_and_add_up_to_preference(two_pairs: Truth) -> None:
    user, item = np.array([0, 0]), np.array([0, 1])
    evening = pl.DataFrame({"daypart": ["evening", "evening"]})
    assert two_pairs.pair_effects(user, item, evening).tolist() == [[0.5, 1.0], [-2.0, 0.0]]
    assert two_pairs.preference(user, item, evening).tolist() == [1.5, -2.0]


def test_the_strongest_pair_moves_preference_most_whether_up_or_down(two_pairs: Truth) -> None:
    evening = pl.DataFrame({"daypart": ["evening", "evening"]})
    assert two_pairs.strongest_pair(np.array([0, 0]), np.array([0, 1]), evening).tolist() == [1, 0]
    assert two_pairs.strongest_pair(np.array([0]), np.array([0])).tolist() == [0]


def test_without_a_context_preference_is_its_expectation_over_contexts(club: Club) -> None:
    user, item = any_pairs(club, 200)
    expected = np.zeros(200)
    for daypart, often in zip(LEVELS["daypart"], CONTEXT_SHARE["daypart"], strict=True):
        for company, usual in zip(LEVELS["company"], CONTEXT_SHARE["company"], strict=True):
            context = pl.DataFrame({"daypart": [daypart] * 200, "company": [company] * 200})
            expected += often * usual * club.truth.preference(user, item, context)
    np.testing.assert_allclose(club.truth.preference(user, item), expected)


def test_people_pick_contexts_that_fit_the_film(club: Club) -> None:
    rows = club.interactions
    effect = club.truth.pair_effects(rows.user, rows.item, club.features).mean(axis=0)
    assert (effect[[list(club.truth.pairs).index(pair) for pair in (("genre", "daypart"), ("decade", "company"))]] > 0.1).all()


def test_contexts_come_about_as_often_as_they_should(club: Club) -> None:
    for name, share in CONTEXT_SHARE.items():
        counted = np.bincount(club.features[name].to_physical().to_numpy()) / club.features.height
        np.testing.assert_allclose(counted, share, atol=0.08)


def test_regions_differ_in_what_they_notice_and_not_in_what_they_like(club: Club) -> None:
    region = club.truth.levels["region"]

    def share_between_regions(value_UC: np.ndarray) -> float:
        means = np.stack([value_UC[region == place].mean(axis=0) for place in range(len(USER_LEVELS["region"]))])
        return float(means.var(axis=0).sum() / value_UC.var(axis=0).sum())

    by_chance = (len(USER_LEVELS["region"]) - 1) / len(region)
    assert share_between_regions(club.truth.membership) > 8 * by_chance
    assert share_between_regions(club.truth.taste) < 2 * by_chance


def test_times_ascend_within_one_year(club: Club) -> None:
    time = club.interactions.time
    year_seconds = 365 * 86_400
    assert time.dtype == np.int64
    assert (np.diff(time) >= 0).all()
    assert 0.9 * year_seconds < time[-1] - time[0] < year_seconds


def test_dayparts_and_weekends_are_those_of_the_time(club: Club) -> None:
    clock = club.features.select("daypart", "day").with_columns(
        moment=pl.Series(club.interactions.time).cast(pl.Int64) * 1000,
    )
    clock = clock.with_columns(moment=pl.col("moment").cast(pl.Datetime("ms")))
    weekend = clock["moment"].dt.weekday() >= 6
    assert ((clock["day"].cast(pl.String) == "weekend") == weekend).all()
    hours = clock.group_by(pl.col("daypart").cast(pl.String)).agg(
        first=pl.col("moment").dt.hour().min(), last=pl.col("moment").dt.hour().max()
    )
    assert {row[0]: row[1:] for row in hours.iter_rows()} == {
        "morning": (6, 11),
        "afternoon": (12, 17),
        "evening": (18, 21),
        "night": (22, 23),
    }


def test_the_ten_features_are_the_facts_of_each_row_s_user_and_item_and_its_context(club: Club) -> None:
    rows = club.interactions
    assert club.features.columns == list(LEVELS)
    assert club.features.width == 10
    assert all(club.features[name].n_unique() == len(known) for name, known in LEVELS.items())
    for names, facts, index in ((USER_LEVELS, rows.users.columns, rows.user), (ITEM_LEVELS, rows.items.columns, rows.item)):
        assert club.features.select(pl.col(list(names)).cast(pl.String)).equals(facts.select(list(names))[index])


def test_ids_are_those_of_members_and_films_and_every_title_is_its_own(club: Club) -> None:
    rows = club.interactions
    assert rows.users.ids[16] == "m17"
    assert rows.items.ids[41] == "f42"
    assert rows.items.title_column == "title"
    assert rows.items.columns["title"].n_unique() == 800


def test_titles_stay_distinct_when_there_are_more_films_than_words() -> None:
    titles = film_titles(60_000, np.random.default_rng(0))
    assert len(set(titles)) == 60_000
    assert titles[-1][-2:] == " 3"
    assert film_titles(3, np.random.default_rng(1)) != titles[:3]


def test_rows_drawn_in_rounds_are_those_of_drawing_without_replacement(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    num_items, alike = 12, np.zeros(3000, np.int64)
    crowd = {name: getattr(club.truth, name)[alike] for name in ("membership", "taste", "curiosity")}
    few = {name: getattr(club.truth, name)[:num_items] for name in ("reach", "trait", "quality", "hype")}
    truth = replace(club.truth, levels={name: level[alike] for name, level in club.truth.levels.items()}, **crowd, **few)

    def frequency(rounds: int) -> np.ndarray:
        monkeypatch.setattr(room, "ROUNDS", rounds)
        _, item = room._draw_rows(truth, np.full(len(alike), 5), np.random.default_rng(rounds))
        return np.bincount(item, minlength=num_items) / len(alike)

    fast, plain = frequency(8), frequency(0)
    assert plain.max() > 3 * plain.min()
    # Both are means of 3000 coins, whose difference has a deviation of at most 0.013.
    np.testing.assert_allclose(fast, plain, atol=0.05)


def test_a_large_club_is_drawn_in_less_memory_than_one_byte_per_user_and_item() -> None:
    tracemalloc.start()
    club = simulate(20_000, 20_000, num_interactions=600_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows = club.interactions
    assert len(np.unique(rows.user * 20_000 + rows.item)) == len(rows) == 600_000
    assert np.bincount(rows.user, minlength=20_000).min() >= 5
    assert peak < 20_000 * 20_000


def ndcg_at_10(score_UI: np.ndarray, seen_UI: np.ndarray, target: np.ndarray) -> float:
    score_UI = np.where(seen_UI, -np.inf, score_UI)
    rank = (score_UI > np.take_along_axis(score_UI, target[:, None], axis=1)).sum(axis=1)
    return float(np.where(rank < 10, 1 / np.log2(rank + 2), 0).mean())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_linear_model_beats_popularity_by_half_and_the_truth_beats_it(seed: int) -> None:
    club = simulate(seed=seed)
    rows, truth = club.interactions, club.truth
    num_users, num_items = len(rows.users), len(rows.items)
    last = np.zeros(num_users, np.int64)
    last[rows.user] = np.arange(len(rows))
    seen = np.zeros((num_users, num_items), bool)
    seen[np.delete(rows.user, last), np.delete(rows.item, last)] = True
    history, target = seen.astype(np.float64), rows.item[last]
    precision = np.linalg.inv(history.T @ history + 300 * np.eye(num_items))
    weight = np.eye(num_items) - precision / np.diag(precision)
    user, item = np.repeat(np.arange(num_users), num_items), np.tile(np.arange(num_items), num_users)
    best = (truth.exposure(user, item) * truth.choice(user, item)).reshape(num_users, num_items)
    linear = ndcg_at_10(history @ weight, seen, target)
    assert linear > 1.5 * ndcg_at_10(np.tile(history.sum(axis=0), (num_users, 1)), seen, target)
    assert ndcg_at_10(best, seen, target) > 1.1 * linear


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_users": 0}, "num_users is 0; a film club needs at least 1"),
        ({"num_items": 9}, "num_items is 9; expected at least 10"),
        ({"num_communities": 0}, "num_communities is 0; expected 1 to 40"),
        ({"num_communities": 41}, "num_communities is 41; expected 1 to 40"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"num_interactions": 299}, "num_interactions is 299; 60 users and 40 items allow 300 to 1,200 .*give another number"),
        (
            {"num_interactions": 1201},
            "num_interactions is 1,201; 60 users and 40 items allow 300 to 1,200 .*give another number",
        ),
    ],
)
def test_impossible_sizes_are_refused_with_what_is_possible(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(**{"num_users": 60, "num_items": 40, **sizes})


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"daypart": ["night"], "company": ["alone"]}, "context has 1 rows with columns daypart, company; expected 2 rows"),
        ({"company": ["alone"] * 2}, "context has 2 rows with columns company; .* with the column 'daypart'"),
        ({"daypart": ["night", "nihgt"]}, "1 rows of context have another daypart than morning, afternoon, evening, night"),
    ],
)
def test_a_context_that_does_not_fit_is_refused(club: Club, context: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        club.truth.preference(np.array([0, 1]), np.array([0, 1]), pl.DataFrame(context))
