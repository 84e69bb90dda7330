"""What the model itself would write in the slot: tokens for a place, and whole prompts."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.types import EMPTY, Batch, BoolArray, Feedback, FloatArray, IntArray

# The proposals are wanted, not the losses that come with them: a few examples are the least
# that can be asked, and the price goes by the share of them.
EXAMPLES = 4
HOLE = -2  # a token still to be written; never in a batch, never a vocabulary id


def likely_tokens(
    space: SearchSpace, rows: IntArray, place: int | IntArray, m: int
) -> Generator[Batch, Feedback, tuple[IntArray, FloatArray]]:
    """`(n, m)` allowed tokens that the model finds likeliest at `place`, one for all rows or one
    each, after what stands to the left of it, and their log-probabilities; likeliest first.

    The model goes on where the prompt so far ends: with several slots, in the first that is not
    full. A place to the right of that gets the same tokens.
    """
    so_far = np.where(np.arange(space.length) < np.reshape(place, (-1, 1)), rows, EMPTY)
    examples = np.arange(min(EXAMPLES, space.n_examples))
    told = yield Batch(ids=so_far, wants_proposals=m, examples=examples)
    if told.proposals is None:
        raise RuntimeError("proposals were asked for, but not told")
    return told.proposals.ids, told.proposals.log_probs


def drawn_tokens(
    space: SearchSpace,
    rng: np.random.Generator,
    rows: IntArray,
    place: int | IntArray,
    n: int,
    m: int,
) -> Generator[Batch, Feedback, IntArray]:
    """`(rows, n)` different tokens for `place`, drawn among the model's `m` likeliest in
    proportion to their probability, as BEAST draws its candidates (Sadasivan et al., 2024,
    algorithm 1); fewer than n where there are no more."""
    ids, log_probs = yield from likely_tokens(space, rows, place, m)
    return _drawn(space, rng, ids, log_probs, n)


def says(log_probs: FloatArray) -> BoolArray:
    """`(n,)` of `(n, m)`: whether the model says anything of a place; before the first token of a
    model without a beginning nothing stands, and its proposals are any tokens."""
    return np.asarray(np.isfinite(log_probs).all(axis=1))


def _drawn(
    space: SearchSpace, rng: np.random.Generator, ids: IntArray, log_probs: FloatArray, n: int
) -> IntArray:
    """`(rows, n)` of `(rows, m)` ids: the n largest sums of log-probability and Gumbel noise are a
    sample without replacement from the softmax (Kool et al., 2019, section 2.3). Where the model
    says nothing, all tokens alike."""
    noisy = log_probs + rng.gumbel(size=log_probs.shape)
    first = np.argsort(-noisy, axis=1, kind="stable")[:, :n]
    drawn = np.take_along_axis(ids, first, axis=1)
    for row in np.flatnonzero(~says(log_probs)):
        drawn[row] = rng.choice(space.tokens, size=drawn.shape[1], replace=False)
    return drawn


def write_prompts(
    space: SearchSpace, rng: np.random.Generator, n: int, m: int
) -> Generator[Batch, Feedback, IntArray]:
    """`(n, length)` prompts written by the model, each token drawn from its `m` likeliest."""
    rows = np.full((n, space.length), HOLE, dtype=np.int64)
    return (yield from Writer(space, m).fill(rng, rows))


def first_prompts(
    space: SearchSpace, rng: np.random.Generator, n: int, share: float, m: int
) -> Generator[Batch, Feedback, IntArray]:
    """`(n, length)` prompts to begin with: the seeds, then random ones and a share written by
    the model; more than n where a user wrote more seeds."""
    n = max(n, space.own_seeds)
    n_written = round(share * max(0, n - space.n_seeds))
    return (yield from last_written(space, rng, space.starts(rng, n), n_written, m))


def last_written(
    space: SearchSpace, rng: np.random.Generator, rows: IntArray, n: int, m: int
) -> Generator[Batch, Feedback, IntArray]:
    """The same prompts, but the last n written by the model instead."""
    if not n:
        return rows
    written = yield from write_prompts(space, rng, n, m)
    return np.concatenate([rows[:-n], written])


class Writer:
    """The model as it goes on from a prompt's beginning; no beginning is asked about twice."""

    def __init__(self, space: SearchSpace, m: int) -> None:
        self.space, self.m = space, m  # likeliest tokens to choose from
        self._known: dict[bytes, tuple[IntArray, FloatArray]] = {}

    def likely(
        self, rows: IntArray, places: IntArray
    ) -> Generator[Batch, Feedback, tuple[IntArray, FloatArray]]:
        """`(n, m)` what the model finds likeliest at a place of each row, as `likely_tokens`."""
        so_far = np.where(np.arange(self.space.length) < places[:, None], rows, EMPTY)
        keys = [row.tobytes() for row in so_far]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            asked = so_far[list(new.values())]
            ids, log_probs = yield from likely_tokens(self.space, asked, self.space.length, self.m)
            self._known.update(zip(new, zip(ids, log_probs, strict=True), strict=True))
        found = [self._known[key] for key in keys]
        return np.array([ids for ids, _ in found]), np.array([values for _, values in found])

    def fill(
        self, rng: np.random.Generator, rows: IntArray
    ) -> Generator[Batch, Feedback, IntArray]:
        """`(n, length)` the same prompts with a token drawn for each HOLE, from left to right. What
        stands to the right is not seen."""
        rows = rows.copy()
        while (holes := rows == HOLE).any():
            torn = np.flatnonzero(holes.any(axis=1))
            places = holes[torn].argmax(axis=1)
            ids, log_probs = yield from self.likely(rows[torn], places)
            rows[torn, places] = _drawn(self.space, rng, ids, log_probs, 1)[:, 0]
        return rows
