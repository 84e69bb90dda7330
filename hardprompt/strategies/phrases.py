"""Prompts as phrases, and the four edits of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.strategies.fluent import HOLE, Writer
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

Phrase = tuple[int, ...]
Place = tuple[int, int]  # slot, and number of the phrase in it


def cut(words: Phrase, bonds: FloatArray, longest: int) -> tuple[Phrase, ...]:
    """Phrases of at most `longest` words, parted at the weakest bonds first.

    `bonds[i]` says how well word i follows from the words before it; at -inf there is always a
    border, and `bonds[0]` is not looked at.
    """
    if len(words) < 2:
        return (words,) if words else ()
    weakest = 1 + int(np.argmin(bonds[1:]))
    if len(words) <= longest and np.isfinite(bonds[weakest]):
        return (words,)
    left = cut(words[:weakest], bonds[:weakest], longest)
    return left + cut(words[weakest:], bonds[weakest:], longest)


@dataclass(frozen=True)
class Draft:
    """The phrases of each slot, and what was taken out on the way here."""

    slots: tuple[tuple[Phrase, ...], ...]
    removed: tuple[Phrase, ...] = ()

    def __len__(self) -> int:
        """Words in all."""
        return sum(self.words(slot) for slot in range(len(self.slots)))

    def words(self, slot: int) -> int:
        return sum(map(len, self.slots[slot]))

    @property
    def places(self) -> list[Place]:
        return [(s, i) for s, phrases in enumerate(self.slots) for i in range(len(phrases))]

    def at(self, place: Place) -> Phrase:
        return self.slots[place[0]][place[1]]

    def delete(self, place: Place) -> Draft:
        """Without that phrase; what the model was to write there is not worth remembering."""
        phrase = self.at(place)
        kept = () if HOLE in phrase else (phrase,)
        return replace(self._splice(place, 1, ()), removed=self.removed + kept)

    def swap(self, a: Place, b: Place) -> Draft:
        """With two phrases in each other's place."""
        return self.substitute(a, self.at(b)).substitute(b, self.at(a))

    def substitute(self, place: Place, phrase: Phrase) -> Draft:
        """With another phrase in that place."""
        return self._splice(place, 1, (phrase,))

    def add(self, place: Place, phrase: Phrase) -> Draft:
        """With a phrase put in before that place; it is no longer among the removed."""
        removed = list(self.removed)
        if phrase in removed:
            removed.remove(phrase)
        return replace(self._splice(place, 0, (phrase,)), removed=tuple(removed))

    def row(self, space: SearchSpace) -> IntArray | None:
        """`(length,)` the token ids, canonical; None: a slot is too full."""
        parts = [[word for phrase in phrases for word in phrase] for phrases in self.slots]
        if any(len(part) > width for part, width in zip(parts, space.slots, strict=True)):
            return None
        return space.join(parts)

    def _splice(self, place: Place, gone: int, new: tuple[Phrase, ...]) -> Draft:
        slot, i = place
        phrases = self.slots[slot]
        changed = phrases[:i] + new + phrases[i + gone :]
        return replace(self, slots=(*self.slots[:slot], changed, *self.slots[slot + 1 :]))


def parse(
    space: SearchSpace, writer: Writer, row: IntArray, longest: int
) -> Generator[Batch, Feedback, Draft]:
    """The phrases of a prompt by how the model reads it.

    A word that is not among the writer's likeliest after the words before it begins a phrase, and
    phrases longer than `longest` part where their words are likest to part.
    """
    places = np.flatnonzero(row != EMPTY)
    ids, log_probs = yield from writer.likely(np.tile(row, (len(places), 1)), places)
    expected = (ids == row[places, None]) & np.isfinite(log_probs)
    bonds = np.full(space.length, -np.inf)
    bonds[places] = np.where(expected, log_probs, -np.inf).max(axis=1)
    slots, at = [], 0
    for width, words in zip(space.slots, space.split(row), strict=True):
        slots.append(cut(words, bonds[at : at + len(words)], longest))
        at += width
    return Draft(tuple(slots))
