"""Texts that come first: their keys and values, and a path of prompt tokens behind them."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from hardprompt.models.cascade import Context
from hardprompt.models.memory import gathered
from hardprompt.models.reader import Reader
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.plan import Group
from hardprompt.types import IntArray


class Texts:
    """The beginnings of a group, read once, with room for a path of tokens behind each, which is
    written over again and again.

    The path is kept to the left of the texts, last token first: so all of it and a text stand
    side by side, whatever the lengths of both.
    """

    def __init__(self, context: Context, room: int) -> None:
        self._context, self.room = context, room

    @classmethod
    @torch.no_grad()
    def read(
        cls, reader: Reader, batcher: Batcher, group: Group, room: int, members: Tensor
    ) -> Texts:
        """The beginnings of these members of the group, with so much room."""
        numbers = members.cpu().numpy()
        whole = group.segments[0][numbers]
        lengths = np.full(len(whole), whole.shape[1])
        if group.first is not None:
            lengths = group.first[numbers]
        width = int(lengths.max())
        texts = torch.from_numpy(whole[:, :width]).to(members.device)

        def run(low: int, high: int) -> list[Tensor]:
            """Keys and values of all layers in turn."""
            layers = reader.keys_and_values(texts[low:high])
            return [pad(part, (0, 0, room, 0)) for part in itertools.chain(*layers)]

        parts = gathered(batcher.split(len(texts), width, run), len(texts))
        bias = _bias(lengths + room, room + width, parts[0])
        return cls(Context(tuple(parts[::2]), tuple(parts[1::2]), lengths + room, bias), room)

    @property
    def n_bytes(self) -> int:
        return self._context.n_bytes

    def of(self, members: IntArray) -> Texts:
        """These texts alone, copied."""
        whole = self._context
        numbers = torch.from_numpy(members).to(whole.keys[0].device)
        bias = None if whole.bias is None else whole.bias[numbers]
        keys, values = (tuple(part[numbers] for part in of) for of in (whole.keys, whole.values))
        return Texts(Context(keys, values, whole.lengths[members], bias), self.room)

    def up_to(self, depth: int) -> Context:
        """The texts with the first `depth` tokens of the path, as views."""
        whole, unused = self._context, self.room - depth
        return Context(
            tuple(keys[:, :, unused:] for keys in whole.keys),
            tuple(values[:, :, unused:] for values in whole.values),
            whole.lengths - unused,
            None if whole.bias is None else whole.bias[:, unused:],
        )

    def extend(self, reader: Reader, batcher: Batcher, depth: int, tokens: Tensor) -> None:
        """Reads `tokens` behind the first `depth` of the path, and puts them there."""
        before = self.up_to(depth)
        stop = self.room - depth
        start = stop - len(tokens)

        def run(low: int, high: int) -> list[tuple[Tensor, Tensor]]:
            rows = tokens.expand(high - low, -1)
            return reader.keys_and_values(rows, before.cut(low, high))

        for low, high, layers in batcher.split(len(before), len(tokens), run):
            for number, (keys, values) in enumerate(layers):
                self._context.keys[number][low:high, :, start:stop] = keys.flip(2)
                self._context.values[number][low:high, :, start:stop] = values.flip(2)


def _bias(lengths: IntArray, width: int, like: Tensor) -> Tensor | None:
    """`(g, width)`: -inf at the padding behind a text."""
    padding = np.arange(width) >= lengths[:, None]
    if not padding.any():
        return None
    bias = torch.zeros(padding.shape, dtype=like.dtype, device=like.device)
    return bias.masked_fill_(torch.from_numpy(padding).to(like.device), float("-inf"))
