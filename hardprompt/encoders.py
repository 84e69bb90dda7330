"""Prompt encoders (P-tuning): what is trained in place of the points of a soft prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hardprompt.space import SearchSpace


@dataclass(frozen=True)
class Encoder:
    """What is trained, and how it becomes points."""

    base: Tensor  # (length, dim)
    added: Callable[[], Tensor]  # what a network adds to it
    weights: list[Tensor]

    def points(self) -> Tensor:
        """`(length, dim)`."""
        return self.base + self.added()

    def move(self, by: Tensor) -> None:
        """Moves the points by `(length, dim)`, whatever the network adds."""
        with torch.no_grad():
            self.base.add_(by)

    @property
    def size(self) -> int:
        return sum(weight.numel() for weight in self.weights)


def make_encoder(kind: str, start: Tensor, hidden: int, rng: np.random.Generator) -> Encoder:
    """An encoder that begins at `(length, dim)` embeddings of words.

    `none`: the points themselves are trained. `mlp`: each position by itself through linear, ReLU,
    linear, ReLU, linear. `lstm`: all positions through two bidirectional LSTM layers, then linear,
    ReLU, linear (Liu et al., 2021, section 3.2). A network begins by giving nothing and is added
    to the words that it begins at, so that the first step starts at real embeddings.
    """
    # torch initialises layers from its global generator, which is nobody's to move.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**31)))
        if kind == "none":
            base = start.clone().requires_grad_()
            return Encoder(base, lambda: torch.zeros(()), [base])
        return _network(kind, start, hidden)


def coordinate(space: SearchSpace) -> float:
    """Root mean square of the coordinates of the searched tokens' embeddings: a unit of length
    in which one rate suits every model."""
    table = space.embeddings[space.tokens].astype(np.float64)
    return float(np.sqrt((table**2).mean()))


def _network(kind: str, start: Tensor, hidden: int) -> Encoder:
    dim = start.shape[1]
    own = start.clone().requires_grad_()
    network = _Recurrent(dim, hidden) if kind == "lstm" else _perceptron(dim, hidden)
    last = nn.Linear(hidden, dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    weights = [own, *network.parameters(), *last.parameters()]
    return Encoder(start.clone(), lambda: last(network(own[None]))[0], weights)


def _perceptron(dim: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


class _Recurrent(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        half = (hidden + 1) // 2
        self.lstm = nn.LSTM(dim, half, num_layers=2, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * half, hidden)

    def forward(self, points: Tensor) -> Tensor:
        states, _ = self.lstm(points)
        return torch.relu(self.linear(states))
