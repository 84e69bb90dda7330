"""Prompt tuning (Lester et al., 2021): the points themselves are trained."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hardprompt.baselines.soft import Encoder, SoftMethod


class PromptTuning(SoftMethod):
    """One free vector for each token of the prompt."""

    name: ClassVar[str] = "prompt-tuning"
    rates: ClassVar[tuple[float, float]] = (0.01, 1.0)
    first_rate: ClassVar[float] = 0.1

    def encoder(self, start: Tensor) -> Encoder:
        own = start.clone().requires_grad_()
        return Encoder(lambda: own + 0.0, [own])
