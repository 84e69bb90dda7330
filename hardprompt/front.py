"""Prompts of which none is better in everything: the front of several objectives."""

from __future__ import annotations

import numpy as np

from hardprompt.types import BoolArray, FloatArray, IntArray


def nondominated(values: FloatArray) -> BoolArray:
    """`(n,)` which of `(n, m)` rows, lower is better, no other row dominates: is nowhere worse
    and somewhere better. Equal rows stay together; rows with NaN or infinity are left out."""
    front: BoolArray = np.isfinite(values.sum(axis=1))
    for number in np.flatnonzero(front):
        rivals = values[front]
        above = (rivals <= values[number]).all(axis=1) & (rivals < values[number]).any(axis=1)
        front[number] = not above.any()
    return front


def by_fronts(values: FloatArray, n: int) -> IntArray:
    """Numbers of at least n rows, or all: the front, then that of what is left, and so on, whole
    fronts one after the other (Deb et al., 2002, section III.A)."""
    left = np.flatnonzero(np.isfinite(values).all(axis=1))
    chosen: list[int] = []
    while len(chosen) < n and len(left):
        front = nondominated(values[left])
        chosen += left[front].tolist()
        left = left[~front]
    return np.array(chosen, dtype=np.int64)
