"""Label words as what may follow a row: each token computed once, whatever words share it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from hardprompt.models.base import Labels


@dataclass(frozen=True)
class LabelTrie:
    """The proper beginnings of all label words as nodes of a trie; place 0 is the row's end, and
    place 1 + i is node i."""

    tokens: tuple[int, ...]  # (M,) of each node; none where all words are one token
    depths: tuple[int, ...]  # (M,) tokens from the row's end to the node, itself included
    above: tuple[tuple[int, ...], ...]  # of each node: itself and what it follows
    words: tuple[tuple[tuple[int, int], ...], ...]  # of each class: (place, token that comes next)

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, labels: Labels) -> LabelTrie:
        starts = {label[:i] for label in labels for i in range(1, len(label))}
        nodes = sorted(starts, key=lambda start: (len(start), start))
        number = {start: i for i, start in enumerate(nodes)}
        place = {(): 0} | {start: 1 + i for start, i in number.items()}
        return cls(
            tuple(start[-1] for start in nodes),
            tuple(map(len, nodes)),
            tuple(tuple(number[start[:i]] for i in range(1, len(start) + 1)) for start in nodes),
            tuple(tuple((place[w[:i]], w[i]) for i in range(len(w))) for w in labels),
        )

    def mask(self, width: int, ends: Tensor | None, device: torch.device) -> Tensor:
        """`(1 or rows, w + M, w + M)`: which tokens of a row each reads, the nodes behind it.
        `ends` are the true lengths of the rows, None: all are `width`."""
        m = len(self.tokens)
        own = torch.ones(width + m, width + m, dtype=torch.bool, device=device).tril()
        for i, above in enumerate(self.above):
            own[width + i, width:] = False
            own[width + i, [width + j for j in above]] = True
        if ends is None:
            return own[None]
        padding = torch.arange(width, device=device) >= ends[:, None]
        own = own.expand(len(ends), -1, -1).clone()
        own[:, width:, :width] &= ~padding[:, None]
        return own
