"""Texts that come first: their keys and values, and a path of prompt tokens behind them."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hardprompt.models.cascade import Context
from hardprompt.models.reader import Reader
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.plan import Group


class Texts:
    """The beginnings of a group, read once, with room behind each for a path of tokens that is
    written over again and again."""

    def __init__(self, context: Context, width: int) -> None:
        self._context, self._width = context, width  # of the texts alone, padding included

    @classmethod
    @torch.no_grad()
    def read(
        cls, reader: Reader, batcher: Batcher, group: Group, room: int, device: torch.device
    ) -> Texts:
        texts = torch.from_numpy(group.segments[0]).to(device)
        width = texts.shape[1]

        def run(low: int, high: int) -> list[Tensor]:
            """Keys and values of all layers in turn."""
            layers = reader.keys_and_values(texts[low:high])
            return [pad(part, (0, 0, 0, room)) for part in itertools.chain(*layers)]

        pieces = [found for *_, found in batcher.split(len(texts), width, run)]
        parts = [torch.cat(same) for same in zip(*pieces, strict=True)]
        lengths = np.full(len(group), width) if group.first is None else group.first
        true = torch.from_numpy(lengths).to(device)
        keys, values = tuple(parts[::2]), tuple(parts[1::2])
        return cls(Context(keys, values, true, _bias(true, width, room, keys[0].dtype)), width)

    @property
    def room(self) -> int:
        return self._context.width - self._width

    @property
    def n_bytes(self) -> int:
        return self._context.n_bytes

    def of(self, members: Tensor) -> Texts:
        """These texts alone, copied."""
        return Texts(self._context.take(members), self._width)

    def up_to(self, depth: int) -> Context:
        """The texts with the first `depth` tokens of the path, as views."""
        width = self._width + depth
        whole = self._context
        return Context(
            tuple(keys[:, :, :width] for keys in whole.keys),
            tuple(values[:, :, :width] for values in whole.values),
            whole.lengths + depth,
            None if whole.bias is None else whole.bias[:, :width],
        )

    def extend(self, reader: Reader, batcher: Batcher, depth: int, tokens: Tensor) -> None:
        """Reads `tokens` behind the first `depth` of the path, and puts them there."""
        before = self.up_to(depth)
        start, stop = before.width, before.width + len(tokens)

        def run(low: int, high: int) -> list[tuple[Tensor, Tensor]]:
            rows = tokens.expand(high - low, -1)
            return reader.keys_and_values(rows, before.cut(low, high))

        for low, high, layers in batcher.split(len(before), len(tokens), run):
            for number, (keys, values) in enumerate(layers):
                self._context.keys[number][low:high, :, start:stop] = keys
                self._context.values[number][low:high, :, start:stop] = values


def _bias(lengths: Tensor, width: int, room: int, dtype: torch.dtype) -> Tensor | None:
    """`(g, width + room)`: -inf at the padding between a text and the path."""
    places = torch.arange(width + room, device=lengths.device)
    padding = (places >= lengths[:, None]) & (places < width)
    if not padding.any():
        return None
    return torch.zeros(padding.shape, dtype=dtype, device=lengths.device).masked_fill_(
        padding, float("-inf")
    )
