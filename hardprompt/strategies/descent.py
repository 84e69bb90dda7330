"""Where one start of a relaxation ended, and what rounding its points to tokens cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hardprompt.types import EMPTY, FloatArray, IntArray


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


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    """`(n, dim)` twice -> `(n,)`."""
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: FloatArray = (a * b).sum(axis=1) / np.maximum(size, 1e-12)
    return found
