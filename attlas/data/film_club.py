"""The film club: the levels of its ten features, what is true of its members and films, and titles that nobody has shot.

A film first has to come to a member's notice. Members belong to communities, and a community hears of some films more than of
others: the exposure of FAWMF. Of what they notice, members choose by preference, but also by hype and curiosity, so that they
see films which they then dislike. Preference is quality, taste and a few pairs of features that interact; the other pairs do
not, which is for the attention of AFM to find.

Shapes: N pairs, U users, I items, C communities, P feature pairs that interact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from attlas.errors import DataError

USER_LEVELS = {
    "age_band": ("under 25", "25 to 34", "35 to 49", "50 to 64", "65 and over"),
    "occupation": ("student", "teacher", "nurse", "engineer", "baker", "clerk", "gardener"),
    "region": ("north", "south", "east", "west", "coast", "hills"),
}
ITEM_LEVELS = {
    "genre": ("adventure", "comedy", "documentary", "drama", "fantasy", "mystery", "romance", "thriller"),
    "decade": ("1970s", "1980s", "1990s", "2000s", "2010s", "2020s"),
    "mood": ("calm", "dark", "playful", "tender", "tense"),
    "length_band": ("short", "medium", "long"),
}
CONTEXT_LEVELS = {
    "daypart": ("morning", "afternoon", "evening", "night"),
    "day": ("weekday", "weekend"),
    "company": ("alone", "partner", "friends", "family"),
}
LEVELS = USER_LEVELS | ITEM_LEVELS | CONTEXT_LEVELS

CONTEXT_SHARE = {"daypart": (0.1, 0.2, 0.5, 0.2), "day": (5 / 7, 2 / 7), "company": (0.35, 0.3, 0.2, 0.15)}
DAYPART_HOURS = ((6, 12), (12, 18), (18, 22), (22, 24))
PAIR_STRENGTHS = {
    ("genre", "daypart"): 0.6,
    ("age_band", "mood"): 0.6,
    ("decade", "company"): 0.45,
    ("occupation", "length_band"): 0.45,
}

ADJECTIVES = (
    "Amber Autumn Borrowed Brave Bright Careful Clever Cloudless Copper Crooked Curious Distant Drifting Early Electric "
    "Empty Faithful Feathered Frozen Gentle Gilded Grateful Green Hollow Honest Hungry Idle Iron Lavender Lucky Marble "
    "Midnight Modest Nameless Narrow Northern Odd Open Ordinary Painted Paper Patient Polite Proud Quiet Restless Reluctant "
    "Rusty Scarlet Slow Stubborn Sunken Tangled Tender Thirsty Timid Unfinished Upside-Down Velvet Wandering Weightless "
    "Whispering Wild Winter Wooden Yellow Young"
)
NOUNS = (
    "Accordion Acrobat Almanac Anchor Apple Apprentice Archive Atlas Baker Balcony Balloon Barber Beekeeper Bell Bicycle "
    "Blackbird Boatman Bookshop Bridge Caravan Carousel Carpenter Cartographer Chapel Chess-Player Circus Clock Clockmaker "
    "Courtyard Cuckoo Diary Doorbell Doorman Envelope Ferry Fiddler Fountain Gardener Glacier Glassblower Greenhouse "
    "Harbour Harp Hedgehog Heiress Heron Ink-Well Juggler Kettle Key Kitchen Ladder Lamplighter Ledger Laundry Librarian "
    "Lighthouse Lodger Magpie Mailbox Map Marionette Meadow Melody Milkman Miller Moth Neighbour Notebook Oar Observatory "
    "Orchard Organist Otter Parade Pharmacist Piano Pilot Postcard Quarry Quilt Raincoat Reservoir Rooftop Sailor Scarecrow "
    "Schoolyard Seamstress Secretary Shepherd Sparrow Staircase Stove Suitcase Tailor Teapot Telegram Theatre Tightrope "
    "Toymaker Translator Tunnel Umbrella Violin Visitor Waiter Watchmaker Well Workshop"
)
TIMES = (
    "in April;in August;in December;in February;in January;in July;in June;in March;in May;in November;"
    "in October;in September;in the Fog;in the Snow;after Midnight;after the Storm;after Supper;at Daybreak;"
    "at Dusk;at Low Tide;at Noon;at the Border;at the Corner;before Breakfast;before Winter;beneath the Bridge;"
    "beside the Canal;beyond the Hill;by Candlelight;for a Week;from Next Door;from Upstairs;on a Monday;"
    "on a Thursday;over the Valley;until Spring;until Tomorrow;with No Name;without a Key;without Shoes"
)


@dataclass(frozen=True, eq=False)
class Truth:
    """What the club's rows were drawn from. Every method takes user and item indices, int64[N] each.

    Attributes:
        membership: float[U, C], how far each user belongs to each community; rows sum to 1.
        reach: float[I, C], the probability that a community hears of an item, in (0, 1).
        taste, trait: float[U, C] and float[I, C]; their product is how well an item suits a user.
        quality: float[I], what everybody likes in an item.
        hype: float[I], what makes people choose an item whether it suits them or not.
        curiosity: float[U], the share of noticed items that a user takes without asking whether they suit.
        levels: feature name -> int64[U] or int64[I], the place of each user's or item's level in ``film_club.LEVELS``.
        effects: the feature pairs that interact -> float table of their levels; no main effects are in it.
    """

    membership: np.ndarray
    reach: np.ndarray
    taste: np.ndarray
    trait: np.ndarray
    quality: np.ndarray
    hype: np.ndarray
    curiosity: np.ndarray
    levels: dict[str, np.ndarray]
    effects: dict[tuple[str, str], np.ndarray]

    @property
    def pairs(self) -> dict[tuple[str, str], float]:
        """The feature pairs that matter and their strengths: the standard deviation of each one's effect on preference."""
        return {pair: PAIR_STRENGTHS[pair] for pair in self.effects}

    def exposure(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """The probability that the item comes to the user's notice, float[N] in [0, 1]; preference has no part in it.

        Source: FAWMF, Chen et al. 2020, gamma_ij = theta_i . phi_j.
        """
        return np.einsum("nc,nc->n", self.membership[user], self.reach[item])

    def preference(self, user: np.ndarray, item: np.ndarray, context: pl.DataFrame | None = None) -> np.ndarray:
        """How much the user likes the item once seen, float[N]: below 0 is dislike; over all pairs, deviation near 1.2.

        Args:
            user: indices.
            item: indices.
            context: one row per pair with the columns daypart and company, for instance ``club.features``; without it, the
                expectation over all contexts, before anybody picks a fitting one.
        """
        suits = np.einsum("nc,nc->n", self.taste[user], self.trait[item])
        return self.quality[item] + suits + self.pair_effects(user, item, context).sum(axis=1)

    def choice(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """The probability that the user takes the item once noticed, float[N]; exposure times choice is the best ranking."""
        deliberate = 1 / (1 + np.exp(1 - self.hype[item] - 2.6 * self.preference(user, item)))
        return self.curiosity[user] + (1 - self.curiosity[user]) * deliberate

    def pair_effects(self, user: np.ndarray, item: np.ndarray, context: pl.DataFrame | None = None) -> np.ndarray:
        """What each feature pair adds to preference, float[N, P] in the order of ``pairs``.

        Without a context, pairs with a context feature add 0: that is their expectation.
        """
        effect = np.zeros((len(user), len(self.effects)))
        for place, ((one, other), table) in enumerate(self.effects.items()):
            if context is not None or other not in CONTEXT_LEVELS:
                effect[:, place] = table[self._level(one, user, item, context), self._level(other, user, item, context)]
        return effect

    def strongest_pair(self, user: np.ndarray, item: np.ndarray, context: pl.DataFrame | None = None) -> np.ndarray:
        """Which pair moves preference most, up or down, as its place in ``pairs``, int64[N]."""
        return np.abs(self.pair_effects(user, item, context)).argmax(axis=1)

    def _level(self, name: str, user: np.ndarray, item: np.ndarray, context: pl.DataFrame | None) -> np.ndarray:
        if name in self.levels:
            return self.levels[name][user if name in USER_LEVELS else item]
        if context is None or name not in context.columns or context.height != len(user):
            came = "none" if context is None else f"{context.height:,} rows with columns {', '.join(context.columns)}"
            raise DataError(f"context has {came}; expected {len(user):,} rows, one per pair, with the column {name!r}")
        level = context[name].cast(pl.Enum(CONTEXT_LEVELS[name]), strict=False).to_physical()
        if level.null_count():
            known = ", ".join(CONTEXT_LEVELS[name])
            raise DataError(f"{level.null_count():,} rows of context have another {name} than {known}; use one of these")
        return level.to_numpy()


def film_titles(count: int, rng: np.random.Generator) -> list[str]:
    """Distinct made-up titles: one form in random order, then the next, and numbered sequels once all are used up."""
    adjectives, nouns, times = ADJECTIVES.split(), NOUNS.split(), TIMES.split(";")
    forms = [
        [f"The {adjective} {noun}" for adjective in adjectives for noun in nouns],
        [f"A{'n' * (noun[0] in 'AEIOU')} {noun} {time}" for noun in nouns for time in times],
        [f"The {one} and the {other}" for one in nouns for other in nouns if one != other],
    ]
    titles: list[str] = []
    for form in forms:
        titles += [form[place] for place in rng.permutation(len(form))[: count - len(titles)]]
    originals = len(titles)
    titles += [f"{titles[place % originals]} {place // originals + 1}" for place in range(originals, count)]
    return titles
