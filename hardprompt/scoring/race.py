"""Exact early dropping: a row whose partial loss is above the bar is not finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hardprompt.types import BoolArray, FloatArray, IntArray

# measure(rows, block) scores these rows on that block of examples;
# bound(rows) is their loss over the blocks seen so far, a lower bound of the whole.
Measure = Callable[[IntArray, int], None]
Bound = Callable[[IntArray], FloatArray]


def race(
    n: int,
    blocks: Sequence[int],
    measure: Measure,
    bound: Bound,
    *,
    bar: FloatArray | None,
    keep: int | None,
) -> tuple[BoolArray, int]:
    """Measures n rows block by block; returns which were finished and how many pairs were saved.

    `blocks` are the numbers of examples in each block. A dropped row's bound is above its bar,
    and above the `keep`-th best finished loss where `keep` is given: the best rows are the
    same as without dropping.
    """
    limit = np.full(n, np.inf) if bar is None else bar.astype(np.float64).copy()
    rows = np.arange(n)
    finished = np.zeros(n, dtype=bool)
    measure(rows, 0)
    if keep is not None and n > keep:
        # The most promising rows first: their losses are the bar of all others.
        first = rows[np.argsort(bound(rows), kind="stable")[:keep]]
        for block in range(1, len(blocks)):
            measure(first, block)
        finished[first] = True
        limit = np.minimum(limit, np.nanmax(bound(first)))
    alive, saved = rows[~finished], 0
    for block in range(1, len(blocks)):
        # Not `<=`: a NaN bound must stay alive, to be reported as NaN.
        stays = ~(bound(alive) > limit[alive])
        saved += int((~stays).sum()) * sum(blocks[block:])
        alive = alive[stays]
        measure(alive, block)
    finished[alive] = True
    return finished, saved
