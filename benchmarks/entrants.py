"""Who takes part in the yardstick: every strategy of the registry, variants, and presets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hardprompt.presets import PRESETS, preset_named
from hardprompt.registry import make_strategy, strategy_names
from hardprompt.strategies.base import Strategy

EXCLUDED = {"exhaustive": "it would be the table itself"}
# A relaxation asks the model for a gradient at every step, which no table holds.
SEEDS = {"relax": 3}


@dataclass(frozen=True)
class Schedule:
    """How a published run shrinks to a budget: its size in rows, and the settings that say so.

    Settings of `steps` shrink with the budget. A width that is asked at every step shrinks by the
    root, so that there are fewer steps in the same proportion.
    """

    rows: float  # that the published run takes, backward passes at three
    steps: tuple[str, ...] = ()
    widths: tuple[str, ...] = ()

    def scaled(self, settings: Mapping[str, Any], budget: float) -> dict[str, Any]:
        share = min(1.0, budget / self.rows)
        scaled = dict(settings)
        for names, factor in ((self.steps, share), (self.widths, share**0.5)):
            for name in names:
                if scaled.get(name) is not None:
                    scaled[name] = max(1, round(scaled[name] * factor))
        return scaled


# Sizes of the published runs: steps x (candidates + gradient).
SCHEDULES = {
    "gcg": Schedule(500 * (512 + 3), widths=("width",)),
    "autoprompt": Schedule(180 * (100 + 3), widths=("width", "top_k")),
    "arca": Schedule(50 * 5 * (32 + 32 * 3), widths=("width", "top_k")),
    "pez": Schedule(3000 * 3, steps=("steps",)),
    "gbda": Schedule(100 * 3, steps=("steps",)),
    "fluentprompt": Schedule(5000 * 3, steps=("steps",)),
    "beast": Schedule(40 * 15 * 15, widths=("width", "branch")),
    "bdpl": Schedule(8000, widths=("samples",)),
    "rlprompt": Schedule(12_000 * 16, widths=("samples",)),
}


@dataclass(frozen=True)
class Entrant:
    """A strategy with settings under a name, and how much of the budget it may spend."""

    name: str
    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    times: float = 1.0

    def make(self) -> Strategy:
        return make_strategy(self.strategy, dict(self.settings))

    @property
    def most_seeds(self) -> int | None:
        """More seeds than these would cost too much; None: as many as are asked."""
        return SEEDS.get(self.strategy)

    @classmethod
    def parse(cls, text: str) -> Entrant:
        """`swap`, `swap:width=8,replace=1`, or `random*4` for four times the budget."""
        whole, _, times = text.partition("*")
        strategy, _, settings = whole.partition(":")
        pairs = [part.partition("=") for part in settings.split(",") if part]
        values = {key: _value(value) for key, _, value in pairs}
        entrant = cls(text, strategy, values, float(times or 1))
        entrant.make()  # an unknown name or setting is said before anything is measured
        return entrant


def registered() -> list[Entrant]:
    """Every strategy that there is, but for those excluded, with its own settings."""
    return [Entrant(name, name) for name in strategy_names() if name not in EXCLUDED]


def published(budget: float) -> list[Entrant]:
    """Every preset as published, until the budget ends, and scaled to the budget."""
    found = []
    for name in PRESETS:
        preset = preset_named(name)
        found.append(Entrant(f"{name} (published)", preset.strategy, preset.settings))
        if name in SCHEDULES and np.isfinite(budget):
            scaled = SCHEDULES[name].scaled(preset.settings, budget)
            found.append(Entrant(f"{name} (scaled)", preset.strategy, scaled))
    return found


def chosen(names: Sequence[str], budget: float = float("inf")) -> list[Entrant]:
    """Strategies and presets by name; a preset comes also scaled where there is a budget."""
    found = []
    for name in names:
        if name in PRESETS:
            found += [one for one in published(budget) if one.name.startswith(f"{name} (")]
        else:
            found.append(Entrant.parse(name))
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
