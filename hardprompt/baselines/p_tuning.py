"""P-tuning (Liu et al., 2021): the points are what a small network, the prompt encoder, gives."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from hardprompt.baselines.soft import Encoder, SoftMethod

WIDEST = 512  # of the hidden layers: a large model's width would train more than it tells


class _Encoded(SoftMethod):
    """Words that stand in the template as anchors stay words; only the slots are trained.

    The network begins by giving nothing and is added to the words that it begins at, so that
    the first step starts at real embeddings. After training it is dropped: its points are kept.
    """

    rates: ClassVar[tuple[float, float]] = (3e-4, 3e-2)
    first_rate: ClassVar[float] = 3e-3

    @abstractmethod
    def network(self, dim: int, hidden: int) -> nn.Module:
        """`(1, length, dim)` -> `(1, length, hidden)`."""

    def encoder(self, start: Tensor) -> Encoder:
        dim = start.shape[1]
        hidden = min(dim, WIDEST)
        own, network = start.clone().requires_grad_(), self.network(dim, hidden)
        last = nn.Linear(hidden, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        weights = [own, *network.parameters(), *last.parameters()]
        return Encoder(lambda: start + last(network(own[None]))[0], weights)


class MlpTuning(_Encoded):
    """Each position by itself through linear, ReLU, linear, ReLU, linear."""

    name: ClassVar[str] = "p-tuning-mlp"

    def network(self, dim: int, hidden: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )


class LstmTuning(_Encoded):
    """All positions through two bidirectional LSTM layers, then linear, ReLU, linear."""

    name: ClassVar[str] = "p-tuning-lstm"

    def network(self, dim: int, hidden: int) -> nn.Module:
        return _Recurrent(dim, hidden)


class _Recurrent(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        half = (hidden + 1) // 2
        self.lstm = nn.LSTM(dim, half, num_layers=2, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * half, hidden)

    def forward(self, points: Tensor) -> Tensor:
        states, _ = self.lstm(points)
        return torch.relu(self.linear(states))
