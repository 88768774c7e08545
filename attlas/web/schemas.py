"""What the service is asked and what it answers, with a limit on every length and number."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainValidator,
    Strict,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

LONGEST_TEXT = 256
LONGEST_LIST = 10_000
LONGEST_EXPLAINED = 2_500  # each entry may be taken out once: what that takes grows with the square
MOST_USERS = 256
MOST_ANSWERS = 1_000
WIDEST_CONTEXT = 64
LOWEST, HIGHEST = -(2**63), 2**63 - 1
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can spell it, UTF-8 cannot


def _id(given: Any) -> str | int:
    if type(given) is int and LOWEST <= given <= HIGHEST:
        return given
    if type(given) is str and 1 <= len(given) <= LONGEST_TEXT and not LONE_SURROGATE.search(given):
        return given
    raise ValueError(f"an id is a text of 1 to {LONGEST_TEXT} characters, or a whole number of 64 bits")


ID_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
        {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST},
    ]
}
Id = Annotated[str | int, PlainValidator(_id), WithJsonSchema(ID_SCHEMA)]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=LONGEST_TEXT)]
Number = Annotated[int, Strict(), Field(ge=LOWEST, le=HIGHEST)]
Said = Text | Number | Annotated[FiniteFloat, Strict()] | Annotated[list[Text | Number], Field(max_length=WIDEST_CONTEXT)]
Facts = Annotated[dict[Text, Said], Field(max_length=WIDEST_CONTEXT)]
Count = Annotated[int, Strict(), Field(ge=1, le=MOST_ANSWERS)]
Items = Annotated[list[Id], Field(max_length=LONGEST_LIST)]
Model = Annotated[Text | None, Field(description="the name of a run's folder; the first run where none is named")]
Features = Annotated[Facts | None, Field(description="what is known of the stranger, by the name of its field")]
Context = Annotated[Facts | None, Field(description="what is known of the moment, by the name of its field")]


class Question(BaseModel):
    """What every request may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: Model = None


class Recommend(Question):
    """The best items for one user."""

    user: Id
    k: Count = 10
    exclude_seen: Annotated[bool, Strict()] = True
    candidates: Annotated[list[Id] | None, Field(min_length=1, max_length=LONGEST_LIST)] = None
    context: Context = None
    unknown: Literal["error", "popular", "learned"] = "error"


class RecommendFor(Question):
    """The best items for a stranger who has chosen these."""

    history: Items
    k: Count = 10
    exclude_seen: Annotated[bool, Strict()] = True
    features: Features = None


class Batch(Question):
    """The best items for several users."""

    users: Annotated[list[Id], Field(min_length=1, max_length=MOST_USERS)]
    k: Annotated[int, Strict(), Field(ge=1, le=100)] = 10
    exclude_seen: Annotated[bool, Strict()] = True
    unknown: Literal["error", "popular", "learned"] = "error"


class Similar(Question):
    """The items most like one."""

    item: Id
    k: Count = 10


class Explain(Question):
    """Why one item, for a user or for a stranger with a history: exactly one of the two."""

    user: Id | None = None
    history: Annotated[list[Id], Field(max_length=LONGEST_EXPLAINED)] | None = None
    item: Id
    features: Features = None
    context: Context = None
    method: Text | None = None
    top: Count | None = None

    @model_validator(mode="after")
    def _one_asker(self) -> Explain:
        if (self.user is None) == (self.history is None):
            raise ValueError("give either a user or the history of a stranger: exactly one of them")
        return self


class Ranked(BaseModel):
    """One item of a list, the best being of rank 1."""

    rank: int
    item: str | int
    title: str
    score: float | None


class Recommended(BaseModel):
    """A list for one user, and the way in which it came about."""

    model: str
    user: str | int
    title: str
    way: str
    items: list[Ranked]


class RecommendedFor(BaseModel):
    """A list for a stranger."""

    model: str
    way: str
    items: list[Ranked]


class Lists(BaseModel):
    """A list for each user, in the order in which they were named."""

    model: str
    lists: list[Recommended]


class Alike(BaseModel):
    """The items most like one, and by what."""

    model: str
    item: str | int
    title: str
    way: str
    items: list[Ranked]


class Explained(BaseModel):
    """Why: a sentence and what stands behind it. A model may add further parts."""

    model_config = ConfigDict(extra="allow")
    model: str
    sentence: str
    item: str | int
    title: str
    score: float | None


class Name(BaseModel):
    """An id, its title, and how many interactions it has."""

    id: str | int
    title: str
    count: int


class Found(BaseModel):
    """What a search found; ``total`` counts also what is beyond the limit."""

    model: str
    kind: Literal["item", "user"]
    total: int
    found: list[Name]


class Chosen(BaseModel):
    """One interaction of a user; ``held_out`` ones were not trained on."""

    item: str | int
    title: str
    held_out: bool
    rating: float | None = None
    time: int | None = None
    count: float | None = None


class History(BaseModel):
    """What a user has chosen, the latest first where times are known; ``total`` counts also what is beyond the limit."""

    model: str
    user: str | int
    title: str
    total: int
    history: list[Chosen]


class KnownField(BaseModel):
    """A field that may be given: of a category or a bag what it may hold, at most 1,000 of them."""

    name: str
    kind: str
    size: int
    categories: list[str | int] | None


class Served(BaseModel):
    """One run: what it is, how much it knows, whom it serves and what it can say."""

    name: str
    model: str
    task: str
    users: int
    items: int
    interactions: int
    explains: str
    serves_strangers: bool
    strangers: str
    unknown: list[str]
    context: list[KnownField]
    features: list[KnownField]
    measured: dict[str, float | None] | None
    protocol: str | None


class Models(BaseModel):
    """The runs, the first being asked where none is named."""

    models: list[Served]


class State(BaseModel):
    """How the service is."""

    status: str


class Problem(BaseModel):
    """What went wrong: what came, what was expected, what to do."""

    error: str
