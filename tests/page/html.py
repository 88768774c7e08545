"""What a page is made of, read back from its text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

HOSTILE = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
LOADING = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "xlink:href"}


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.found)


def painted(value: Any) -> Any:
    """A figure with a colour wherever it names a variable of the page."""
    if isinstance(value, dict):
        return {name: painted(part) for name, part in value.items()}
    if isinstance(value, list):
        return [painted(part) for part in value]
    return re.sub(r"var\(--[\w-]+\)", "#123456", value) if isinstance(value, str) else value
