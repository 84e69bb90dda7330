"""What a prompt is scored on: every example as constant token ids around the free slots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hardprompt.types import IntArray

# Rows of nearly equal length share a batch: a causal model never sees padding to its right, and
# from a masked one an attention mask hides it.
SPREAD = 0.1
# Where rows are scored for many prompts at once, so many of one length fill a batch by themselves.
ENOUGH = 3
# What a batch costs besides its tokens, as a share of a full one: a small model on a CPU spends as
# long on the steps between its products as on 64 tokens in float32, a GPU on thousands.
BATCH_COST = 1 / 32
# Beginnings that are read together. More of them need more padding and drop less early.
BEGINNINGS = 32


def batch_cost(batch_tokens: int) -> float:
    """What a batch costs besides its tokens, in tokens."""
    return BATCH_COST * batch_tokens


@dataclass(frozen=True)
class Row:
    """One example: `segments[0]`, slot 0, `segments[1]`, slot 1, ..., the last segment."""

    segments: tuple[tuple[int, ...], ...]
    # Models that read in both directions: the segment that holds the label, and how many of its
    # tokens stand before it. None: the label follows the row.
    label: tuple[int, int] | None = None
    # Tokens at the row's end that the model is to write; 0: a label word is to follow.
    target: int = 0

    @property
    def length(self) -> int:
        return sum(map(len, self.segments))

    def joined(self, prompts: Sequence[Sequence[int]], label: Sequence[int] = ()) -> list[int]:
        """The row as one list of ids, its slots and its label filled."""
        parts = [list(segment) for segment in self.segments]
        segment, offset = self.label or (len(parts) - 1, len(parts[-1]))
        parts[segment][offset:offset] = label
        for part, prompt in zip(parts, prompts, strict=False):
            part += prompt
        return list(itertools.chain(*parts))


def ending(row: Row, target: tuple[int, ...]) -> Row:
    """The row with a text to be written at its end."""
    *heads, last = row.segments
    return replace(row, segments=(*heads, last + target), target=len(target))


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: a model keeps caches by group
class Group:
    """Examples whose segments have equal lengths, but for the last, which is padded. Where `first`
    is given, the first is padded and all others are the same for all, unless texts to be written
    end them."""

    examples: IntArray  # (g,) their numbers
    segments: tuple[IntArray, ...]  # (g, t) each
    last: IntArray  # (g,) true lengths of the last segment
    first: IntArray | None = None  # (g,) true lengths of the first segment
    label: tuple[int, IntArray] | None = None  # as of `Row`: the segment, (g,) tokens before it
    targets: IntArray | None = None  # (g,) as of `Row`; None: label words follow

    def __len__(self) -> int:
        return len(self.examples)

    def numbers(self, members: IntArray | None) -> IntArray:
        """`(m,)` the examples that these members are; None: all."""
        return self.examples if members is None else self.examples[members]

    @property
    def spread(self) -> int:
        """By how many tokens the longest row exceeds the shortest."""
        return int(self.last.max() - self.last.min())


Parts = Sequence[tuple[Group, IntArray | None]]  # groups, and which of their members; None: all


def examples_of(parts: Parts) -> IntArray:
    """The numbers of all examples of these parts."""
    return np.concatenate([group.numbers(members) for group, members in parts])


def group_rows(rows: Sequence[Row], examples: Sequence[int], *, exact: bool = False) -> list[Group]:
    """Groups of rows that can be one batch, shortest first; the order never depends on scores.
    `exact`: rows of one length are a group wherever there are enough of them."""
    order = sorted(examples, key=lambda i: (shape(rows[i]), i))
    groups: list[list[int]] = []
    for i in order:
        if groups and _fits(rows, groups[-1], i, exact):
            groups[-1].append(i)
        else:
            groups.append([i])
    return [pack_rows(rows, members) for members in groups]


def group_few(rows: Sequence[Row], examples: Sequence[int], batch_tokens: int) -> list[Group]:
    """Groups as of `group_rows` for so few prompts that no group fills a batch of `batch_tokens`:
    those that take the least work, batches and padding together."""
    cost = round(batch_cost(batch_tokens))
    order = sorted(examples, key=lambda i: (shape(rows[i]), i))
    groups: list[Group] = []
    for _, alike in itertools.groupby(order, key=lambda i: shape(rows[i])[:-1]):
        members = list(alike)
        lengths = np.array([rows[i].length for i in members])
        groups += [pack_rows(rows, members[low:high]) for low, high in cuts(lengths, cost)]
    return groups


def cuts(lengths: IntArray, cost: int) -> list[tuple[int, int]]:
    """The cheapest division of ascending lengths, by dynamic programming: a part costs its last
    length times its size, and `cost`."""
    n = len(lengths)
    best, begins = np.zeros(n + 1), np.zeros(n + 1, dtype=np.int64)
    for high in range(1, n + 1):
        lows = np.arange(high)
        whole = best[:high] + cost + (high - lows) * lengths[high - 1]
        begins[high] = whole.argmin()
        best[high] = whole[begins[high]]
    cuts = []
    while n:
        cuts.append((int(begins[n]), n))
        n = int(begins[n])
    return cuts[::-1]


def group_beginnings(
    rows: Sequence[Row], examples: Sequence[int], room: int, behind: int
) -> list[Group]:
    """Groups for a model that reads each beginning once: where rows begin differently and go on
    alike, or to a text to be written, rows of like lengths; else rows of equal length. What such
    rows begin with, and `behind` tokens for each, are at most `room` tokens, padding counted."""
    if len({rows[i].segments[0] for i in examples}) == 1 or len(rows[examples[0]].segments) == 1:
        return group_rows(rows, examples, exact=True)
    order = sorted(examples, key=lambda i: (*_going_on(rows[i]), len(rows[i].segments[0]), i))
    groups: list[list[int]] = []
    for i in order:
        together = [*groups[-1], i] if groups else []
        longest = max((len(rows[j].segments[0]) for j in together), default=0)
        fits = len(together) <= min(BEGINNINGS, room // (longest + behind))
        if together and fits and _go_on_alike(rows[together[0]], rows[i]):
            groups[-1].append(i)
        else:
            groups.append([i])
    return [_pack_beginnings(rows, members) for members in groups]


def _go_on_alike(first: Row, row: Row) -> bool:
    if first.target:
        *heads, last = shape(first)[1:]
        *other, length = shape(row)[1:]
        return heads == other and length <= (1 + SPREAD) * last
    return first.segments[1:] == row.segments[1:]


def _going_on(row: Row) -> tuple[object, ...]:
    """What rows that may be read together are sorted by, besides their beginnings."""
    return shape(row)[:0:-1] if row.target else row.segments[1:]


def _pack_beginnings(rows: Sequence[Row], members: list[int]) -> Group:
    beginnings, first = _pad([rows[i].segments[0] for i in members])
    ends = [replace(rows[i], segments=rows[i].segments[1:]) for i in members]
    alike = pack_rows(ends, list(range(len(ends))))
    examples = np.array(members, dtype=np.int64)
    return Group(examples, (beginnings, *alike.segments), alike.last, first, targets=alike.targets)


def shape(row: Row) -> tuple[int, ...]:
    """Tokens of each segment."""
    return tuple(map(len, row.segments))


def _fits(rows: Sequence[Row], group: Sequence[int], i: int, exact: bool) -> bool:
    first = rows[group[0]]
    *heads, last = shape(first)
    *other, length = shape(rows[i])
    if exact and len(group) >= ENOUGH and shape(rows[group[-1]]) != shape(rows[i]):
        return False
    return heads == other and length - last <= SPREAD * first.length


def pack_rows(rows: Sequence[Row], members: list[int]) -> Group:
    """These rows as one group; their segments must have equal lengths, but for the last."""
    *heads, last = zip(*(rows[i].segments for i in members), strict=True)
    padded, lengths = _pad(last)
    constant = [np.array(part, dtype=np.int64).reshape(len(members), -1) for part in heads]
    return Group(
        np.array(members, dtype=np.int64),
        (*constant, padded),
        lengths,
        label=_places(rows, members),
        targets=_targets(rows, members),
    )


def _pad(parts: Sequence[tuple[int, ...]]) -> tuple[IntArray, IntArray]:
    """Ids of unequal lengths as one array, filled up to the right, and their lengths."""
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    padded = np.zeros((len(parts), int(lengths.max())), dtype=np.int64)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    return padded, lengths


def _targets(rows: Sequence[Row], members: list[int]) -> IntArray | None:
    found = np.array([rows[i].target for i in members], dtype=np.int64)
    return found if found.any() else None


def _places(rows: Sequence[Row], members: list[int]) -> tuple[int, IntArray] | None:
    places = [label for i in members if (label := rows[i].label) is not None]
    if not places:
        return None
    # One template, hence one segment; where in it depends on the text.
    return places[0][0], np.array([offset for _, offset in places], dtype=np.int64)
