"""Halves of characters, as JSON and a command line may hold, which no file or model takes."""

from __future__ import annotations

import re

from hardprompt.errors import UsageError

SURROGATE = re.compile("[\ud800-\udfff]")
SAID = "holds half a character (a lone surrogate)"


def broken(text: str) -> bool:
    """Whether a text holds such a half."""
    return SURROGATE.search(text) is not None


def check_whole(text: str, what: str) -> None:
    """Raises `UsageError` where a text that was given holds one; `what` is what it is called."""
    if broken(text):
        raise UsageError(f"{what} {SAID}, which no model reads: {text[:40]!r}")
