"""Examples: labelled rows of feature fields, such as a user, an app, the hour and the weather, and whether it was used.

Shapes: N rows, F fields, B of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from attlas.data.fields import Features, Fields, Role
from attlas.data.inputs import Inputs
from attlas.data.interactions import Interactions, Origin
from attlas.data.vocabulary import Vocabulary
from attlas.errors import ConfigError, DataError
from attlas.ops.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled rows.

    Attributes:
        features: the fields, and what is known of each user and item; the first field of a role names the user or the item.
        index: int64[N, F], the feature of each field, or behind the last feature the bag.
        label: float32[N], 1 or 0.
        value: float32[N, F], what each feature is multiplied by, or None where all are taken as they are.
        origin: where the rows came from.
    """

    features: Features
    index: np.ndarray
    label: np.ndarray
    value: np.ndarray | None = None
    origin: Origin = field(default_factory=Origin)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"Examples({len(self):,} rows of {', '.join(self.features.names)})"

    @property
    def users(self) -> Vocabulary:
        """Who is asked about."""
        return self.features.fields[self._id_place("user")].known

    @property
    def items(self) -> Vocabulary:
        """What there is to rank."""
        return self.features.fields[self._id_place("item")].known

    @property
    def user(self) -> np.ndarray:
        """Whose row each is, int64[N]; as many as there are known users is one whom training has not seen."""
        return self.ids("user")

    def ids(self, role: Role) -> np.ndarray:
        """The user or the item of each row, int64[N]; as many as there are known ones is an unknown one."""
        place = self._id_place(role)
        return self.index[:, place] - self.features.first[place]

    def _id_place(self, role: Role) -> int:
        return self.features.places(role)[0]

    @cached_property
    def chosen(self) -> Interactions:
        """The pairs of known users and items of which a row is positive, each once."""
        user, item = self.ids("user"), self.ids("item")
        rows = (self.label > 0) & (user < len(self.users)) & (item < len(self.items))
        return Interactions(self.users, self.items, user[rows], item[rows], origin=self.origin).without_repeats()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of categories, rows and labels: equal data in equal order have equal fingerprints."""
        digest = hashlib.sha256()
        for one in self.features.fields:
            digest.update("\x1f".join([one.name, one.role, *map(str, one.known.ids.to_list())]).encode())
        bags = self.features.bags
        for values in (self.index, self.label, self.value, *(() if bags is None else (bags.start.numpy(), bags.index.numpy()))):
            digest.update(b"none" if values is None else np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> Examples:
        """The given rows (indices or a mask) with the same features."""
        value = None if self.value is None else self.value[rows]
        return replace(self, index=self.index[rows], label=self.label[rows], value=value)

    def joined(self, *others: Examples | None) -> Examples:
        """These rows and then those of further parts of one data set."""
        parts = [self, *(part for part in others if part is not None)]
        value = None if self.value is None else np.concatenate([part.value for part in parts if part.value is not None])
        index, label = (np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "label"))
        return replace(self, index=index, label=label, value=value)


class ExampleInputs(Inputs):
    """Gathers rows of fields from labelled examples; pairs of users and items get what is known of each, in no context.

    Args:
        examples: what is learned from.
        device: where the tensors go.
    """

    def __init__(self, examples: Examples, *, device: str | torch.device = "cpu"):
        super().__init__(examples.chosen, device=device, features=examples.features)
        self.examples = examples

    @property
    def data(self) -> Examples:
        """What is learned from."""
        return self.examples

    @cached_property
    def _columns(self) -> tuple[Tensor, Tensor | None, Tensor]:
        given = self.examples.index, self.examples.value, self.examples.label
        index_NF, value_NF, label_N = (None if part is None else torch.from_numpy(part).to(self.device) for part in given)
        assert index_NF is not None
        assert label_N is not None
        return index_NF, value_NF, label_N

    def rows(self, rows: np.ndarray | slice) -> tuple[Fields, Tensor]:
        """The fields and the labels of B rows."""
        index_NF, value_NF, label_N = self._columns
        row_B = rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.device)
        value_BF = None if value_NF is None else value_NF[row_B]
        return Fields(index_NF[row_B], value_BF, self.features.bags_on(index_NF.device)), label_N[row_B]


def inputs_of(train: Interactions | Examples, *, device: str | torch.device = "cpu") -> Inputs:
    """What gathers a model's inputs from either kind of data."""
    return ExampleInputs(train, device=device) if isinstance(train, Examples) else Inputs(train, device=device)


def parts_by_ratio(
    examples: Examples, *, test: float = 0.1, valid: float = 0.2, seed: int = 1
) -> tuple[Examples, Examples | None, Examples]:
    """Train, validation and test at random, 70 to 20 to 10 as the papers cut; what training has not seen is unknown.

    Args:
        test, valid: fractions in 0..1; ``valid=0`` makes no validation part.
        seed: what the order depends on.

    Raises:
        ConfigError: fractions that leave nothing to train on.
        DataError: there are too few rows for a test part.
    """
    rows = rows_by_ratio(len(examples), test=test, valid=valid, seed=seed)
    train, held, last = blinded(*(examples.take(part) for part in rows))
    return train, held if len(held) else None, last


def rows_by_ratio(
    count: int, *, test: float = 0.1, valid: float = 0.2, seed: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of so many rows ``parts_by_ratio`` takes for train, validation and test, rising; its errors are raised here."""
    if not (0 < test < 1 and 0 <= valid < 1 and test + valid < 1):
        raise ConfigError(f"test={test}, valid={valid}: expected fractions, test above 0, valid not below and a sum below 1")
    order = np.random.default_rng(seed).permutation(count)
    tested, validated, rest = np.split(order, np.floor(count * np.array([test, test + valid]) + 0.5).astype(int))
    if not len(tested) or not len(rest):
        raise DataError(f"{count:,} rows are too few to hold out a test part; bring more, or larger fractions")
    return np.sort(rest), np.sort(validated), np.sort(tested)


def blinded(train: Examples, *others: Examples) -> list[Examples]:
    """The parts of one data set with whatever training has not seen unknown in all of them, in what is known of items too."""
    features = train.features
    unknown = np.repeat(features.unknown, features.sizes)
    bags = features.bags
    seen = np.bincount(train.index.ravel(), minlength=len(unknown) + (0 if bags is None else bags.count)) > 0
    if bags is not None:
        is_held = torch.from_numpy(seen[len(unknown) :])
        seen[bags.index[is_held[bags.owner]].numpy()] = True
    become = np.where(seen[: len(unknown)], np.arange(len(unknown)), unknown)
    if bags is not None:
        rows = [np.unique(become[row]).tolist() for row in np.split(bags.index.numpy(), bags.start[1:-1].numpy())]
        bags = Ragged.of(rows, bags.width)
        become = np.concatenate([become, len(become) + np.arange(bags.count)])
    known = {name: become[getattr(features, name)] for name in ("user_index", "item_index")}
    features = replace(features, bags=bags, is_seen=seen[: len(unknown)], **known)
    return [replace(part, features=features, index=become[part.index]) for part in (train, *others)]


def of_each(
    index_NF: np.ndarray, id_N: np.ndarray, is_train_N: np.ndarray, places: Sequence[int], count: int, otherwise: np.ndarray
) -> np.ndarray:
    """What the first row of each user or item says of it, [count, len(places)]; of those that training has, its first row.

    Args:
        index_NF: a value for every row and field.
        id_N: whose row it is; a number of ``count`` or more is nobody's.
        is_train_N: which rows are of training.
        places: the fields wanted.
        otherwise: the value of each field, [F], for those without rows.
    """
    wanted = list(places)
    found = np.repeat(np.asarray(otherwise)[None, wanted], count, axis=0)
    order = np.argsort(~is_train_N, kind="stable")
    last_first = order[id_N[order] < count][::-1]
    found[id_N[last_first]] = index_NF[last_first][:, wanted]
    return found
