"""Prompt tuning (Lester et al., 2021): the points themselves are trained."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.baselines.soft import SoftMethod


class PromptTuning(SoftMethod):
    """One free vector for each token of the prompt."""

    name: ClassVar[str] = "prompt-tuning"
    encoder: ClassVar[str] = "none"
    rates: ClassVar[tuple[float, float]] = (0.01, 1.0)
    first_rate: ClassVar[float] = 0.1
