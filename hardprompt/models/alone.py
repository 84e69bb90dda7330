"""Prompts that stand alone: how likely a model finds them, and what would make them likelier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardprompt.models.codec import Codec
from hardprompt.scoring.batching import Batcher
from hardprompt.types import EMPTY, FloatArray, IntArray

LOGITS = 4096  # that take about the room of a token that is read


class Alone(ABC):
    """Likelihoods of many prompts, those of equal length together; a family reads one batch."""

    def __init__(self, model: Any, codec: Codec, batcher: Batcher) -> None:
        self.codec = codec
        self._model, self._batcher = model, batcher
        self._device = next(model.parameters()).device

    @property
    def first_told(self) -> int:
        """The first place of a prompt of which the model can tell something."""
        return 0

    @abstractmethod
    def _looks(self, k: int) -> int:
        """In how many passes all places of a prompt of k tokens are told."""

    @abstractmethod
    def _alone(self, prompts: Tensor, look: Tensor) -> tuple[Tensor, Tensor]:
        """`(rows, p, V)`: log p(token) at p places of prompts, `(rows, k)` ids or `(rows, k, dim)`
        points, and these places, `(rows, p)`; `look` numbers each row's pass."""

    @torch.no_grad()
    def prompt_log_probs(self, ids: IntArray) -> FloatArray:
        out = np.full(len(ids), np.nan)
        for numbers, columns in self._told(ids):
            rows = self._tensor(ids[numbers, columns])
            looks, total = self._looks(rows.shape[1]), np.zeros(len(rows))

            def run(low: int, high: int, rows: Tensor = rows, looks: int = looks) -> Tensor:
                pairs = torch.arange(low, high, device=self._device)
                log_probs, places = self._alone(rows[pairs // looks], pairs % looks)
                return _picked(log_probs, rows[pairs // looks].gather(1, places))

            room = self._room(rows.shape[1])
            for low, high, told in self._batcher.split(len(rows) * looks, room, run):
                np.add.at(total, np.arange(low, high) // looks, told.cpu().numpy())
            out[numbers[:, 0]] = total / (rows.shape[1] - self.first_told)
        return out

    def prompt_gradient(
        self, ids: IntArray, points: FloatArray, tokens: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        out = np.full(len(ids), np.nan)
        slopes = np.zeros(points.shape, dtype=np.float32)
        gains = np.zeros((*ids.shape, len(tokens)), dtype=np.float32)
        wanted = self._tensor(tokens)
        for numbers, columns in self._told(ids):
            rows = self._tensor(ids[numbers, columns])
            leaf = self._tensor(points[numbers, columns].astype(np.float32)).requires_grad_()
            looks, n_told = self._looks(rows.shape[1]), rows.shape[1] - self.first_told
            total, slope = np.zeros(len(rows)), torch.zeros_like(leaf)

            def run(
                low: int, high: int, rows: Tensor = rows, leaf: Tensor = leaf, looks: int = looks
            ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
                pairs = torch.arange(low, high, device=self._device)
                with torch.enable_grad():
                    log_probs, places = self._alone(leaf[pairs // looks], pairs % looks)
                    told = _picked(log_probs, rows[pairs // looks].gather(1, places))
                    (part,) = torch.autograd.grad(told.sum(), leaf)
                return told.detach(), part, log_probs.detach()[..., wanted], places

            # A backward pass holds what every layer made: twice the room.
            room = 2 * self._room(rows.shape[1])
            for low, high, found in self._batcher.split(len(rows) * looks, room, run):
                told, part, log_probs, places = found
                cand = np.arange(low, high) // looks
                np.add.at(total, cand, told.cpu().numpy())
                slope += part
                where = columns[cand[:, None], places.cpu().numpy()]
                gains[numbers[cand], where] = log_probs.cpu().numpy() / n_told
            out[numbers[:, 0]] = total / n_told
            slopes[numbers, columns] = slope.cpu().numpy() / n_told
        return out, slopes, gains

    def _told(self, ids: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Prompts of equal length of which something can be told: their numbers, `(m, 1)`, and
        where their tokens stand, `(m, k)`."""
        lengths = (ids != EMPTY).sum(axis=1)
        order = np.argsort(ids == EMPTY, axis=1, kind="stable")
        for k in np.unique(lengths):
            if k > self.first_told:
                numbers = np.flatnonzero(lengths == k)
                yield numbers[:, None], order[numbers, :k]

    def _room(self, k: int) -> int:
        """Tokens that a prompt counts for in a batch: log-probabilities of a whole vocabulary in
        each place take more room than all that led to them."""
        width = len(self.codec.prefix) + k + len(self.codec.suffix)
        return width * max(1, int(self._model.get_input_embeddings().weight.shape[0]) // LOGITS)

    def _repeated(self, ids: Sequence[int], n: int) -> Tensor:
        """`(n, k)`: the same tokens n times."""
        return torch.tensor(ids, dtype=torch.int64, device=self._device).expand(n, -1)

    def _tensor(self, array: IntArray | FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _picked(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """`(rows,)`: the sum over the places of log p(the token that stands there)."""
    return log_probs.gather(2, tokens[..., None]).sum((1, 2))
