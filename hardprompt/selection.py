"""Which of the found prompts are shown, and in which order: dev decides, test never does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from hardprompt.study import Found
from hardprompt.types import IntArray

MOST_ALIKE = 3  # prompts of a list of which one differs from the others in one token


def diverse(ranking: Iterable[Found], n: int) -> list[Found]:
    """The first n of a ranking, without a fourth prompt of such a family."""
    chosen: list[Found] = []
    for found in ranking:
        alike = sum(_differ(found.ids, other.ids) == 1 for other in chosen)
        if alike < MOST_ALIKE:
            chosen.append(found)
        if len(chosen) == n:
            break
    return chosen


def _differ(a: IntArray, b: IntArray) -> int:
    return int((a != b).sum())


def readable_pick(
    dev: Sequence[float], standard_error: float, fluency: Sequence[float | None]
) -> int:
    """The most fluent prompt within one standard error of the best on dev."""
    near = [i for i, value in enumerate(dev) if value >= dev[0] - standard_error]
    return max(near, key=lambda i: (-np.inf if fluency[i] is None else fluency[i], -i))
