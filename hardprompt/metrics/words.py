"""Texts as words and n-grams: what NIST, METEOR and CIDEr-D count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

Ngram = tuple[str, ...]

# A number with its decimal point, a run of letters and digits of any script, or one other sign.
TOKEN = re.compile(r"\d+(?:[.,]\d+)+|\w+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """The words and punctuation marks of a text, lower-cased."""
    return TOKEN.findall(text.lower())


def words(text: str) -> list[str]:
    """The words of a text, lower-cased, without punctuation."""
    return [token for token in tokens(text) if any(map(str.isalnum, token))]


def ngrams(sequence: Sequence[str], order: int) -> Counter[Ngram]:
    """How often each run of `order` tokens stands in a text."""
    return Counter(zip(*(sequence[start:] for start in range(order)), strict=False))
