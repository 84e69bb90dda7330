"""Which tokens may be searched: readable by default, and only such as survive being written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from hardprompt.errors import UsageError
from hardprompt.models.codec import Codec
from hardprompt.types import IntArray

KINDS = ("words", "ascii", "all")
# Longer endings first.
ENDINGS = [
    "ness",
    "ibly",
    "ably",
    "ible",
    "able",
    "ing",
    "est",
    "ity",
    "ful",
    "ed",
    "er",
    "es",
    "ly",
    "s",
    "y",
    "e",
]


@dataclass(frozen=True)
class Vocabulary:
    """Allowed token ids, ascending, and where they came from."""

    tokens: IntArray  # (v,)
    kind: str
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What tells its tokens from as many others."""
        return hashlib.sha256(self.tokens.astype("<i8").tobytes()).hexdigest()[:16]

    @classmethod
    def build(
        cls,
        codec: Codec,
        n_ids: int,
        kind: str = "words",
        *,
        top: int | None = None,
        ban: Path | None = None,
        label_words: Sequence[str] = (),
        allow_label_words: bool = False,
    ) -> Vocabulary:
        """Filters the ids `0..n_ids-1`.

        `kind` is `words` (a space and an English word), `ascii` (printable), `all`, or a file
        with one word a line. `top` keeps the most frequent: by the word list, else by id, since
        byte-pair merges are learnt in order of frequency. Label words and their inflections are
        left out unless `allow_label_words`. Raises `UsageError` when nothing is left.
        """
        notes: list[str] = []
        if kind in KINDS:
            pairs = _readable(codec, n_ids, kind)
        else:
            pairs = _from_file(codec, Path(kind), notes)
        banned = {line.strip().lower() for line in _lines(ban)} if ban else set()
        if not allow_label_words:
            pairs = [p for p in pairs if not _inflects(p[1].strip(), label_words)]
        pairs = [p for p in pairs if p[1].strip().lower() not in banned]
        alive = codec.survives(pairs)
        pairs = [pair for pair, ok in zip(pairs, alive, strict=True) if ok]
        if top is not None:
            pairs = _most_frequent(pairs, kind)[:top]
        if not pairs:
            raise UsageError(
                f"--vocab {kind} leaves no token to search with; "
                "take 'words', 'ascii' or 'all', or a longer file"
            )
        tokens = np.array(sorted({token for token, _ in pairs}), dtype=np.int64)
        return cls(tokens, kind, tuple(notes))


@cache
def word_ranks() -> dict[str, int]:
    """English words -> rank by frequency, from texts that are free to use."""
    text = files("hardprompt").joinpath("data/words.txt").read_text(encoding="utf8")
    return {word: rank for rank, word in enumerate(text.split())}


def _readable(codec: Codec, n_ids: int, kind: str) -> list[tuple[int, str]]:
    pairs = [(i, codec.piece([i])) for i in range(n_ids) if i not in codec.special_ids]
    keep = {"words": is_word, "ascii": _is_ascii, "all": _is_text}[kind]
    return [(i, piece) for i, piece in pairs if keep(piece)]


def is_word(piece: str) -> bool:
    """A space and a whole English word; " medioc" is only the beginning of one."""
    word = piece[1:]
    if not (piece.startswith(" ") and word.isascii() and word.isalpha()):
        return False
    return (word.islower() or word.istitle()) and word.lower() in word_ranks()


def _is_ascii(piece: str) -> bool:
    body = piece.removeprefix(" ")
    return bool(body) and body.isascii() and body.isprintable() and " " not in body


def _is_text(piece: str) -> bool:
    # U+FFFD stands for the bytes of a torn character: such a token is no text on its own.
    return bool(piece.strip()) and "�" not in piece and piece.isprintable()


def _from_file(codec: Codec, path: Path, notes: list[str]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    lost: list[str] = []
    lines = [line.strip() for line in _lines(path) if line.strip()]
    n = len(codec.encode("a"))
    for word in lines:
        ids = codec.encode(f"a {word}")[n:]
        if len(ids) == 1 and ids[0] not in codec.special_ids:
            found.append((ids[0], f" {word}"))
        else:
            lost.append(word)
    if lost:
        shown = ", ".join(lost[:5]) + (" ..." if len(lost) > 5 else "")
        notes.append(
            f"{len(lost)} words of {path} are not one token each and were left out: {shown}"
        )
    return found


def _lines(path: Path) -> list[str]:
    try:
        # Some editors begin a file with a mark, which would be part of its first word.
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UsageError(
            f"no word file '{path}'; --vocab takes words, ascii, all or a file with one word a "
            "line, --ban such a file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the word file '{path}': {error}") from error


def _most_frequent(pairs: list[tuple[int, str]], kind: str) -> list[tuple[int, str]]:
    if kind != "words":
        return sorted(pairs)
    ranks = word_ranks()
    return sorted(pairs, key=lambda pair: (ranks[pair[1].strip().lower()], pair[0]))


def stem(word: str) -> str:
    """A word without its commonest endings: great, greatest, greatly -> great."""
    word = word.lower()
    for _ in range(2):
        for ending in ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                word = word[: -len(ending)]
                break
    return word


def _inflects(word: str, label_words: Iterable[str]) -> bool:
    if not word.isalpha():
        return False
    for label in label_words:
        for part in label.split():
            if word.lower() == part.lower() or stem(word) == stem(part):
                return True
    return False
