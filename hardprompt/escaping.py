"""Text from elsewhere, written so that it can do no harm where it is shown or pasted."""

from __future__ import annotations

import shlex
import unicodedata

BAD = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, direction, zero-width and the like


def escape(text: str) -> str:
    """Text in which every character that could steer a terminal is written out."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in BAD else char
        for char in text
    )


def pasted(path: str) -> str:
    """A path as a shell must be given it, in a command to be pasted."""
    return shlex.quote(escape(path))
