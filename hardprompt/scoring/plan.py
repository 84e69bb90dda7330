"""What a prompt is scored on: every example as constant token ids around the free slots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardprompt.types import IntArray

# Rows of nearly equal length share a batch: a causal model never sees padding to its right, and
# from a masked one an attention mask hides it.
SPREAD = 0.1


@dataclass(frozen=True)
class Row:
    """One example: `segments[0]`, slot 0, `segments[1]`, slot 1, ..., the last segment."""

    segments: tuple[tuple[int, ...], ...]
    # Models that read in both directions: the segment that holds the label, and how many of its
    # tokens stand before it. None: the label follows the row.
    label: tuple[int, int] | None = None

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


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: a model keeps caches by group
class Group:
    """Examples whose segments have equal lengths, but for the last one, which is padded."""

    examples: IntArray  # (g,) their numbers
    segments: tuple[IntArray, ...]  # (g, t) each
    last: IntArray  # (g,) true lengths of the last segment
    label: tuple[int, IntArray] | None = None  # as of `Row`: the segment, (g,) tokens before it

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def spread(self) -> int:
        """By how many tokens the longest row exceeds the shortest."""
        return int(self.last.max() - self.last.min())


def group_rows(rows: Sequence[Row], examples: Sequence[int]) -> list[Group]:
    """Groups of rows that can be one batch, shortest first; the order never depends on scores."""
    order = sorted(examples, key=lambda i: (shape(rows[i]), i))
    groups: list[list[int]] = []
    for i in order:
        if groups and _fits(rows[groups[-1][0]], rows[i]):
            groups[-1].append(i)
        else:
            groups.append([i])
    return [pack_rows(rows, members) for members in groups]


def shape(row: Row) -> tuple[int, ...]:
    """Tokens of each segment."""
    return tuple(map(len, row.segments))


def _fits(first: Row, row: Row) -> bool:
    *heads, last = shape(first)
    *other, length = shape(row)
    return heads == other and length - last <= SPREAD * first.length


def pack_rows(rows: Sequence[Row], members: list[int]) -> Group:
    """These rows as one group; their segments must have equal lengths, but for the last."""
    *heads, last = zip(*(rows[i].segments for i in members), strict=True)
    lengths = np.array([len(part) for part in last], dtype=np.int64)
    padded = np.zeros((len(members), int(lengths.max())), dtype=np.int64)
    for row, part in zip(padded, last, strict=True):
        row[: len(part)] = part
    constant = [np.array(part, dtype=np.int64).reshape(len(members), -1) for part in heads]
    return Group(
        np.array(members, dtype=np.int64), (*constant, padded), lengths, _places(rows, members)
    )


def _places(rows: Sequence[Row], members: list[int]) -> tuple[int, IntArray] | None:
    places = [label for i in members if (label := rows[i].label) is not None]
    if not places:
        return None
    # One template, hence one segment; where in it depends on the text.
    return places[0][0], np.array([offset for _, offset in places], dtype=np.int64)
