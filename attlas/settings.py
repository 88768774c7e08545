"""From tables of settings to frozen, validated dataclasses; an unknown key names its nearest neighbour."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from attlas.errors import ConfigError, nearest

T = TypeVar("T")


def build(settings: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """One settings object from a table.

    Args:
        settings: a pydantic dataclass, or a class that has nothing to set.
        table: names and values.
        where: the table's name, for messages: ``model``.

    Raises:
        ConfigError: an unknown name, or a value that does not fit.
    """
    known = [field.name for field in dataclasses.fields(settings) if field.init] if dataclasses.is_dataclass(settings) else []
    for name in table:
        if name not in known:
            hint = nearest(name, known) if known else "there is nothing to set"
            raise ConfigError(f"[{where}] has no setting {name!r}; {hint}")
    try:
        return settings(**table)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"[{where}] {name} = {first.get('input')!r} does not fit: {first['msg'].lower()}") from error
