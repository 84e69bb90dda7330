"""From texts to rows of token ids, once per run; every later prompt only fills the slots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.base import Labels
from hardprompt.models.codec import ANCHOR, Codec
from hardprompt.scoring.plan import Row
from hardprompt.template import Part, Slot, Template
from hardprompt.types import EMPTY, IntArray

SPARE = 16  # tokens of a context that stay free, beside all that is known to come


@dataclass(frozen=True)
class Renderer:
    """Turns prompts and texts into what the model reads, and says what prompts look like."""

    codec: Codec
    template: Template

    def __post_init__(self) -> None:
        if self.template.tail and self.codec.mask is None:
            raise UsageError(
                f"template {self.template.source!r}: {{label}} must come last: "
                "a causal model reads from left to right"
            )

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

    def write(self, prompts: Sequence[str], text: str) -> str:
        """What the model reads: all before the label, or the whole with a mask in its place."""
        if self.codec.mask is None:
            return self.template.render(prompts, text)
        space = self.template.before_label if self.codec.mask_takes_space else ""
        return self.template.render(prompts, text, space + self.codec.mask)

    def encode(self, prompts: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
        """Ids of the whole row as `write` gives it, for every text: what is scored and served."""
        return self._encode([self.write(prompts, text) for text in texts])

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if self.codec.mask is None:
            return self.codec.encode_many(texts)
        return self.codec.encode_whole(texts)

    def rows(
        self,
        prompts: Sequence[Sequence[str]],
        texts: Sequence[str],
        beginnings: Sequence[str] | None = None,
    ) -> list[Row]:
        """Rows without slots of pairs of prompts and text, read as a whole; `beginnings` stand
        before each, if given."""
        starts = [""] * len(texts) if beginnings is None else beginnings
        given = list(zip(starts, prompts, texts, strict=True))
        encoded = self._encode([start + self.write(row, text) for start, row, text in given])
        if self.codec.mask is None:
            return [Row((tuple(ids),)) for ids in encoded]
        rows = []
        for ids, (start, row, text) in zip(encoded, given, strict=True):
            place = self._mask_place(ids, start + self.template.render(row, text))
            rows.append(Row((tuple(ids[:place] + ids[place + 1 :]),), (0, place)))
        return rows

    def _mask_place(self, ids: list[int], head: str) -> int:
        """Where a row that begins with the text `head` has the label's mask."""
        places = [i for i, token in enumerate(ids) if token == self.codec.mask_id]
        if len(places) == 1:
            return places[0]
        # The text itself holds the mask's name: the label's is the first after the words before.
        before = self.codec.encode(head).count(self.codec.mask_id)
        if before >= len(places):
            raise HardpromptError(
                f"the tokenizer does not read {self.codec.mask} as its mask, "
                f"as after {head[-40:]!r}"
            )
        return places[before]

    def slot_ids(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> list[tuple[tuple[int, ...], ...] | None]:
        """For each text, the tokens as which each slot is read inside the whole row; None where
        a slot melts into its neighbours, so that it has no tokens of its own."""
        cuts = self._cuts()
        written: list[str] = []
        for text in texts:
            written.append(self.write(prompts, text))
            written += [cut._beginning(prompts, text) for cut in cuts]
        encoded = iter(self.codec.encode_many(written))
        return [_between(next(encoded), [next(encoded) for _ in cuts]) for _ in texts]

    def _cuts(self) -> list[Renderer]:
        """The template up to each slot, and through it, slot by slot."""
        whole = self.template
        cuts = [replace(whole, parts=whole.parts[:end], tail=()) for end in _ends(whole.parts)]
        cuts += [replace(whole, tail=whole.tail[:end]) for end in _ends(whole.tail)]
        return [replace(self, template=cut) for cut in cuts]

    def _beginning(self, prompts: Sequence[str], text: str) -> str:
        """A row as far as this part of a template goes: with the label's mask where it has one."""
        given = prompts[: self.template.n_slots]
        return self.write(given, text) if self.template.tail else self.template.render(given, text)

    def label_ids(self, words: Sequence[str], text: str, prompts: Sequence[str]) -> Labels:
        """Tokens of each label word in its place in a row, encoded together with it."""
        labels = []
        for word, ids in zip(words, self.word_ids(words, text, prompts), strict=True):
            if ids is None:
                raise HardpromptError(
                    f"the label word '{word}' melts into the text around it with this tokenizer; "
                    "put a space before {label} in the template"
                )
            labels.append(ids)
            if self.codec.unknown_id in labels[-1]:
                raise HardpromptError(
                    f"the label word '{word}' has letters that the tokenizer does not know"
                )
        if len(set(labels)) < len(labels):
            raise UsageError(f"label words must differ, got {', '.join(words)}")
        return tuple(labels)

    def word_ids(
        self, words: Sequence[str], text: str, prompts: Sequence[str]
    ) -> list[tuple[int, ...] | None]:
        """Tokens of each word in the label's place; None where it melts into what is around it."""
        (row,) = self.rows([prompts], [text])
        before, after = self._around(row)
        space = self.template.before_label
        whole = [self.template.render(prompts, text, space + word) for word in words]
        found: list[tuple[int, ...] | None] = []
        for ids in self._encode(whole):
            end = len(ids) - len(after)
            clean = ids[: len(before)] == before and ids[end:] == after and end > len(before)
            found.append(tuple(ids[len(before) : end]) if clean else None)
        return found

    def target_ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Tokens of texts to be written, each with the end of what a model writes. Raises where
        one melts into the words of the template before it."""
        space, end = self.template.before_label, self.codec.end_id
        last = self.template.parts[-1] if self.template.parts else None
        before = last if isinstance(last, str) else ANCHOR
        found = []
        following = self.codec.following([space + text for text in texts], before)
        for text, ids in zip(texts, following, strict=True):
            if ids is None:
                raise HardpromptError(
                    f"the text to be written {text[:40]!r} melts into {before.strip()!r} before it "
                    "with this tokenizer; put a space or a line end before {label} in the template"
                )
            found.append((*ids, *(() if end is None else (end,))))
        return found

    def _around(self, row: Row) -> tuple[list[int], list[int]]:
        (ids,) = row.segments
        place = len(ids) if row.label is None else row.label[1]
        return list(ids[:place]), list(ids[place:])


def compile_rows(
    renderer: Renderer, texts: Sequence[str], filled: Sequence[bool], probes: tuple[int, int]
) -> list[Row]:
    """Rows around the filled slots, found by writing one of two probe tokens into each.

    Encoding whole texts, not their parts, keeps what the tokenizer does at the seams. The two
    encodings must differ in the slots and nowhere else.
    """
    first, second = (
        renderer.rows([_probe_texts(renderer, filled, probe)] * len(texts), texts)
        for probe in probes
    )
    rows = []
    for text, one, other in zip(texts, first, second, strict=True):
        (a,), (b,) = one.segments, other.segments
        places = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
        clean = len(a) == len(b) and len(places) == sum(filled) and one.label == other.label
        if not clean or any((a[i], b[i]) != probes for i in places):
            raise HardpromptError(
                f"the template {renderer.template.source!r} leaves no clean place for a token "
                f"with this tokenizer, as in the text {text[:40]!r}; put a space before {{prompt}}"
            )
        rows.append(_split(one, places))
    return rows


def _split(row: Row, places: list[int]) -> Row:
    """A row cut at the tokens in its slots, which are left out."""
    (ids,) = row.segments
    ends = [-1, *places, len(ids)]
    segments = tuple(ids[i + 1 : j] for i, j in itertools.pairwise(ends))
    if row.label is None:
        return Row(segments)
    number = sum(place < row.label[1] for place in places)
    return Row(segments, (number, row.label[1] - ends[number] - 1))


def _probe_texts(renderer: Renderer, filled: Sequence[bool], probe: int) -> list[str]:
    ids = np.where(filled, probe, EMPTY)
    return renderer.prompt_texts(ids, [1] * len(filled))


def _ends(parts: Sequence[Part]) -> list[int]:
    """Where each slot begins and ends."""
    slots = [place for place, part in enumerate(parts) if isinstance(part, Slot)]
    return [end for place in slots for end in (place, place + 1)]


def _between(row: list[int], heads: Sequence[list[int]]) -> tuple[tuple[int, ...], ...] | None:
    """The tokens of a row between pairs of its beginnings; None where one is no beginning."""
    if any(row[: len(head)] != head for head in heads):
        return None
    ends = [len(head) for head in heads]
    return tuple(tuple(row[a:b]) for a, b in zip(ends[::2], ends[1::2], strict=True))


def cut_texts(
    renderer: Renderer, texts: Sequence[str], room: int, prompt: int = 0
) -> tuple[list[str], int]:
    """Texts shortened at their end, by words, until each row has at most `room` tokens with a
    prompt of `prompt` tokens. Rows are looked at without one, so that a text is cut alike beside
    all prompts.

    Returns the texts and how many were cut. Raises where prompt and template alone are too long.
    """
    long = set(too_long(renderer, texts, room, prompt))
    result = [
        _cut(renderer, text, room - prompt) if number in long else text
        for number, text in enumerate(texts)
    ]
    return result, len(long)


def too_long(renderer: Renderer, texts: Sequence[str], room: int, prompt: int = 0) -> list[int]:
    """Numbers of the texts whose rows have more than `room` tokens with a prompt of so many."""
    lengths = [len(ids) for ids in renderer.encode(renderer.template.no_prompt, texts)]
    found = [number for number, length in enumerate(lengths) if length > room - prompt]
    alone = tokens_beside(renderer, renderer.template.no_prompt) + prompt if found else 0
    if alone >= room:
        raise UsageError(
            f"prompt and template take {alone} tokens of the {room} that the model has for them "
            "and a text: no room for a text; take a smaller --len, or a shorter template"
        )
    return found


def tokens_beside(renderer: Renderer, prompts: Sequence[str]) -> int:
    """Tokens of a row without a text."""
    return len(renderer.encode(prompts, [""])[0])


def tokens_of(renderer: Renderer, prompts: Sequence[str]) -> int:
    """Tokens that a prompt adds to a row."""
    return tokens_beside(renderer, prompts) - tokens_beside(renderer, renderer.template.no_prompt)


def room_for(context: int, reserved: int) -> int:
    """Tokens that a row may have before the `reserved` ones of its label word, or of what is
    written; raises `UsageError` where nothing is left."""
    # Manual prompts may be longer than the slot; they get a little room of their own.
    room = context - reserved - SPARE
    if room < 1:
        raise UsageError(
            f"{reserved} tokens to be written leave no room for a text in the model's {context}"
        )
    return room


def _cut(renderer: Renderer, text: str, room: int) -> str:
    low, high = 0, len(text)  # characters kept; the longest beginning that fits
    while low < high:
        middle = (low + high + 1) // 2
        row = renderer.encode(renderer.template.no_prompt, [text[:middle].rstrip()])[0]
        if len(row) <= room:
            low = middle
        else:
            high = middle - 1
    whole = text[:low]
    # Not in the middle of a word, unless the text is one long word.
    return whole.rsplit(None, 1)[0] if low < len(text) and " " in whole else whole.rstrip()
