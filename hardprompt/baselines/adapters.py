"""Bottleneck adapters of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hardprompt.adapt.bottleneck import Bottleneck
from hardprompt.baselines.base import Bench
from hardprompt.baselines.trained import TrainedMethod


@dataclass(frozen=True)
class Adapters(TrainedMethod):
    """Adapters with a share of the model's parameters."""

    name: ClassVar[str] = "adapter"
    uses_length: ClassVar[bool] = False
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-2)
    first_rate: ClassVar[float] = 1e-3

    share: float  # of the model's parameters, 0 to 1

    def adaptation(self, bench: Bench) -> Bottleneck:
        return Bottleneck(self.share)
