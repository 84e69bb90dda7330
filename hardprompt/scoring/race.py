"""Early dropping: a row that is above its bar, or will be, is not measured to the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hardprompt.types import BoolArray, FloatArray, IntArray

# measure(rows, block) scores these rows on that block of examples;
# bound(rows) is their loss over the blocks seen so far, a lower bound of the whole;
# forecast(rows, block) are limits of the whole loss from the blocks before that one: it is hardly
# below the first, and likely below the second.
Measure = Callable[[IntArray, int], None]
Bound = Callable[[IntArray], FloatArray]
Limits = Callable[[IntArray, int], tuple[FloatArray, FloatArray]]


def drop(
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


def race(
    n: int,
    blocks: Sequence[int],
    measure: Measure,
    forecast: Limits,
    *,
    bar: FloatArray | None,
    keep: int | None,
) -> tuple[BoolArray, int]:
    """As `drop`, but a row is given up as soon as its forecast is above its bar, or above that of
    the `keep`-th best. What is decided by a bar does not depend on the other rows."""
    limit = np.full(n, np.inf) if bar is None else bar
    alive, saved = np.arange(n), 0
    for block in range(len(blocks)):
        if block:
            low, high = forecast(alive, block)
            stays = ~(low > np.minimum(limit[alive], smallest(high, keep)))
            saved += int((~stays).sum()) * sum(blocks[block:])
            alive = alive[stays]
        measure(alive, block)
    finished = np.zeros(n, dtype=bool)
    finished[alive] = True
    return finished, saved


def smallest(losses: FloatArray, n: int | None) -> float:
    """The n-th smallest; inf where there are fewer."""
    return float(np.sort(losses)[n - 1]) if n is not None and n <= len(losses) else float("inf")
