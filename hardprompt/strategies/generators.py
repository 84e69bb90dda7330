"""What writes prompts in `policy`: a distribution over tokens, place by place, to be trained."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from hardprompt.types import FloatArray, IntArray


class PromptGenerator(ABC):
    """Draws one of `n` choices for each of `k` places, from left to right.

    Choices are numbers into each place's own list of tokens. Everything is float64, so that a
    resumed search draws the same on another machine.
    """

    weights: list[Tensor]
    k: int

    @abstractmethod
    def probabilities(self, place: int, drawn: Tensor) -> Tensor:
        """`(rows, place)` choices so far -> `(rows or 1, n)` of the choices at that place."""

    def settle(self) -> None:  # noqa: B027 - most weights may be anything
        """Makes the weights valid again after a step."""

    def draw(self, rng: np.random.Generator, rows: int) -> IntArray:
        """`(rows, k)` choices."""
        drawn = np.zeros((rows, self.k), dtype=np.int64)
        for place in range(self.k):
            with torch.no_grad():
                found = self.probabilities(place, torch.from_numpy(drawn[:, :place])).detach()
            sums = np.cumsum(found.numpy(), axis=1)
            targets = rng.random((rows, 1)) * sums[:, -1:]
            drawn[:, place] = (sums <= targets).sum(axis=1)
        return drawn

    def log_likelihood(self, drawn: Tensor) -> Tensor:
        """`(rows, k)` choices -> `(rows,)`."""
        total = torch.zeros(len(drawn), dtype=torch.float64)
        for place in range(self.k):
            found = self.probabilities(place, drawn[:, :place]).expand(len(drawn), -1)
            total = total + found.gather(1, drawn[:, place, None])[:, 0].log()
        return total


class Simplex(PromptGenerator):
    """The probabilities themselves, projected after each step (BDPL)."""

    def __init__(self, logits: FloatArray) -> None:
        self.k = len(logits)
        self.table = torch.softmax(torch.from_numpy(logits), dim=-1).requires_grad_()
        self.weights = [self.table]

    def probabilities(self, place: int, drawn: Tensor) -> Tensor:
        return self.table[place, None]

    def settle(self) -> None:
        with torch.no_grad():
            self.table.copy_(torch.from_numpy(project(self.table.detach().numpy())))


class Table(PromptGenerator):
    """A logit for each place and token."""

    def __init__(self, logits: FloatArray) -> None:
        self.k = len(logits)
        self.table = torch.from_numpy(logits.copy()).requires_grad_()
        self.weights = [self.table]

    def probabilities(self, place: int, drawn: Tensor) -> Tensor:
        return torch.softmax(self.table[place, None], dim=-1)


class Factored(PromptGenerator):
    """A direction for each place: what is learnt of a token holds for its like."""

    def __init__(self, logits: FloatArray, embeddings: FloatArray) -> None:
        self.k = len(logits)
        self.logits, self.embeddings = torch.from_numpy(logits), torch.from_numpy(embeddings)
        shape = self.k, embeddings.shape[-1]
        self.directions = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        self.weights = [self.directions]

    def probabilities(self, place: int, drawn: Tensor) -> Tensor:
        values = self.directions[place, None] @ self.embeddings[place].T
        return torch.softmax(values + self.logits[place], dim=-1)


class Mlp(PromptGenerator):
    """A network that reads the place and the token before, and points to the next token.

    RLPrompt's one hidden layer, which starts out saying next to nothing.
    """

    def __init__(
        self, logits: FloatArray, embeddings: FloatArray, hidden: int, rng: np.random.Generator
    ) -> None:
        self.k = len(logits)
        self.logits, self.embeddings = torch.from_numpy(logits), torch.from_numpy(embeddings)
        dim = embeddings.shape[-1]
        scales = ((dim, hidden, dim**-0.5), (self.k, hidden, 1.0), (hidden, dim, 1e-4))
        self.weights = [
            torch.from_numpy(rng.normal(0, scale, (rows, columns))).requires_grad_()
            for rows, columns, scale in scales
        ]

    def probabilities(self, place: int, drawn: Tensor) -> Tensor:
        read, places, out = self.weights
        state = places[place, None]
        if place:
            state = state + self.embeddings[place - 1][drawn[:, -1]] @ read
        values = torch.relu(state) @ out @ self.embeddings[place].T
        return torch.softmax(values + self.logits[place], dim=-1)


def project(points: FloatArray) -> FloatArray:
    """`(rows, n)` the nearest points of the simplex (Duchi et al., 2008, figure 1)."""
    falling = -np.sort(-points, axis=1)
    excess = np.cumsum(falling, axis=1) - 1
    kept = (falling * np.arange(1, points.shape[1] + 1) > excess).sum(axis=1)
    shift = excess[np.arange(len(points)), kept - 1] / kept
    nearest: FloatArray = np.maximum(points - shift[:, None], 0.0)
    return nearest
