"""The relaxation: a soft prompt trained, projected to words, and what that costs it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hardprompt.baselines.base import Bench, Fitted, Method, as_text
from hardprompt.baselines.discrete import Best, best_found
from hardprompt.session import Session
from hardprompt.strategies.descent import Descent, cosine
from hardprompt.strategies.relax import Relax
from hardprompt.types import FloatArray

TRIED = ("none", "mlp")  # encoders; each gets the same share of the budget


class Relaxed(Method):
    """The projected prompt of strategy `relax`, with and without an encoder, the better on dev."""

    name: ClassVar[str] = "relax"
    discrete: ClassVar[bool] = True
    portable: ClassVar[bool] = True

    def fit(self, bench: Bench) -> Fitted:
        share = bench.room / len(TRIED)
        ends: list[tuple[Best, str, list[Descent]]] = []
        for encoder in TRIED:
            strategy = Relax(encoder=encoder, projection="end")
            best = best_found(bench, strategy, f"relax-{encoder}", share)
            ends.append((best, encoder, strategy.descents))
        best, encoder, descents = max(ends, key=lambda end: end[0].quality)
        fitted = as_text(
            bench.session,
            best.prompts,
            trained=bench.session.space.length,
            measured=sum(end.measured for end, *_ in ends),
            encoder=encoder,
        )
        return replace(fitted, late=lambda: {"gap": _gap(bench.session, best, descents)})


def _gap(session: Session, best: Best, descents: list[Descent]) -> dict[str, Any] | None:
    """What rounding cost the start that the prompt came from, or the one that ended nearest to
    it; None where no start ended."""
    if not descents:
        return None
    source = min(descents, key=lambda d: int((d.repaired != best.ids).sum()))
    return soft_to_hard(session, source)


def soft_to_hard(session: Session, descent: Descent) -> dict[str, Any]:
    """What rounding a soft prompt to its nearest words costs, place by place.

    `alone` is the search loss with only that place rounded; `so_far` with it and all places
    before it, so that the last is the loss of the whole projected prompt.
    """
    points = descent.points.astype(np.float32)
    words = session.space.embeddings[descent.projected].astype(np.float32)
    angles, codec = cosine(points, words), session.model.codec
    places = []
    for place, token in enumerate(descent.projected):
        alone, so_far = points.copy(), points.copy()
        alone[place], so_far[: place + 1] = words[place], words[: place + 1]
        places.append(
            {
                "token": codec.piece([int(token)]),
                "cosine": round(float(angles[place]), 6),
                "alone": _loss(session, alone),
                "so_far": _loss(session, so_far),
            }
        )
    return {"soft": _loss(session, points), "hard": _loss(session, words), "places": places}


def _loss(session: Session, points: FloatArray) -> float:
    """The search's own loss of a soft prompt."""
    scores = session.scorers["search"].by_points(points)
    gold = session.gold("search")
    return round(float(session.loss.total(scores[None], gold, len(gold))[0]), 6)
