"""Continuous relaxation: train points between tokens, then take the tokens nearest to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least, one_of
from hardprompt.types import EMPTY, Batch, FloatArray, IntArray

ENCODERS = ("none", "mlp")
PROJECTIONS = ("end", "straight-through")


@dataclass
class Descent:
    """Where one start ended: what was trained, and the tokens that it became."""

    points: FloatArray  # (length, dim)
    projected: IntArray  # (length,) what each point is nearest to
    repaired: IntArray  # (length,) the best found among the nearest


@dataclass(kw_only=True)
class Relax(Strategy):
    """Train a soft prompt by gradient descent and project it to tokens, scored as text.

    `projection` straight-through asks the nearest tokens' gradient at every step and applies it
    to the points themselves, which are never overwritten (PEZ, Wen et al., 2023, algorithm 1).
    `end` trains the points where they are and projects once, then repairs each place among its
    `k_best` nearest tokens. `encoder` mlp reparameterises the points by a small network with a
    residual path, as in P-tuning (Liu et al., 2021, section 3.2). After `steps` a new start;
    `descents` keeps where each ended.
    """

    name: ClassVar[str] = "relax"
    encoder: str = "none"
    projection: str = "straight-through"
    steps: int = 30
    lr: float = 0.1  # in units of the mean embedding norm for the points, plain for the mlp
    decay: float = 0.0
    hidden: int = 64
    batch: int = 32  # examples a step
    k_best: int = 4

    def __post_init__(self) -> None:
        one_of(ENCODERS, encoder=self.encoder)
        one_of(PROJECTIONS, projection=self.projection)
        at_least(1, steps=self.steps, hidden=self.hidden, batch=self.batch, k_best=self.k_best)
        at_least(0, lr=self.lr, decay=self.decay)

    def search(self) -> Script:
        self.descents: list[Descent] = []
        starts = self.space.starts(self.rng, 8)
        for number in range(10**9):
            if number >= len(starts):
                starts = np.concatenate([starts, self.space.random(self.rng, 8)])
            yield from self._descend(starts[number])

    def _descend(self, start: IntArray) -> Script:
        import torch

        start = start[None]
        yield Batch(ids=start)
        filled = start[0] != EMPTY
        table = self.space.embeddings
        scale = float(np.linalg.norm(table[self.space.tokens], axis=1).mean())
        base = table[np.maximum(start[0], 0)].astype(np.float32) / scale
        points, weights = self._encoder(torch, base)
        optimizer = torch.optim.AdamW(weights, lr=self.lr / 10, weight_decay=self.decay)
        best: tuple[float, IntArray] = (np.inf, start[0])
        for _ in range(self.steps):
            soft = points()
            near = self._project(soft.detach().numpy(), start[0])
            examples = self._examples()
            if self.projection == "straight-through":
                told = yield Batch(ids=near[None], wants_gradient=True, examples=examples)
            else:
                embeds = (soft.detach().numpy() * scale)[None].astype(np.float32)
                if not filled.all():
                    return  # points have no empty places
                told = yield Batch(embeds=embeds, wants_gradient=True, examples=examples)
            if told.gradient is None or not np.isfinite(told.gradient).all():
                continue
            optimizer.zero_grad()
            soft.backward(torch.from_numpy(np.ascontiguousarray(told.gradient[0]) * scale))
            optimizer.step()
            if self.projection == "straight-through":
                exact = yield Batch(ids=near[None])  # free when the tokens are still the same
                if exact.trusted()[0] < best[0]:
                    best = (float(exact.loss[0]), near)
        soft_end = points().detach().numpy()
        last = self._project(soft_end, start[0])
        row = best[1] if np.isfinite(best[0]) else last
        self.descents.append(Descent(soft_end * scale, last, row))
        yield from self._repair(row, soft_end)

    def _encoder(self, torch: Any, base: np.ndarray) -> tuple[Callable[[], Any], list[Any]]:
        """A function that gives the points, in units of the mean norm, and what is trained."""
        own = torch.from_numpy(base.copy()).requires_grad_()
        if self.encoder == "none":
            return lambda: own + 0.0, [own]
        dim = base.shape[1]

        def draw(rows: int, columns: int) -> Any:
            values = self.rng.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)
            return torch.from_numpy(values).requires_grad_()

        first, second = draw(self.hidden, dim), draw(dim, self.hidden)
        with torch.no_grad():
            second.mul_(0.1)  # begins close to the tokens it starts from
        return lambda: own + torch.relu(own @ first.T) @ second.T, [own, first, second]

    def _examples(self) -> IntArray | None:
        if self.batch >= self.space.n_examples:
            return None
        return np.sort(self.rng.choice(self.space.n_examples, self.batch, replace=False))

    def _project(self, points: np.ndarray, start: IntArray) -> IntArray:
        near = self.space.nearest(points)[:, 0]
        return np.where(start == EMPTY, EMPTY, near)

    def _repair(self, row: IntArray, points: np.ndarray) -> Script:
        """The best of the `k_best` nearest tokens, one place after the other."""
        near = self.space.nearest(points, min(self.k_best, len(self.space.tokens)))
        told = yield Batch(ids=row[None])
        best = told.trusted()[0]
        for place in self.rng.permutation(np.flatnonzero(row != EMPTY)):
            rows = np.tile(row, (near.shape[1], 1))
            rows[:, place] = near[place]
            told = yield Batch(ids=rows, keep=1)
            top = told.order()[0]
            if not told.trusted()[top] >= best:
                row, best = rows[top], told.loss[top]
                self.descents[-1].repaired = row
