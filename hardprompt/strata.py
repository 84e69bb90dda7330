"""Orders of examples that are even in their groups."""

from __future__ import annotations

import numpy as np

from hardprompt.types import IntArray


def even_order(strata: IntArray, rng: np.random.Generator) -> IntArray:
    """`(n,)` group of each example -> `(n,)` all examples in a random order, every beginning of
    which has its share of each group.

    Proportionate stratified sampling (Cochran, 1977, chapter 5). What moves a model towards one
    label gains on its examples what it loses on the others': a beginning that is even in the
    classes sees the mean much nearer than one that is not.
    """
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    order: IntArray = np.lexsort((rng.random(len(strata)), place))
    return order
