"""Texts as words and n-grams: what NIST, METEOR and CIDEr-D count."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

Ngram = tuple[str, ...]

# A number with its decimal point, a run of letters and digits of any script, or one other sign.
TOKEN = r"\d+(?:[.,]\d+)+|{word}|[^\w\s]"
PLAIN = re.compile(TOKEN.format(word=r"\w+"))
JOINERS = "\u200c\u200d"  # of no width: they stand inside words of Persian and of Indic scripts


def tokens(text: str) -> list[str]:
    """The words and punctuation marks of a text, lower-cased."""
    lower = text.lower()
    if lower.isascii():
        return PLAIN.findall(lower)
    return _with_marks().findall(unicodedata.normalize("NFC", lower))


@cache
def _with_marks() -> re.Pattern[str]:
    """The same where letters carry marks, such as the vowels of Indic scripts and accents that
    stand behind their letter: to `\\w` they are no letters, and would end every word."""
    marks = "".join(filter(_is_mark, map(chr, range(sys.maxunicode + 1))))
    return re.compile(TOKEN.format(word=rf"\w[\w{marks}{JOINERS}]*"))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def words(text: str) -> list[str]:
    """The words of a text, lower-cased, without punctuation."""
    return [token for token in tokens(text) if any(map(str.isalnum, token))]


def ngrams(sequence: Sequence[str], order: int) -> Counter[Ngram]:
    """How often each run of `order` tokens stands in a text."""
    return Counter(zip(*(sequence[start:] for start in range(order)), strict=False))
