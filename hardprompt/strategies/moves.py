"""Which swaps a step measures: draws out of shortlists, and the best single swaps joined."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.strategies.fluent import likely_tokens, says
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

TRIES = 20  # draws of a swap that was not measured yet, before one is looked for in order

ALL, ONE = ("any", "even"), ("one", "turn")  # places of a step: all that are filled, or one

Lists = Mapping[int, IntArray]  # place -> tokens that may come there, best first


@dataclass
class Places:
    """The places that a step may change. Where it is one, every place comes once a round: in
    `turn`, or in an order that is drawn."""

    rng: np.random.Generator
    kind: str
    _round: list[int] = field(default_factory=list, init=False)  # still to come

    def of(self, parent: IntArray) -> list[int]:
        filled: list[int] = np.flatnonzero(parent != EMPTY).tolist()
        if self.kind in ALL or not filled:
            return filled
        while True:
            if not self._round:
                turn = self.kind == "turn"
                self._round = [*filled] if turn else self.rng.permutation(filled).tolist()
            place = self._round.pop(0)
            if place in filled:
                return [place]


@dataclass
class Moves:
    """Draws swaps of one prompt, none of them twice while there are others."""

    rng: np.random.Generator
    tokens: IntArray
    width: int
    replace: int
    explore: float
    fluent: float
    even: bool  # as many rows for every place, instead of places drawn

    def draw(self, parent: IntArray, lists: Lists, readable: Lists, seen: set[bytes]) -> IntArray:
        """`(n, length)`, n <= width; they join `seen`."""
        rows = []
        untried = self._singles(parent, lists)
        for number in range(self.width):
            for _ in range(TRIES):
                row = self._swap(parent, lists, readable, number)
                if row.tobytes() not in seen:
                    break
            else:
                found = next((row for row in untried if row.tobytes() not in seen), None)
                if found is None:
                    break
                row = found
            seen.add(row.tobytes())
            rows.append(row)
        return np.unique(np.array(rows, dtype=np.int64).reshape(-1, len(parent)), axis=0)

    def _swap(self, parent: IntArray, lists: Lists, readable: Lists, number: int) -> IntArray:
        row = parent.copy()
        for place in self._places(np.array(list(lists)), number):
            draw = self.rng.random()
            if draw < self.explore:
                row[place] = self.rng.choice(self.tokens)
            elif draw < self.explore + self.fluent:
                row[place] = self.rng.choice(readable[place])
            else:
                row[place] = self.rng.choice(lists[place])
        return row

    def _places(self, places: IntArray, number: int) -> IntArray:
        most = min(self.replace, len(places))
        # Half of the rows change one place, the rest up to `replace`.
        count = 1 if number % 2 == 0 else int(self.rng.integers(1, most + 1))
        if not self.even:
            drawn: IntArray = self.rng.choice(places, size=count, replace=False)
            return drawn
        first = number * len(places) // self.width
        others = self.rng.choice(np.delete(places, first), size=count - 1, replace=False)
        return np.append(places[first], others)

    def _singles(self, parent: IntArray, lists: Lists) -> Iterator[IntArray]:
        """All swaps of one token out of the lists, the first of every list first."""
        for rank in range(max(map(len, lists.values()))):
            for place, tokens in lists.items():
                if rank < len(tokens):
                    row = parent.copy()
                    row[place] = tokens[rank]
                    yield row


def readable_lists(
    space: SearchSpace,
    parent: IntArray,
    places: Sequence[int],
    slope: FloatArray,
    likely: int,
    few: int,
) -> Generator[Batch, Feedback, Lists]:
    """Of the `likely` tokens that the model itself would write in a place, the `few` best by
    slope, of all where it says nothing; `slope` is `(places, v)`."""
    lists = {}
    for place, values in zip(places, slope, strict=True):
        ids, log_probs = yield from likely_tokens(space, parent[None], place, likely)
        found = ids[0] if says(log_probs)[0] else space.tokens
        order = np.argsort(values[np.searchsorted(space.tokens, found)], kind="stable")
        lists[place] = found[order[:few]]
    return lists


def join(parent: IntArray, rows: IntArray, loss: FloatArray, before: float) -> list[IntArray]:
    """The swaps of one token that are better than before, applied one after the other, best
    first: what the first two make together, the first three, and so on.

    I-GCG (Jia et al., 2024, section 3.3), without swaps that do harm alone, and without a second
    token for a place.
    """
    single = (rows != parent).sum(axis=1) == 1
    better = np.flatnonzero(single & (loss < before))
    row, joined = parent.copy(), []
    for number in better[np.argsort(loss[better], kind="stable")]:
        place = int(np.flatnonzero(rows[number] != parent)[0])
        if row[place] != parent[place]:
            continue
        row = row.copy()
        row[place] = rows[number, place]
        joined.append(row)
    return joined[1:]
