"""GBDA: a distribution over tokens at each place, trained through mixtures of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hardprompt.space import largest
from hardprompt.strategies.projections import make_optimizer
from hardprompt.types import EMPTY, Batch, FloatArray, IntArray

if TYPE_CHECKING:
    from hardprompt.strategies.relax import Relax


def mixture(logits: Tensor, temperature: float) -> Tensor:
    """`(..., v)` weights of tokens; at temperature 0 the likeliest alone."""
    above = logits - logits.max(dim=-1, keepdim=True).values.detach()
    return torch.softmax(above / max(temperature, 1e-12), dim=-1)


class Gumbel:
    """Guo et al., 2021: logits of all allowed tokens; each step asks mixtures of embeddings
    weighted by a Gumbel-softmax, and hard samples at the end are prompts."""

    def __init__(self, how: Relax, start: IntArray) -> None:
        self.how, self.space, self.start = how, how.space, start
        self.places = np.flatnonzero(start != EMPTY)
        self.table = torch.from_numpy(self.space.embeddings[self.space.tokens].astype(np.float32))
        # A seed may hold a token that may not be searched: the nearest stands for it.
        words = self.space.nearest(self.space.embeddings[start[self.places]])[:, 0]
        self.logits = torch.zeros(len(self.places), len(self.table))
        self.logits[np.arange(len(words)), np.searchsorted(self.space.tokens, words)] = how.logit
        self.logits.requires_grad_()
        self.optimizer = make_optimizer(how, [self.logits])
        self.temperature = how.temperature

    def question(self, share: float) -> Batch:
        first, last = self.how.temperature, self.how.coldest
        self.temperature = first + (last - first) * share
        logits = self.logits + torch.from_numpy(self._noise(self.how.mixtures))
        self.soft = mixture(logits, self.temperature) @ self.table
        return Batch(embeds=self.soft.detach().numpy(), wants_gradient=True)

    def learn(self, gradient: FloatArray, share: float) -> None:
        slope = np.ascontiguousarray(gradient / len(gradient), dtype=np.float32)
        self.optimizer.zero_grad()
        torch.autograd.backward([self.soft], [torch.from_numpy(slope)])
        self.optimizer.step()

    def points(self) -> FloatArray:
        """`(places, dim)` the mixtures as they would be without noise."""
        found: FloatArray = (mixture(self.logits.detach(), self.temperature) @ self.table).numpy()
        return found

    def near(self, k: int) -> IntArray:
        """`(places, k)` the likeliest tokens."""
        return self._likeliest(self.logits.detach().numpy(), k)

    def row(self, tokens: IntArray | None = None) -> IntArray:
        row = self.start.copy()
        row[self.places] = self.near(1)[:, 0] if tokens is None else tokens
        return row

    def ends(self) -> IntArray:
        """`(n, length)` the likeliest prompt and hard samples."""
        drawn = self.logits.detach().numpy() + self._noise(self.how.samples)
        rows = [self.row(tokens[:, 0]) for tokens in self._likeliest(drawn, 1)]
        return np.array([self.row(), *rows])

    def _noise(self, n: int) -> FloatArray:
        shape = n, *self.logits.shape
        return self.how.rng.gumbel(size=shape).astype(np.float32)

    def _likeliest(self, logits: FloatArray, k: int) -> IntArray:
        return self.space.tokens[largest(logits, k)]
