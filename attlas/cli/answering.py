"""What ``attlas recommend`` and ``attlas explain`` were asked, put to a Recommender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attlas.counterfactual import way_of_counterfactuals
from attlas.errors import ConfigError
from attlas.explanation import Explanation
from attlas.export import export_recommendations
from attlas.models.reasons import reasons_of
from attlas.page.why import write_why
from attlas.recommender import Recommender, load
from attlas.strangers import FOLDED, READ
from attlas.telling import Teller


def recommend_from_options(
    run: Path,
    users: list[str],
    *,
    all_users: bool,
    history: list[str] | None,
    features: list[str] | None,
    k: int,
    out: Path | None,
    unknown: Any,
    candidates: list[str] | None,
    context: list[str] | None,
    exclude_seen: bool,
    tell: Teller,
) -> list[dict[str, Any]] | dict[str, Any]:
    """Rows of answers, or with ``out`` what was written where.

    Raises:
        ConfigError: nobody, or too many kinds of askers, were named; or candidates without any.
    """
    is_stranger = history is not None or bool(features)
    if bool(users) + all_users + is_stranger != 1:
        raise ConfigError("name users, or --all-users, or the --history of a stranger: exactly one of them")
    if candidates is not None and not candidates:
        raise ConfigError("--candidates names no item; expected item ids, separated by commas")
    if all_users and out is None:
        raise ConfigError("--all-users wants a file: --out recs.parquet")
    recommender = load(run)
    if is_stranger:
        if out or candidates or context or unknown is not None:
            raise ConfigError("a stranger is answered alone: no --out, --candidates or --unknown, and --feature for --context")
        said = said_of(features, "--feature") if features else None
        return recommender.recommend_for(history or [], k, features=said, exclude_seen=exclude_seen).to_dicts()
    choices: dict[str, Any] = {"exclude_seen": exclude_seen, "candidates": candidates, "unknown": unknown or "error"}
    choices |= {"context": said_of(context)} if context else {}
    if out is None:
        return recommender.recommend(users, k, **choices).to_dicts()
    rows = export_recommendations(recommender, None if all_users else users, k, out, tell=tell, **choices)
    return {"out": str(out), "rows": rows, "users": len(recommender.users) if all_users else len(users)}


def said_of(context: list[str], option: str = "--context") -> dict[str, str]:
    """``field=category`` by field.

    Raises:
        ConfigError: something that is written another way.
    """
    parts = [part.partition("=") for part in context]
    for part, (name, equals, _) in zip(context, parts, strict=True):
        if not (name.strip() and equals):
            raise ConfigError(f"{option} {part!r} does not fit; write FIELD=CATEGORY, for instance weather=sunny")
    return {name.strip(): text.strip() for name, _, text in parts}


def explain_from_options(
    run: Path,
    words: list[str],
    *,
    history: list[str] | None,
    features: list[str] | None,
    context: list[str] | None,
    method: Any,
    top: int,
    plot: Path | None,
    tell: Teller,
) -> Explanation:
    """Why an item, for a user, perhaps in a context, or for a stranger; with ``plot`` drawn as a page, too.

    Raises:
        ConfigError: not one user and one item, nor one item and a stranger's history or features.
    """
    is_stranger = history is not None or bool(features)
    if len(words) != (1 if is_stranger else 2):
        raise ConfigError(f"got {' '.join(words)!r}; expected USER ITEM, or ITEM with the --history or --feature of a stranger")
    asked: dict[str, Any] = {"history": history or []} if is_stranger else {}
    asked |= {"features": said_of(features, "--feature")} if features else {}
    asked |= {"context": said_of(context)} if context else {}
    recommender = load(run)
    if _is_slow(recommender, method):
        tell.say("asking again without each entry of the history; for a long one this may take a minute")
    why = recommender.explain(None if is_stranger else words[0], words[-1], **asked, method=method, top=top)
    if plot is not None:
        for sentence in [*write_why(why, plot), f"drawn in {plot}"]:
            tell.say(sentence)
    return why


def _is_slow(recommender: Recommender, method: str | None) -> bool:
    """Whether each entry that is taken out costs a fit, or a pass over the whole matrix."""
    if "counterfactual" not in (method, reasons_of(recommender.model)):
        return False
    return way_of_counterfactuals(recommender.model) not in (READ, FOLDED)
