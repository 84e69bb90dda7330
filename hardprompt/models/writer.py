"""Texts written by a causal model: greedy or beam search by transformers' own `generate`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from hardprompt.models.cascade import NAME, usual_attention
from hardprompt.models.codec import Codec
from hardprompt.models.trial import hides_left_padding
from hardprompt.scoring.batching import Batcher
from hardprompt.types import FloatArray, IntArray

LINE_END = "\n"
# So many times as many rows as where each is read whole: a step reads one token of each, and what
# it takes beside that is shared by all.
CROWD = 8


@dataclass(frozen=True)
class Decoding:
    """How texts are written: up to `limit` tokens, the likeliest one after another, or the best
    of `beams` beginnings kept at a time."""

    limit: int
    beams: int = 1


def write(
    model: Any,
    codec: Codec,
    batcher: Batcher,
    rows: Sequence[IntArray | FloatArray],
    decoding: Decoding,
) -> list[str]:
    """What the model goes on with after each row, `(t,)` ids or `(t, dim)` points: one line,
    without the space around it."""
    found: dict[int, str] = {}
    widest = (max(map(len, rows)) + decoding.limit) * decoding.beams

    with torch.no_grad(), _plain(model):
        for alike in _side_by_side(model, rows):

            def run(low: int, high: int, alike: list[int] = alike) -> list[str]:
                tokens = _generate(model, codec, [rows[i] for i in alike[low:high]], decoding)
                return [_first_line(codec, ids) for ids in tokens]

            for low, high, texts in batcher.split(len(alike), -(-widest // CROWD), run):
                found |= zip(alike[low:high], texts, strict=True)
    return [found[i] for i in range(len(rows))]


def _side_by_side(model: Any, rows: Sequence[IntArray | FloatArray]) -> list[list[int]]:
    """Numbers of the rows that may be written together: all, like lengths next to each other, or
    those of one length where padding would be read."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    lengths = [list(same) for _, same in itertools.groupby(order, key=lambda i: len(rows[i]))]
    return [order] if len(lengths) == 1 or hides_left_padding(model) else lengths


def _generate(
    model: Any, codec: Codec, rows: Sequence[IntArray | FloatArray], decoding: Decoding
) -> list[list[int]]:
    ends = _ends(codec)
    given, mask = _left_padded(model, rows)
    config = GenerationConfig(
        max_new_tokens=decoding.limit,
        do_sample=False,
        num_beams=decoding.beams,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
    )
    name = "inputs_embeds" if given.is_floating_point() else "input_ids"
    out = model.generate(**{name: given}, attention_mask=mask, generation_config=config)
    # Of points, only what is new comes back.
    new = out if given.is_floating_point() else out[:, given.shape[1] :]
    return [_before(ids, ends) for ids in new.tolist()]


def _left_padded(model: Any, rows: Sequence[IntArray | FloatArray]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    device = next(model.parameters()).device
    shape = (len(rows), width, *rows[0].shape[1:])
    points = np.issubdtype(rows[0].dtype, np.floating)
    given = torch.zeros(shape, dtype=model.dtype if points else torch.int64, device=device)
    mask = torch.zeros(len(rows), width, dtype=torch.int64, device=device)
    for number, row in enumerate(rows):
        given[number, width - len(row) :] = torch.from_numpy(np.asarray(row)).to(given)
        mask[number, width - len(row) :] = 1
    return given, mask


def _ends(codec: Codec) -> list[int]:
    """Tokens after which nothing is read any more."""
    (line,) = codec.following([LINE_END])
    ends = [] if codec.end_id is None else [codec.end_id]
    return [*ends, *line] if line is not None and len(line) == 1 else ends


def _before(ids: list[int], ends: Sequence[int]) -> list[int]:
    places = [place for place, token in enumerate(ids) if token in ends]
    return ids[: places[0]] if places else ids


def _first_line(codec: Codec, ids: list[int]) -> str:
    return codec.piece(ids).strip().split(LINE_END)[0].strip()


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Attention as usual, since the way that shares beginnings between rows knows no padding to
    the left; and none of the penalties that a model's own `generation_config` may bring."""
    shares, own = model.config._attn_implementation == NAME, model.generation_config
    if shares:
        model.set_attn_implementation(usual_attention(model))
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        if shares:
            model.set_attn_implementation(NAME)
        model.generation_config = own
