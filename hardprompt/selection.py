"""Which of the found prompts are shown, and in which order: dev decides, test never does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from hardprompt.study import Found
from hardprompt.types import EMPTY, IntArray

WEIGHED = 128  # prompts of a ranking whose fluency is looked at
MOST_ALIKE = 3  # prompts of a list of which one differs from the others in one token


def shortlist(
    ranking: Sequence[Found],
    loss: Callable[[Found], float],
    fluency: Callable[[Found], float],
    bar: float,
    n: int,
    n_fluent: int,
) -> list[Found]:
    """The n prompts of a ranking that dev is to judge: the first, and for the last `n_fluent` of
    them the most fluent whose `loss` on the task is at most `bar`.

    The best by loss alone are rarely the ones that anybody would want to read.
    """
    near = [found for found in ranking[:WEIGHED] if loss(found) <= bar]
    fluent = sorted(near, key=lambda found: (-fluency(found), found.number))
    chosen = diverse(ranking, n - n_fluent)
    keys = {found.number for found in chosen}
    rest = (found for found in [*fluent, *ranking] if found.number not in keys)
    return diverse(_unique([*chosen, *rest]), n)


def _unique(found: Iterable[Found]) -> list[Found]:
    return list({item.number: item for item in found}.values())


def diverse(ranking: Iterable[Found], n: int) -> list[Found]:
    """The first n of a ranking, without a fourth prompt of such a family; prompts of one token
    are of no family, since all of them differ in one."""
    chosen: list[Found] = []
    for found in ranking:
        alike = sum(_differ(found.ids, other.ids) == 1 for other in chosen)
        if alike < MOST_ALIKE or (found.ids != EMPTY).sum() == 1:
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
