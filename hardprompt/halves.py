"""Halves of characters, as JSON and a command line may hold, which no file or model takes."""

from __future__ import annotations

import re

from hardprompt.errors import UsageError

SURROGATE = re.compile("[\ud800-\udfff]")
SAID = "holds half a character (a lone surrogate)"


def broken(text: str) -> bool:
    """Whether a text holds such a half."""
    return SURROGATE.search(text) is not None


def check_whole(text: str, what: str, refused: str = "no model reads") -> None:
    """Raises `UsageError` where a text that was given holds one; `what` is what it is called, and
    `refused` by whom it would be."""
    if broken(text):
        raise UsageError(f"{what} {SAID}, which {refused}: {text[:40]!r}")


def stripped_text(text: object, number: int) -> str:
    """The text without space around it; raises `UsageError` where there is nothing to read."""
    if not isinstance(text, str):
        raise UsageError(f"text {number} must be a str, got {type(text).__name__}: {text!r:.40}")
    if not (stripped := text.strip()):
        raise UsageError(f"text {number} is empty; there is nothing to read")
    check_whole(stripped, f"text {number}")
    return stripped


def check_path(path: str, what: str) -> None:
    """The same of a name that the files of a run would hold: one that is no UTF-8."""
    check_whole(path, what, "no file of a run can name; rename it")
