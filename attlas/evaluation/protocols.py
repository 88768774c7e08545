"""Who is ranked against what. Every protocol has a short code, and numbers of different codes do not compare.

Shapes: U rankings, I items, T relevant items in all rankings of a block, B rows in a block, C candidates, K list length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from scipy import sparse

from attlas.data.interactions import Interactions
from attlas.data.split import Split
from attlas.errors import AttlasError, ConfigError, DataError, nearest
from attlas.evaluation.metrics import Ranks
from attlas.ops.ranks import count_ahead
from attlas.ops.topk import top_k
from attlas.scoring import Scorer as ModelScorer
from attlas.strangers import OpenScorer

Part = Literal["valid", "test"]
Watch = Callable[[int, int], object]


class Scorer(Protocol):
    """A trained model as a function of indices; attlas.scoring has the real one."""

    @property
    def train(self) -> Interactions:
        """What the model has learned from."""

    @property
    def users_at_once(self) -> int:
        """How many users' scores for every item fit the memory that was given."""

    def score(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """One score per pair, float32[B]."""

    def score_all(self, user: np.ndarray) -> np.ndarray:
        """The scores of every item for each of the users, float32[B, I]."""


@dataclass(frozen=True)
class RankingProtocol:
    """How held-out items are ranked.

    Attributes:
        code: its short name; it stands beside every number that comes of it.
        meaning: one sentence for people.
        against: every item, or the candidates that came with the split.
        hides_seen: are the user's known items (train, and for test also validation) kept out of the ranking?
    """

    code: str
    meaning: str
    against: Literal["catalogue", "candidates"]
    hides_seen: bool


PROTOCOLS: dict[str, RankingProtocol] = {
    protocol.code: protocol
    for protocol in (
        RankingProtocol("full", "every item that the user has not seen", "catalogue", hides_seen=True),
        RankingProtocol("ncf", "the given candidates, as the NCF paper does", "candidates", hides_seen=False),
        RankingProtocol(
            "ncf-clean", "the given candidates without those that the user has seen", "candidates", hides_seen=True
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Ranking:
    """What ranking the held-out items gave.

    Attributes:
        ranks: where they stand.
        user: int64[U], the user whose ranking each one is, rising; a user may have several under candidates.
        num_masked: held-out pairs that were left out because the user had seen the item.
        num_unseen: int64[U], how many items the user has not seen before, the held-out one included.
        listed: int64[U, K], each user's best unseen items, -1 where none is left; None where no lists were asked for.
        odd_candidates: how many given candidates are not what they should be, and what is wrong with them.
        ways: how many users were scored in which way, where users were held out whole; empty elsewhere.
    """

    ranks: Ranks
    user: np.ndarray
    num_masked: int
    num_unseen: np.ndarray
    listed: np.ndarray | None = None
    odd_candidates: dict[str, int] = field(default_factory=dict)
    ways: dict[str, int] = field(default_factory=dict)


def find_protocol(code: str) -> RankingProtocol:
    """The protocol of this code.

    Raises:
        ConfigError: there is none.
    """
    if code not in PROTOCOLS:
        raise ConfigError(f"there is no protocol {code!r}; {nearest(code, PROTOCOLS)}")
    return PROTOCOLS[code]


def with_full(codes: Sequence[str]) -> list[str]:
    """The codes, and ``full`` after them where candidates are asked for without it: a sampled number never stands alone."""
    is_sampled = any(code in PROTOCOLS and PROTOCOLS[code].against == "candidates" for code in codes)
    return [*codes, "full"] if is_sampled and "full" not in codes else list(codes)


def rank_held_out(
    scorer: Scorer,
    split: Split,
    protocol: RankingProtocol,
    *,
    part: Part = "test",
    list_length: int = 0,
    watch: Watch | None = None,
) -> Ranking:
    """Rank the held-out items of one part of a split, in blocks that fit the scorer's memory.

    Users who were held out whole are scored as strangers, from their given rows; those are hidden from their rankings.

    Args:
        list_length: K; above 0 each user's best items are listed too, where the catalogue is ranked. Of equal scores those
            are listed that a draw per user picks, equal in every run: the order of the catalogue would favour its beginning.

    Raises:
        ConfigError: the part or the candidates are missing, or scorer and split do not belong together.
        DataError: nothing is left to rank.
    """
    if part not in ("valid", "test"):
        raise ConfigError(f"there is no part {part!r}; known are: test, valid")
    held_out = split.test if part == "test" else split.valid
    if held_out is None:
        raise ConfigError("this split has no validation part; evaluate part='test' or split with one")
    ours, theirs = scorer.train, split.train
    if (len(ours.users), len(ours.items)) != (len(theirs.users), len(theirs.items)):
        raise ConfigError(
            f"the scorer was trained on {ours!r}, the split has {theirs!r}; evaluate on the split it was trained on"
        )
    seen = _known_items(split, part)
    tell = watch or (lambda done, total: None)
    if split.given is not None:
        everybody = _open(scorer, split.given, protocol)
        ranking = _rank_catalogue(everybody, held_out, seen, list_length, tell)
        return replace(ranking, ways=dict(Counter(everybody.ways(ranking.user))))
    if protocol.against == "catalogue":
        return _rank_catalogue(scorer, held_out, seen, list_length, tell)
    return _rank_candidates(scorer, held_out, _candidates(split, protocol, part), seen, protocol.hides_seen, tell)


def _known_items(split: Split, part: Part) -> sparse.csr_array:
    further = (split.given, split.valid if part == "test" else None)
    return sum((known.by_user for known in further if known is not None), start=split.train.by_user)


def _open(scorer: Any, given: Interactions, protocol: RankingProtocol) -> OpenScorer:
    if protocol.against != "catalogue":
        raise ConfigError(f"protocol {protocol.code!r} does not rank users that were held out whole; use protocol 'full'")
    if not isinstance(scorer, ModelScorer):
        raise ConfigError(f"users that were held out whole are scored by an attlas.scoring.Scorer; got {type(scorer).__name__}")
    return OpenScorer(scorer, given.counts_by_user)


def _candidates(split: Split, protocol: RankingProtocol, part: Part) -> np.ndarray:
    if split.candidates is None or part != "test":
        what = "this split came without them" if split.candidates is None else "they are given for the test part only"
        raise ConfigError(f"protocol {protocol.code!r} ranks against given candidates, and {what}; use protocol 'full'")
    if len(split.candidates) != len(split.test):
        raise DataError(f"{len(split.candidates):,} lists of candidates for {len(split.test):,} test rows; expected one each")
    return split.candidates


def _rank_catalogue(scorer: Scorer, held_out: Interactions, seen: sparse.csr_array, list_length: int, tell: Watch) -> Ranking:
    pairs = held_out.by_user.tocoo()
    is_masked = _is_among(seen, pairs.row, pairs.col)
    kept = ~is_masked
    _refuse_nothing(int(kept.sum()), int(is_masked.sum()))
    relevant = sparse.csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=seen.shape)
    num_relevant = np.diff(relevant.indptr)
    user_U = np.flatnonzero(num_relevant)
    draw_U = np.random.default_rng(0).integers(1, 2**64, seen.shape[0], dtype=np.uint64)[user_U]
    parts, listed = [], []
    for block in _blocks(len(user_U), scorer.users_at_once):
        user = user_U[block]
        hers, hidden = relevant[user], seen[user]
        score_BI = scorer.score_all(user)
        refuse_nan(score_BI)
        parts.append(count_ahead(score_BI, hers.indptr, hers.indices, hidden.indptr, hidden.indices))
        if list_length:
            listed.append(top_k(score_BI, list_length, hidden.indptr, hidden.indices, draw_U[block])[0])
        tell(block.stop, len(user_U))
    ahead_T, tied_T = (np.concatenate(part) for part in zip(*parts, strict=True))
    owner_T = np.repeat(np.arange(len(user_U)), num_relevant[user_U])
    num_unseen_U = seen.shape[1] - np.diff(seen.indptr)[user_U]
    ranks = Ranks(owner_T, ahead_T, tied_T, num_unseen_U)
    return Ranking(ranks, user_U, int(is_masked.sum()), num_unseen_U, np.concatenate(listed) if listed else None)


def _rank_candidates(
    scorer: Scorer, held_out: Interactions, candidates: np.ndarray, seen: sparse.csr_array, hides_seen: bool, tell: Watch
) -> Ranking:
    is_seen = _is_among(seen, held_out.user, held_out.item)
    is_masked = is_seen & hides_seen
    row_U = np.flatnonzero(~is_masked)
    _refuse_nothing(len(row_U), int(is_masked.sum()))
    row_U = row_U[np.argsort(held_out.user[row_U], kind="stable")]
    user_U, item_U = held_out.user[row_U], held_out.item[row_U]
    users_done = np.cumsum(np.diff(user_U, prepend=-1) > 0)
    parts = []
    cells = _cells(seen)
    # A pair with its indices, masks and copies takes four times the memory of a cell in a block of the catalogue.
    for block in _blocks(len(row_U), scorer.users_at_once * seen.shape[1] // (4 * (candidates.shape[1] + 1))):
        pairs = user_U[block], item_U[block], candidates[row_U[block]]
        parts.append(_rank_block(scorer, *pairs, cells, seen.shape[1], hides_seen))
        tell(int(users_done[block.stop - 1]), int(users_done[-1]))
    ahead_U, tied_U, others_U, seen_U = (np.concatenate(part) for part in zip(*parts, strict=True))
    repeated = candidates.shape[1] * len(user_U) - int(others_U.sum()) - (int(seen_U.sum()) if hides_seen else 0)
    odd = {"seen by their user": int(seen_U.sum()), "repeated, or the held-out item itself": repeated}
    return Ranking(
        Ranks(np.arange(len(user_U)), ahead_U, tied_U, others_U + 1),
        user_U,
        int(is_masked.sum()),
        seen.shape[1] - np.diff(seen.indptr)[user_U] + is_seen[row_U],
        odd_candidates={what: count for what, count in odd.items() if count},
    )


def _rank_block(
    scorer: Scorer,
    user_B: np.ndarray,
    item_B: np.ndarray,
    candidate_BC: np.ndarray,
    cells: np.ndarray,
    num_items: int,
    hides_seen: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Candidates ahead of each held-out item, tied with it (itself included), others in all, and how many were seen."""
    candidate_BC = np.sort(candidate_BC, axis=1)
    is_other_BC = candidate_BC != item_B[:, None]
    is_other_BC[:, 1:] &= candidate_BC[:, 1:] != candidate_BC[:, :-1]
    is_seen_BC = is_other_BC & _are_among(cells, user_B[:, None] * num_items + candidate_BC)
    if hides_seen:
        is_other_BC &= ~is_seen_BC
    owner, place = np.nonzero(is_other_BC)
    # The held-out item and its candidates share one call, so that equal inputs meet equal arithmetic.
    score = scorer.score(np.concatenate([user_B, user_B[owner]]), np.concatenate([item_B, candidate_BC[owner, place]]))
    refuse_nan(score)
    own_B, other = score[: len(user_B)], score[len(user_B) :]
    ahead_B = np.bincount(owner[other > own_B[owner]], minlength=len(user_B))
    tied_B = 1 + np.bincount(owner[other == own_B[owner]], minlength=len(user_B))
    return ahead_B, tied_B, is_other_BC.sum(axis=1), is_seen_BC.sum(axis=1)


def _is_among(seen: sparse.csr_array, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Is each pair a stored cell of the matrix? bool[N]"""
    return _are_among(_cells(seen), user.astype(np.int64) * seen.shape[1] + item)


def _cells(seen: sparse.csr_array) -> np.ndarray:
    """Row times columns plus column of each stored cell, rising."""
    return np.repeat(np.arange(seen.shape[0], dtype=np.int64), np.diff(seen.indptr)) * seen.shape[1] + seen.indices


def _are_among(cells: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    if not len(cells):
        return np.zeros(wanted.shape, bool)
    place = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
    return cells[place] == wanted


def _blocks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, max(1, size)):
        yield slice(start, min(start + max(1, size), count))


def _refuse_nothing(kept: int, masked: int) -> None:
    if not kept:
        why = f"all {masked:,} held-out pairs were also seen before" if masked else "the part is empty"
        raise DataError(f"there is no held-out item to rank: {why}; check how the data were split")


def refuse_nan(score: np.ndarray) -> None:
    """Raise if any score is nan, which stands neither before nor behind another."""
    # The smallest of all is nan if any is, and needs no second block of memory.
    if score.size and np.isnan(score.min()):
        raise AttlasError(
            f"{int(np.isnan(score).sum()):,} of {score.size:,} scores are nan, which say nothing; "
            "training has probably diverged: take smaller steps or a larger penalty, and fit again"
        )
