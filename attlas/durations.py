"""Durations as people write them: ``90s``, ``10m``, ``2h``."""

from __future__ import annotations

import re

from attlas.errors import ConfigError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_seconds(text: str | float) -> float:
    """Seconds from text such as ``90s``, ``10m``, ``1.5h`` or ``1h30m``; a number alone is seconds.

    Raises:
        ConfigError: the text names no duration, or none above zero.
    """
    words = str(text).strip().lower()
    parts = re.findall(r"(\d+\.?\d*|\.\d+)\s*([smhd])", words)
    if re.fullmatch(r"\d+\.?\d*|\.\d+", words):
        parts = [(words, "s")]
    elif "".join("".join(part) for part in parts) != re.sub(r"\s", "", words):
        parts = []
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not seconds:
        raise ConfigError(f"{text!r} is no duration; write for instance 90s, 10m, 2h or 1h30m")
    return seconds


def readable_seconds(seconds: float) -> str:
    """A duration as a person says it: ``8.1 s``, ``12 min 5 s``, ``2 h 4 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
