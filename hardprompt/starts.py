"""Prompts to begin a search with: manual ones, and those that a user gives, as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import punctuation

import numpy as np

from hardprompt.config import STARTS, RunConfig
from hardprompt.halves import check_whole
from hardprompt.models.codec import Codec
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.types import IntArray


@dataclass(frozen=True)
class Starts:
    """The seeds of a space, and what a user should know about them."""

    rows: IntArray | None  # (m, length), a user's own first; None: there are none
    own: int  # how many of them a user wrote
    notes: tuple[str, ...]


def find_starts(
    config: RunConfig, manual: Sequence[str], scorer: Scorer, space: SearchSpace
) -> Starts:
    """What `--start` names as rows of allowed tokens, EMPTY where too short; `manual` prompts are
    those of the template.

    Too long a prompt keeps its end, which stands next to the text or the label.
    """
    texts = [start for start in config.start if start not in STARTS]
    for text in texts:
        check_whole(text, "--start")
    if len(space.slots) > 1:
        n = len(space.slots)
        note = f"--start texts are left out: they are of one slot, and the template has {n}"
        return Starts(None, 0, (note,) if texts else ())
    codec, allowed = scorer.renderer.codec, set(space.tokens.tolist())
    own = [_own_ids(codec, allowed, space.length, text) for text in texts]
    chosen = manual if "manual" in config.start else ()
    others = [_manual_ids(codec, allowed, text)[-space.length :] for text in chosen]
    n_own = len(dict.fromkeys(map(tuple, filter(None, own))))
    rows = [space.join([ids]) for ids in dict.fromkeys(map(tuple, filter(None, own + others)))]
    notes = (_note(codec, text, ids) for text, ids in zip(texts, own, strict=True))
    return Starts(np.array(rows) if rows else None, n_own, tuple(filter(None, notes)))


def _own_ids(codec: Codec, allowed: set[int], length: int, text: str) -> list[int]:
    """As many whole words of a user's text as there is room for, from its end: as written, or else
    without marks around them, or else in small letters; others are left out."""
    kept: list[int] = []
    for word in reversed(text.split()):
        bare = word.strip(punctuation)
        read = (_read(codec, form) for form in (word, bare, bare.lower()) if form)
        ids = next((ids for ids in read if allowed.issuperset(ids)), [])
        if len(ids) + len(kept) > length:
            break
        kept = ids + kept
    return kept


def _manual_ids(codec: Codec, allowed: set[int], text: str) -> list[int]:
    """A manual prompt in small letters without its marks; of words outside the vocabulary, what is
    in it stays as a hint."""
    plain = text.replace("?", " ").replace(":", " ").replace(",", " ").replace(".", " ")
    return [i for i in _read(codec, " ".join(plain.split()).lower()) if i in allowed]


def _read(codec: Codec, words: str) -> list[int]:
    """Ids of words as they are read behind others."""
    return codec.encode(f"a {words}")[len(codec.encode("a")) :]


def _note(codec: Codec, text: str, ids: list[int]) -> str | None:
    """What a search begins with instead of a user's text; None: with that."""
    if not ids:
        return f"--start '{text}' is left out: there is room for no word of it that may be searched"
    begun = codec.piece(ids).strip()
    if begun == " ".join(text.split()):
        return None
    return f"--start '{text}': the search begins with what it may search of that, '{begun}'"
