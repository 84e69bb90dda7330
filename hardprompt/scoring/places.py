"""Which tokens can stand in a template: written there, they must be read as themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.base import Labels
from hardprompt.scoring.compile import Renderer, compile_rows
from hardprompt.scoring.scorer import Scorer
from hardprompt.types import EMPTY, BoolArray, IntArray

PAIRS = 32  # of words, all of which must find a clean place in a template


def find_probes(renderer: Renderer, tokens: IntArray, n_slots: int, text: str) -> tuple[int, int]:
    """Two tokens that are read as themselves in every slot; whole words where there are any.

    Raises `HardpromptError` where the template leaves no clean place for a token, `UsageError`
    where there is one token only. Words must all find a place: some may chance to stay whole
    where others melt into what stands beside them.
    """
    words = _words(renderer, tokens)
    likely = words or tokens.tolist()
    pairs = [pair for pair in zip(likely, reversed(likely), strict=True) if len(set(pair)) > 1]
    if not pairs:
        raise UsageError("one token is no search; allow more with --vocab or --vocab-top")
    clean: list[tuple[int, int]] = []
    for probes in pairs[:PAIRS]:
        try:
            compile_rows(renderer, [text], (True,) * n_slots, probes)
            clean.append(probes)
        except HardpromptError as error:
            failure = error
            if words:
                raise
    if not clean:
        raise failure
    return clean[0]


def steady_label_ids(
    renderer: Renderer,
    label_words: Sequence[str],
    text: str,
    slots: Sequence[int],
    tokens: IntArray,
) -> Labels:
    """Tokens of each label word, the same after each of a few prompts.

    Raises `HardpromptError` where a prompt would change them, so that the word scored would not
    be the word written.
    """
    found: set[Labels] = set()
    for prompts in _fillers(renderer, slots, tokens):
        found.add(renderer.label_ids(label_words, text, prompts))
    if len(found) > 1:
        raise HardpromptError(
            f"the tokens of the label words {', '.join(label_words)} change with the prompt in "
            f"the template {renderer.template.source!r}; put a space before {{label}}"
        )
    return found.pop()


def steady_tokens(
    renderer: Renderer, words: Sequence[str], text: str, slots: Sequence[int], tokens: IntArray
) -> list[int | None]:
    """The single token of each word in the label's place, the same after each of a few prompts;
    None where there is no such."""
    found = [
        renderer.word_ids(words, text, prompts) for prompts in _fillers(renderer, slots, tokens)
    ]
    steady: list[int | None] = []
    for ids, *others in zip(*found, strict=True):
        single = ids is not None and len(ids) == 1 and all(other == ids for other in others)
        steady.append(ids[0] if ids is not None and single else None)
    return steady


def _fillers(renderer: Renderer, slots: Sequence[int], tokens: IntArray) -> list[list[str]]:
    """A few prompts, each of one word over and over."""
    fillers = (_words(renderer, tokens) or tokens.tolist())[:PAIRS]
    ids = [np.full(sum(slots), filler, dtype=np.int64) for filler in fillers]
    return [renderer.prompt_texts(row, slots) for row in ids]


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


def _words(renderer: Renderer, tokens: IntArray) -> list[int]:
    """Tokens that are whole words; none where there are not two."""
    pieces = ((int(token), renderer.codec.piece([int(token)])) for token in tokens)
    words = [token for token, piece in pieces if piece.startswith(" ") and piece[1:].isalpha()]
    return words if len(words) > 1 else []
