"""Prefix tuning, as long as the prompt that is searched."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.adapt.prefix import Prefix
from hardprompt.baselines.base import Bench
from hardprompt.baselines.soft import start_tokens
from hardprompt.baselines.trained import TrainedMethod


class PrefixTuning(TrainedMethod):
    """Keys and values at every layer, begun at those of the label words and sampled ones."""

    name: ClassVar[str] = "prefix"
    rates: ClassVar[tuple[float, float]] = (3e-5, 3e-3)
    first_rate: ClassVar[float] = 3e-4

    def adaptation(self, bench: Bench) -> Prefix:
        words = start_tokens(bench.session, "labels", bench.rng)
        return Prefix(length=len(words), words=tuple(words.tolist()))
