"""What anybody may ask of a model: the protocol itself and the further abilities, each a small protocol of its own.

There is no base class. A model is an ``nn.Module`` whose ``forward`` names its inputs; ``asked_by`` reads them.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from attlas.data.inputs import History, Inputs
from attlas.data.interactions import Interactions


class Model(Protocol):
    """Anything that scores (user, item) pairs."""

    config: Any

    def __call__(self, **inputs: Any) -> Tensor:
        """Score [B]: a logit, or a rating for rating models."""
        ...


@runtime_checkable
class Separable(Protocol):
    """A model whose ``forward`` is ``match(encode_user, encode_item)``, so that each item is encoded once."""

    def encode_user(self, **inputs: Any) -> Tensor:
        """A code per pair or user, [B, C]."""
        ...

    def encode_item(self, **inputs: Any) -> Tensor:
        """A code per pair or item, [B, C]."""
        ...

    def match(self, user_code: Tensor, item_code: Tensor) -> Tensor:
        """The score of each pair of codes; leading dimensions broadcast."""
        ...


@runtime_checkable
class PairMatching(Separable, Protocol):
    """A separable model that matches codes where they lie, without a copy of them for every pair."""

    def match_pairs(self, user_code: Tensor, user_row: Tensor, item_code: Tensor, item_row: Tensor) -> Tensor:
        """``match`` of a row of user codes [G, C] and one of item codes [H, C] for each pair, [B]."""
        ...


@runtime_checkable
class Preparing(Separable, Protocol):
    """A separable model that matches users with a whole catalogue faster once the catalogue has been made ready."""

    def make_ready(self, item_code: Tensor) -> Tensor:
        """From item codes [I, C] to what serves every user beside them, [I, R]."""
        ...

    def match_ready(self, user_code: Tensor, item_code: Tensor, ready: Tensor) -> Tensor:
        """``match`` of each user code [V, C] with each item code [I, C], whose rows ``ready`` holds too, [V, I]."""
        ...


@runtime_checkable
class Comparing(Separable, Protocol):
    """A separable model whose codes of items hold more than what makes items alike, such as biases and constants."""

    compared_by: ClassVar[str]
    """The name of the embedding table with the vectors that do."""


@runtime_checkable
class Sharing(Separable, Protocol):
    """A separable model whose ``forward`` itself computes once what pairs share; training calls it and not the halves."""

    shares: ClassVar[bool]


@runtime_checkable
class InnerProduct(Separable, Protocol):
    """A separable model whose ``match`` is the inner product of the two codes."""

    is_inner_product: ClassVar[bool]


@runtime_checkable
class Beginning(Protocol):
    """A model that takes something from the training data before its first epoch, such as their mean."""

    def begin(self, data: Any) -> None:
        """Look at the training data, once."""
        ...


@runtime_checkable
class Fusing(Protocol):
    """A model that can start from others, trained by themselves, that are parts of it."""

    def fuse(self, *parts: nn.Module) -> None:
        """Take their weights; where it says what each part counts, its score becomes that mixture of theirs."""
        ...


@runtime_checkable
class Ranking(Protocol):
    """A model that scores the whole catalogue at once, equal to ``forward``."""

    def score_catalogue(self, **inputs: Any) -> Tensor:
        """From the inputs of ``forward`` without the item ones to scores [U, I]."""
        ...


@runtime_checkable
class Tabulating(Ranking, Protocol):
    """A ranking model of histories that can say once, in a table of items by items, what serves every asker."""

    def tabulate(self) -> Any:
        """The table, about 2 I^2 floats; good as long as the model does not change."""
        ...

    def score_from(self, table: Any, user_history: History) -> Tensor:
        """``score_catalogue`` by the table, equal to it but for rounding."""
        ...


@runtime_checkable
class Penalised(Protocol):
    """A model with a regulariser of its own, which descent adds to the loss of each batch."""

    def penalise(self, **inputs: Any) -> Tensor:
        """From the inputs of ``forward`` to what the parameters, or those that a batch names, cost; a scalar."""
        ...


@runtime_checkable
class Grouped(Protocol):
    """A model that is cheaper where a batch holds all pairs of whole users, or of whole target items."""

    group_by: ClassVar[Literal["user", "item"]]


@runtime_checkable
class Sized(Protocol):
    """A model whose need of memory is not its parameters alone."""

    @staticmethod
    def memory(sizes: Any, config: Any) -> dict[str, int]:
        """What fitting will hold at once: bytes by the name of what holds them."""
        ...


@runtime_checkable
class Welcoming(Protocol):
    """A model that asks for ``user`` and can fit one new user vector with all else frozen."""

    user_tables: ClassVar[tuple[str, ...]]
    """The names of the embedding tables that hold one row per user and are read through ``user``."""


@runtime_checkable
class Folding(Protocol):
    """A model that asks for ``user`` and solves for the rows of new users at once, with all else frozen."""

    user_tables: ClassVar[tuple[str, ...]]
    """The names of the embedding tables that hold one row per user and are read through ``user``."""

    def fold_in(self, user_history: History) -> Tensor:
        """One user row per asking row, [U, K]; the rows of several tables side by side."""
        ...


@runtime_checkable
class Admitting(Protocol):
    """A model that solves for the rows of new items from who chose them, with all else frozen."""

    def admit(self, item: Tensor, item_history: History) -> None:
        """Give each item, int64[J], the row that its asking list leads to."""
        ...


@runtime_checkable
class Updatable(Protocol):
    """A trained model that takes in what has been chosen since, without being trained anew."""

    def update(self, data: Inputs, new: Interactions) -> None:
        """Learn from new rows in their order; users and items that have come since get rows in the tables.

        Args:
            data: all that is known by now, the new rows too; whom the model knows already have the indices that they had.
            new: the rows to take in, of the same vocabularies as ``data``.
        """
        ...


def task_of(model: nn.Module | type) -> Literal["ranking", "rating"]:
    """What a model's scores are: good for ranking alone, or ratings; a model of ratings says so by its ``task``."""
    task: Literal["ranking", "rating"] = getattr(model, "task", "ranking")
    return task


def grouped_by(model: nn.Module | type) -> Literal["pair", "user", "item"]:
    """What a batch of the model's training holds: pairs as they come, whole users, or whole target items."""
    return model.group_by if isinstance(model, Grouped) else "pair"


def reads_history(model: nn.Module | type) -> bool:
    """Whether scores follow from what a user has chosen in any way: read, or solved or fitted for."""
    names = set(asked_by(model))
    return bool({"user_history", "observed"} & names) or ("user" in names and isinstance(model, Folding | Welcoming))


def asked_by(model: nn.Module | type, method: str = "forward") -> tuple[str, ...]:
    """The names of the inputs that a method of the model asks for.

    Read from the class, before any wrapping, because compiling hides the signature.
    """
    return _parameters(model if isinstance(model, type) else type(model), method)


@functools.cache
def _parameters(owner: type, method: str) -> tuple[str, ...]:
    """Read once for each class: for one user's answer the reading would cost as much as the scoring."""
    return tuple(name for name in inspect.signature(getattr(owner, method)).parameters if name != "self")
