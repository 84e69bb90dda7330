"""How points between tokens become tokens: at the end, at every step, or little by little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hardprompt.encoders import coordinate, make_encoder
from hardprompt.strategies.adafactor import Adafactor
from hardprompt.types import EMPTY, Batch, FloatArray, IntArray

if TYPE_CHECKING:
    from hardprompt.strategies.relax import Relax

OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.AdamW,
    "adafactor": Adafactor,
    "sgd": torch.optim.SGD,
}


def make_optimizer(how: Relax, weights: list[Tensor]) -> torch.optim.Optimizer:
    found: torch.optim.Optimizer = OPTIMIZERS[how.optimizer](
        weights, lr=how.rate, weight_decay=how.decay
    )
    return found


class Points:
    """Points are trained where they are; the nearest tokens are taken at the end.

    Lengths are in units of a usual coordinate of an embedding; with `raw` as they are.
    """

    def __init__(self, how: Relax, start: IntArray) -> None:
        """`start` is a prompt of `(length,)`; what is EMPTY there stays so."""
        self.how, self.space, self.start = how, how.space, start
        self.places = np.flatnonzero(start != EMPTY)
        self.unit = 1.0 if how.raw else coordinate(self.space)
        self.encoder = make_encoder(
            how.encoder, self._embedded(start[self.places]), how.hidden, how.rng
        )
        self.optimizer = make_optimizer(how, self.encoder.weights)
        self.soft = self.encoder.points()

    def question(self, share: float) -> Batch:
        """What this step asks; `share` of the steps are done."""
        return Batch(embeds=self.points()[None], wants_gradient=True)

    def learn(self, gradient: FloatArray, share: float) -> None:
        """A step along the told `(1, k, dim)` gradient, with which `share` are done."""
        self.optimizer.zero_grad()
        slope = np.ascontiguousarray(gradient[0, self.places], dtype=np.float32)
        torch.autograd.backward([self.soft], [torch.from_numpy(slope * np.float32(self.unit))])
        self.optimizer.step()
        self.soft = self.encoder.points()

    def points(self) -> FloatArray:
        """`(places, dim)`."""
        found: FloatArray = self.soft.detach().numpy() * np.float32(self.unit)
        return found

    def near(self, k: int) -> IntArray:
        """`(places, k)` tokens that may be taken, nearest first."""
        return self.space.nearest(self.points(), k)

    def row(self, tokens: IntArray | None = None) -> IntArray:
        """`(length,)` the prompt of these tokens, or of the nearest."""
        row = self.start.copy()
        row[self.places] = self.near(1)[:, 0] if tokens is None else tokens
        return row

    def ends(self) -> IntArray:
        """`(n, length)` the prompts that a descent ends with."""
        return self.row()[None]

    def _move_to_table(self, share: float) -> None:
        """Moves each point so far towards its nearest token; 1: onto it."""
        words = self._embedded(self.near(1)[:, 0])
        self.encoder.move(share * (words - self.soft.detach()))
        self.soft = self.encoder.points()

    def _embedded(self, tokens: IntArray) -> Tensor:
        return torch.from_numpy(self.space.embeddings[tokens].astype(np.float32) / self.unit)


class Pull(Points):
    """Each step ends with a proximal step of a penalty on the distance to the nearest token.

    The penalty's weight grows without bound, so that the last step ends on the table.
    """

    def learn(self, gradient: FloatArray, share: float) -> None:
        super().learn(gradient, share)
        self._move_to_table(share**self.how.pull)


class StraightThrough(Points):
    """PEZ (Wen et al., 2023, algorithm 1): the nearest tokens' gradient is applied to the points,
    which are never overwritten."""

    def question(self, share: float) -> Batch:
        return Batch(ids=self.row()[None], wants_gradient=True)


class Langevin(StraightThrough):
    """FluentPrompt (Shi et al., 2022, eq. 5): a noisy step whose projection is the next state.

    The noise's temperature falls geometrically from `beta` to a ten-thousandth of it.
    """

    def learn(self, gradient: FloatArray, share: float) -> None:
        super().learn(gradient, share)
        beta = self.how.beta * 1e-4**share
        if beta:
            noise = self.how.rng.normal(size=tuple(self.soft.shape)).astype(np.float32)
            self.encoder.move(torch.from_numpy(noise) * (2 * self.how.rate * beta) ** 0.5)
            self.soft = self.encoder.points()
        self._move_to_table(1.0)
