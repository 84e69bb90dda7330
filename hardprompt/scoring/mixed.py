"""Rows of several tasks for one batch: they have nothing in common but the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hardprompt.scoring.plan import Row
from hardprompt.types import FloatArray, IntArray

if TYPE_CHECKING:
    from hardprompt.models.base import Labels


@dataclass(frozen=True, eq=False)
class MixedRow:
    """A row with its slots filled, and the label words that are asked for."""

    ids: IntArray  # (w,), 0 where points stand
    labels: Labels
    place: int  # tokens before the label word
    points: tuple[tuple[int, FloatArray], ...] = ()  # where a slot of points begins, (k, dim)
    # (n, layers, 2, kv_heads, head_dim) keys and values before all tokens
    prefix: FloatArray | None = None

    @classmethod
    def of(
        cls,
        row: Row,
        labels: Labels,
        slots: Sequence[FloatArray] = (),
        prefix: FloatArray | None = None,
    ) -> MixedRow:
        """A row with these points in its slots."""
        segment, offset = row.label or (len(row.segments) - 1, len(row.segments[-1]))
        ids: list[int] = []
        points: list[tuple[int, FloatArray]] = []
        place = 0
        for number, part in enumerate(row.segments):
            if number == segment:
                place = len(ids) + offset
            ids += part
            if number < len(slots):
                points.append((len(ids), slots[number]))
                ids += [0] * len(slots[number])
        return cls(np.array(ids, dtype=np.int64), labels, place, tuple(points), prefix)

    @property
    def n_before(self) -> int:
        """Places of the prefix."""
        return 0 if self.prefix is None else len(self.prefix)

    @property
    def width(self) -> int:
        """Tokens that the row takes with its longest label word."""
        return self.n_before + len(self.ids) + max(map(len, self.labels))

    def filled(self, tokens: Sequence[int]) -> MixedRow:
        """The row with these tokens in the label's place."""
        n, place = len(tokens), self.place
        points = tuple((at + n if at >= place else at, slot) for at, slot in self.points)
        return replace(self, ids=np.insert(self.ids, place, tokens), points=points)


def pad_prefixes(rows: Sequence[MixedRow]) -> tuple[FloatArray, IntArray]:
    """Prefixes padded to the left, `(rows, t, layers, 2, kv_heads, head_dim)`, and their true
    lengths, `(rows,)`; some row must have one."""
    lengths = np.array([row.n_before for row in rows], dtype=np.int64)
    shape = next(row.prefix.shape[1:] for row in rows if row.prefix is not None)
    padded = np.zeros((len(rows), int(lengths.max()), *shape), dtype=np.float32)
    for out, row in zip(padded, rows, strict=True):
        if row.prefix is not None:
            out[len(out) - len(row.prefix) :] = row.prefix
    return padded, lengths
