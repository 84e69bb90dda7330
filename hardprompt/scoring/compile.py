"""From texts to rows of token ids, once per run; every later prompt only fills the slots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.base import Labels
from hardprompt.models.codec import Codec
from hardprompt.scoring.plan import Row
from hardprompt.template import Slot, Template
from hardprompt.types import EMPTY, IntArray


@dataclass(frozen=True)
class Renderer:
    """Turns prompts and texts into what the model reads, and says what prompts look like."""

    codec: Codec
    template: Template

    def prompt_texts(self, ids: IntArray, slots: Sequence[int]) -> list[str]:
        """One prompt row -> the text of each slot, as it stands in the template."""
        texts, at = [], 0
        for width, spaced in zip(slots, self._spaced(), strict=True):
            tokens = [int(t) for t in ids[at : at + width] if t != EMPTY]
            piece = self.codec.piece(tokens) if tokens else ""
            texts.append(piece.removeprefix(" ") if spaced else piece)
            at += width
        return texts

    def _spaced(self) -> list[bool]:
        """Whether template or tokenizer put the space before each slot."""
        spaced = list(self.template.spaced())
        if self.template.starts_with_slot():
            spaced[0] = self.codec.spaces_start
        return spaced

    def encode(self, prompts: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
        """Ids of the whole row before the label, for every text: what is scored and served."""
        return self.codec.encode_many([self.template.render(prompts, text) for text in texts])

    def slot_ids(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[tuple[tuple[int, ...], ...] | None]:
        """For each text, the tokens as which each slot is read inside the whole row; None where
        a slot melts into its neighbours, so that it has no tokens of its own."""
        cuts = self._cuts()
        contexts: list[str] = []
        for text in texts:
            contexts.append(self.template.render(prompts, text))
            contexts += [part.render(prompts[: part.n_slots], text) for part in cuts]
        encoded = iter(self.codec.encode_many(contexts))
        return [_between(next(encoded), [next(encoded) for _ in cuts]) for _ in texts]

    def _cuts(self) -> list[Template]:
        """The template up to each slot, and through it, slot by slot."""
        parts = self.template.parts
        return [
            replace(self.template, parts=parts[:end])
            for place, part in enumerate(parts)
            if isinstance(part, Slot)
            for end in (place, place + 1)
        ]

    def label_ids(self, words: Sequence[str], text: str, prompts: Sequence[str]) -> Labels:
        """Tokens of each label word after a row, encoded together with it."""
        context = self.template.render(prompts, text)
        base, *joint = self.codec.encode_many(
            [context, *(context + self.template.before_label + word for word in words)]
        )
        labels = []
        for word, ids in zip(words, joint, strict=True):
            if ids[: len(base)] != base or len(ids) == len(base):
                raise HardpromptError(
                    f"the label word '{word}' melts into the text before it with this tokenizer; "
                    "put a space before {label} in the template"
                )
            labels.append(tuple(ids[len(base) :]))
        if len(set(labels)) < len(labels):
            raise UsageError(f"label words must differ, got {', '.join(words)}")
        return tuple(labels)


def compile_rows(
    renderer: Renderer, texts: Sequence[str], n_slots: int, probes: tuple[int, int]
) -> list[Row]:
    """Rows around the slots, found by writing one of two probe tokens into each slot.

    Encoding whole texts, not their parts, keeps what the tokenizer does at the seams. The two
    encodings must differ in the slots and nowhere else.
    """
    first, second = (renderer.prompt_texts(_row(probe, n_slots), [1] * n_slots) for probe in probes)
    rows = []
    for text, a, b in zip(
        texts, renderer.encode(first, texts), renderer.encode(second, texts), strict=True
    ):
        places = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
        clean = len(a) == len(b) and len(places) == n_slots
        if not clean or any((a[i], b[i]) != probes for i in places):
            raise HardpromptError(
                f"the template {renderer.template.source!r} leaves no clean place for a token "
                f"with this tokenizer, as in the text {text[:40]!r}; put a space before {{prompt}}"
            )
        ends = [-1, *places, len(a)]
        segments = [tuple(a[i + 1 : j]) for i, j in itertools.pairwise(ends)]
        rows.append(Row(tuple(segments)))
    return rows


def _between(row: list[int], heads: Sequence[list[int]]) -> tuple[tuple[int, ...], ...] | None:
    """The tokens of a row between pairs of its beginnings; None where one is no beginning."""
    if any(row[: len(head)] != head for head in heads):
        return None
    ends = [len(head) for head in heads]
    return tuple(tuple(row[a:b]) for a, b in zip(ends[::2], ends[1::2], strict=True))


def _row(token: int, n: int) -> IntArray:
    return np.full(n, token, dtype=np.int64)


def cut_texts(
    renderer: Renderer, texts: Sequence[str], prompts: Sequence[str], room: int
) -> tuple[list[str], int]:
    """Texts shortened at their end, by words, until each row has at most `room` tokens.

    Returns the texts and how many were cut. Raises where prompt and template alone are too long.
    """
    long = set(too_long(renderer, texts, prompts, room))
    result = [
        _cut(renderer, text, prompts, room) if number in long else text
        for number, text in enumerate(texts)
    ]
    return result, len(long)


def too_long(
    renderer: Renderer, texts: Sequence[str], prompts: Sequence[str], room: int
) -> list[int]:
    """Numbers of the texts whose rows have more than `room` tokens."""
    lengths = [len(ids) for ids in renderer.encode(prompts, texts)]
    found = [number for number, length in enumerate(lengths) if length > room]
    alone = len(renderer.encode(prompts, [""])[0]) if found else 0
    if alone >= room:
        raise UsageError(
            f"prompt and template take {alone} tokens of the model's {room}: no room for a text"
        )
    return found


def room_for(context: int, labels: Labels) -> int:
    """Tokens that a row may have before its label word."""
    # Manual prompts may be longer than the slot; they get a little room of their own.
    return context - max(map(len, labels)) - 16


def _cut(renderer: Renderer, text: str, prompts: Sequence[str], room: int) -> str:
    low, high = 0, len(text)  # characters kept; the longest beginning that fits
    while low < high:
        middle = (low + high + 1) // 2
        if len(renderer.encode(prompts, [text[:middle].rstrip()])[0]) <= room:
            low = middle
        else:
            high = middle - 1
    whole = text[:low]
    # Not in the middle of a word, unless the text is one long word.
    return whole.rsplit(None, 1)[0] if low < len(text) and " " in whole else whole.rstrip()
