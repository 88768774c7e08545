"""Which columns a table has, and which of them is the user, item, rating and time."""

from __future__ import annotations

from collections.abc import Sequence

from attlas.errors import DataError, nearest

ROLES = ("user", "item", "rating", "time")
RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")

# One row per rank, best first; within a rank a name that ends in "id" wins. Compared without case, blanks and punctuation.
USUAL_NAMES = {
    "user": (
        "user userid uid",
        "username usr reviewerid customer customerid clientid client visitorid memberid member accountid account personid "
        "person playerid player profileid readerid reader listenerid subscriberid",
        "sessionid session visitor deviceid cookieid householdid",
    ),
    "item": (
        "item itemid iid",
        "movieid productid asin sku articleid trackid artistid songid bookid isbn animeid gameid appid businessid recipeid "
        "newsid videoid stockcode movie product article track artist song book anime game app",
        "parentasin goodid merchantid placeid venueid poiid locationid contentid title name",
    ),
    "rating": (
        "rating ratings stars overall",
        "score grade bookrating moviescore reviewscore ratingvalue",
        "weight count cnt playcount plays quantity qty frequency freq listens clicks views hours",
    ),
    "time": (
        "timestamp time ts unixreviewtime unixtime unixtimestamp epoch datetime eventtime",
        "date createdat updatedat ratedat reviewtime reviewdate invoicedate purchasedate orderdate tdat",
    ),
}
AMOUNTS = frozenset(USUAL_NAMES["rating"][2].split())  # how much or how often: may be summed, and is negative for returns
MISSING = ["", "nan", "NaN", "NA", "<NA>", "null", "NULL", "None", "\\N"]
FIRST_PLAUSIBLE_TIME = 1e8  # seconds; numbers from here on (1973) are taken for times rather than ratings


def interaction_header(first: Sequence[str]) -> list[str] | None:
    """Names for the columns of a table of interactions whose first line is data: its numbers give it away."""
    later = [_is_number(cell) for cell in first[2:]]
    if not 2 <= len(first) <= 4 or not (any(later) if later else all(map(_is_number, first))):
        return None
    return positional_header(first)


def positional_header(first: Sequence[str]) -> list[str]:
    """User, item, rating, time, as far as the columns reach; a third column of epoch times is the time."""
    if len(first) > len(ROLES):
        raise DataError(f"the first line has {len(first)} columns; expected at most {len(ROLES)}: {', '.join(ROLES)}")
    if len(first) == 3 and _is_number(first[2]) and float(first[2]) >= FIRST_PLAUSIBLE_TIME:
        return ["user", "item", "time"]
    return list(ROLES[: len(first)])


def given_header(first: Sequence[str]) -> list[str] | None:
    """Names for the columns of a file of a given split: such files have a header only where it names user and item."""
    return None if best_columns(first, "user") and best_columns(first, "item") else positional_header(first)


def item_header(first: Sequence[str]) -> list[str] | None:
    """Names for the columns of a table of items whose first line is data, as in MovieLens ``movies.dat`` and ``u.item``."""
    if not _is_number(first[0]):
        return None
    if len(first) == 24:
        return ["item", "title", "release_date", "video_date", "address", *(f"genre_{n}" for n in range(19))]
    known = ["item", "title", "genres"]
    return (known + [f"column_{n}" for n in range(4, len(first) + 1)])[: len(first)]


def user_header(first: Sequence[str]) -> list[str] | None:
    """Names for the columns of a table of users whose first line is data, as in MovieLens ``users.dat`` and ``u.user``."""
    if not _is_number(first[0]):
        return None
    if len(first) == 5:
        return ["user", *(["age", "gender"] if _is_number(first[1]) else ["gender", "age"]), "occupation", "zip_code"]
    return ["user", *(f"column_{n}" for n in range(2, len(first) + 1))]


def _is_number(cell: str) -> bool:
    try:
        return float(cell) == float(cell)
    except ValueError:
        return False


def assign_columns(names: Sequence[str], source: str, **chosen: str | None) -> dict[str, str]:
    """The column that plays each role: the chosen one, else the one with the most usual name; "" leaves a role out.

    Raises:
        DataError: a chosen column does not exist, two columns fit equally well, or no column is the user or the item.
    """
    columns = {role: find_column(name, names, source, f"the {role}") for role, name in chosen.items() if name}
    if len(set(columns.values())) < len(columns):
        raise DataError(f"{source}: one column was chosen for two roles: {columns}; choose a different one for each")
    for role in ROLES:
        if chosen.get(role) is None:
            fits = best_columns([name for name in names if name not in columns.values()], role)
            if len(fits) > 1 or (not fits and role in ("user", "item")):
                problem = f"columns {', '.join(map(repr, fits))} fit equally well" if fits else "no name looks like it"
                raise DataError(
                    f"{source}: which column is the {role}? {problem}; choose one with the option {role}{_listed(names)}"
                    + ("" if fits else "; if its first line is data, put a line with the names of the columns above it")
                )
            columns |= {role: fits[0]} if fits else {}
    return {role: columns[role] for role in ROLES if role in columns}


def best_columns(names: Sequence[str], role: str) -> list[str]:
    """The columns whose names fit a role best; more than one if they fit equally well, none if none fits."""
    ranks = {name: (rank, not usual.endswith("id")) for name in names for rank, usual in _usual(name, role)}
    return [name for name, rank in ranks.items() if rank == min(ranks.values())]


def _usual(name: str, role: str) -> list[tuple[int, str]]:
    # "user_id:token" is RecBole's way to write a type beside a name.
    plain = _plain(name)
    return [(rank, plain) for rank, usual in enumerate(USUAL_NAMES[role]) if plain in usual.split()]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.split(":")[0].lower() if letter.isalnum())


def is_amount(name: str) -> bool:
    """Whether a column's name says how much or how often rather than how good: quantity, plays, count."""
    return _plain(name) in AMOUNTS


def find_column(name: str, names: Sequence[str], source: str, purpose: str) -> str:
    """The column of that name, with or without the type that RecBole writes beside it.

    Raises:
        DataError: there is none; the message names the nearest.
    """
    alike = [name] if name in names else [other for other in names if other.split(":")[0] == name.split(":")[0]]
    if len(alike) != 1:
        raise DataError(f"{source} has no column {name!r} for {purpose}; {nearest(name, names)}{_listed(names)}")
    return alike[0]


def without_types(names: Sequence[str]) -> list[str] | None:
    """RecBole's column names without their types, ``user_id:token`` -> ``user_id``; None where they are not RecBole's."""
    parts = [name.strip().rpartition(":") for name in names]
    return [name for name, _, _ in parts] if all(name and kind in RECBOLE_TYPES for name, _, kind in parts) else None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f" (its columns are {shown}{', ...' if len(names) > 20 else ''})"
