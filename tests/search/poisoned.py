"""A split whose test part cannot be looked at."""

from __future__ import annotations

import dataclasses
from typing import Any

from attlas.data.split import Split


class Looked(BaseException):
    """Somebody looked at the test part."""


class Poisoned(Split):
    """Looks like the split it is made of; who asks for its test part or its candidates is stopped."""

    @classmethod
    def of(cls, split: Split) -> Poisoned:
        """The same split, poisoned."""
        return cls(**{field.name: getattr(split, field.name) for field in dataclasses.fields(split)})

    def __getattribute__(self, name: str) -> Any:
        if name in ("test", "candidates"):
            raise Looked(name)
        return super().__getattribute__(name)
