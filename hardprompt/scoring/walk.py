"""An order in which rows that begin alike are scored, so that a beginning is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hardprompt.types import IntArray

# A beginning is computed for itself when at least so many rows share it: for two, the smaller
# batches cost what the tokens save.
SHARERS = 3


@dataclass(frozen=True)
class Extend:
    """Compute `tokens` behind the first `depth` of the path, and put them on it."""

    depth: int
    tokens: IntArray  # (k,)


@dataclass(frozen=True)
class Score:
    """Score these rows from their token `depth` on, behind so much of the path."""

    depth: int
    rows: IntArray


def walk(tails: IntArray) -> Iterator[Extend | Score]:
    """Depth first over the trie of `tails`, `(n, w)` ids; every row is scored once.

    There is one path at a time: what a step puts on it replaces all that was there behind its
    depth. At least the last token of a row is left to be scored.
    """
    yield from _visit(tails, np.arange(len(tails)), 0)


def _visit(tails: IntArray, rows: IntArray, depth: int) -> Iterator[Extend | Score]:
    start, path = depth, []
    stops: list[tuple[int, IntArray, list[IntArray]]] = []  # (depth, rows that end, branches)
    while True:
        heaviest, branches, rest = _split(tails, rows, depth)
        stops.append((depth, rest, branches))
        if heaviest is None:
            break
        path.append(tails[heaviest[0], depth])
        rows, depth = heaviest, depth + 1
    if path:
        yield Extend(start, np.array(path, dtype=np.int64))
    for depth, rest, branches in reversed(stops):
        if len(rest):
            yield Score(depth, rest)
        for branch in branches:
            yield from _visit(tails, branch, depth)


def _split(
    tails: IntArray, rows: IntArray, depth: int
) -> tuple[IntArray | None, list[IntArray], IntArray]:
    """The largest set of rows with one next token, the others that are worth a step of their
    own, and the rows that are not."""
    if depth >= tails.shape[1] - 1:
        return None, [], rows
    column = tails[rows, depth]
    tokens, counts = np.unique(column, return_counts=True)
    shared = tokens[counts >= SHARERS]
    if not len(shared):
        return None, [], rows
    sets = [rows[column == token] for token in shared]
    sets.sort(key=len, reverse=True)
    return sets[0], sets[1:], rows[~np.isin(column, shared)]
