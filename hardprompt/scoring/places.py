"""Which tokens can stand in a template: written there, they must be read as themselves."""

from __future__ import annotations

import numpy as np

from hardprompt.errors import HardpromptError
from hardprompt.scoring.compile import Renderer, compile_rows
from hardprompt.scoring.scorer import Scorer
from hardprompt.types import EMPTY, BoolArray, IntArray

PAIRS = 32  # tried before a template is said to leave no clean place


def find_probes(renderer: Renderer, tokens: IntArray, n_slots: int, text: str) -> tuple[int, int]:
    """Two tokens that are read as themselves in every slot; whole words where there are any.

    Raises `HardpromptError` where the template leaves no clean place for a token.
    """
    words = [int(t) for t in tokens if _is_word(renderer.codec.piece([int(t)]))]
    likely = words if len(words) > 1 else tokens.tolist()
    pairs = list(zip(likely, reversed(likely), strict=True))[:PAIRS]
    for number, probes in enumerate(pairs):
        try:
            compile_rows(renderer, [text], (True,) * n_slots, probes)
        except HardpromptError:
            if number + 1 == len(pairs):
                raise
        else:
            return probes
    raise AssertionError("a vocabulary holds at least one token")


def fitting(scorer: Scorer, tokens: IntArray, probe: int) -> BoolArray:
    """`(v,)` whether each token is read as itself in some slot: alone in it, or after a word."""
    fits = np.zeros(len(tokens), dtype=bool)
    starts = np.cumsum(scorer.slots) - np.array(scorer.slots)
    for start, width in zip(starts, scorer.slots, strict=True):
        for place in range(min(width, 2)):
            rest = np.flatnonzero(~fits)
            rows = np.full((len(rest), sum(scorer.slots)), EMPTY, dtype=np.int64)
            rows[:, starts] = probe
            rows[:, start + place] = tokens[rest]
            fits[rest] = scorer.survives(rows)
    return fits


def _is_word(piece: str) -> bool:
    return piece.startswith(" ") and piece[1:].isalpha()
