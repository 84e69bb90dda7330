"""One start of a relaxation: its steps, where it ended, and what rounding points to tokens cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hardprompt.types import EMPTY, Batch, FloatArray, IntArray

if TYPE_CHECKING:
    from hardprompt.strategies.relax import Relax

ASKS_PROMPTS = ("straight-through", "langevin")  # projections that never ask points


@dataclass
class Descent:
    """What was trained, and the tokens that it became."""

    points: FloatArray  # (places, dim)
    projected: IntArray  # (places,) what each point is rounded to
    repaired: IntArray  # (length,) the best prompt, repair included
    soft: float = np.nan  # loss of the points; NaN where prompts were asked and never points
    alone: FloatArray | None = None  # (places,) loss with only that point rounded
    hard: float = np.nan  # loss of the rounded prompt
    after: float = np.nan  # loss of the repaired prompt

    def record(self, embeddings: FloatArray) -> dict[str, Any]:
        """As JSON; a token is its id."""
        near = cosine(self.points, embeddings[self.projected])
        alone = np.full(len(near), np.nan) if self.alone is None else self.alone
        places = [
            {"id": int(token), "cosine": float(angle), "alone": float(loss)}
            for token, angle, loss in zip(self.projected, near, alone, strict=True)
        ]
        repaired = [{"id": int(token)} for token in self.repaired if token != EMPTY]
        losses = {"soft": self.soft, "hard": self.hard, "repaired": self.after}
        return {**losses, "places": places, "prompt": repaired}


def affordable_steps(how: Relax, budget: float) -> int:
    """As many steps as leave room for the end of a descent, whose start is measured."""
    space = how.space
    some = np.arange(min(how.batch, space.n_examples))
    question = Batch(ids=space.tokens[None, :1], wants_gradient=True, examples=some)
    step = space.price(question) * how.mixtures
    end = 1 + (space.length * how.k_best if how.k_best > 1 else 0)  # as it is, and repaired
    if how.projection == "gumbel":
        end += how.samples
    if how.projection not in ASKS_PROMPTS:
        end += space.length + 1  # what rounding costs
    elif how.batch < space.n_examples:  # a step's prompt is measured on all examples, too
        step, end = step + 1 / how.check, end + 1
    return int(np.clip((budget - end) / step, 1, how.steps))


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    """`(n, dim)` twice -> `(n,)`."""
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: FloatArray = (a * b).sum(axis=1) / np.maximum(size, 1e-12)
    return found
