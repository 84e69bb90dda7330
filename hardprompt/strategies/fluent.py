"""What the model itself would write in the slot: tokens for a place, and whole prompts."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

# The proposals are wanted, not the losses that come with them: a few examples are the least
# that can be asked, and the price goes by the share of them.
EXAMPLES = 4


def likely_tokens(
    space: SearchSpace, rows: IntArray, place: int, m: int
) -> Generator[Batch, Feedback, tuple[IntArray, FloatArray]]:
    """`(n, m)` allowed tokens that the model finds likeliest at `place`, after what stands to
    the left of it in each row, and their log-probabilities; likeliest first."""
    so_far = rows.copy()
    so_far[:, place:] = EMPTY
    examples = np.arange(min(EXAMPLES, space.n_examples))
    told = yield Batch(ids=so_far, wants_proposals=m, examples=examples)
    if told.proposals is None:
        raise RuntimeError("proposals were asked for, but not told")
    return told.proposals.ids, told.proposals.log_probs


def write_prompts(
    space: SearchSpace, rng: np.random.Generator, n: int, m: int
) -> Generator[Batch, Feedback, IntArray]:
    """`(n, length)` prompts written by the model, each token drawn from its `m` likeliest.

    Drawn in proportion to their probability, as BEAST draws its candidates (Sadasivan et al.,
    2024, algorithm 1).
    """
    rows = np.full((n, space.length), EMPTY, dtype=np.int64)
    for place in range(space.length):
        ids, log_probs = yield from likely_tokens(space, rows, place, m)
        noise = rng.gumbel(size=log_probs.shape)  # the largest sum is a draw from the softmax
        drawn = np.nan_to_num(log_probs, nan=0.0) + noise
        rows[:, place] = np.take_along_axis(ids, drawn.argmax(axis=1)[:, None], axis=1)[:, 0]
    return rows
