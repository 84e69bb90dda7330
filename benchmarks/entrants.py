"""Who takes part in the yardstick: every strategy of the registry, variants, and presets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hardprompt.presets import PRESETS, preset_named
from hardprompt.registry import make_strategy, strategy_names
from hardprompt.strategies.base import Strategy

EXCLUDED = {"exhaustive": "it would be the table itself"}
# A relaxation asks the model for a gradient at every step, which no table holds; a Gaussian
# process takes a minute a search.
SEEDS = {"relax": 3, "optuna": 3}


@dataclass(frozen=True)
class Cost:
    """What a search may spend, and what its rows cost."""

    budget: float  # prompts on all rows
    gradient_price: float = 3.0
    n_examples: int = 32


@dataclass(frozen=True)
class Schedule:
    """The size of a published run, and the settings by which it shrinks to a budget.

    Settings that count steps shrink with the budget. Widths, which are asked at every step,
    shrink by the root, so that the steps become fewer in the same proportion; rates of learning
    grow as these become fewer.
    """

    steps: float  # of the published run
    rows: float = 0.0  # prompts a step
    slopes: float = 0.0  # prompts with their gradient a step, on `batch` examples where that is set
    lengths: tuple[str, ...] = ()
    widths: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()

    def scaled(self, settings: Mapping[str, Any], cost: Cost) -> dict[str, Any]:
        batch = min(1.0, settings.get("batch", cost.n_examples) / cost.n_examples)
        whole = self.steps * (self.rows + self.slopes * cost.gradient_price * batch)
        share = min(1.0, cost.budget / whole)
        scaled = dict(settings)
        for name in self.lengths:
            scaled[name] = max(1, round(settings[name] * share))
        for name in self.widths:
            scaled[name] = max(FEWEST, round(settings[name] * share**0.5))
        for name in self.rates:
            scaled[name] = settings[name] / share**0.5
        return scaled


FEWEST = 2  # candidates a step, of which one can be the better
# Steps of the papers or their code (presets.py names them), for prompts of five tokens.
SCHEDULES = {
    "gcg": Schedule(250, rows=512, slopes=1, widths=("width",)),
    "autoprompt": Schedule(180, rows=100, slopes=1, widths=("width", "top_k")),
    "arca": Schedule(50 * 5, rows=32, slopes=32, widths=("width", "top_k", "average")),
    "pez": Schedule(5000, slopes=1, lengths=("steps", "check")),
    "fluentprompt": Schedule(5000, slopes=1, lengths=("steps", "check")),
    "gbda": Schedule(100, rows=1, slopes=10, lengths=("steps", "samples")),
    "beast": Schedule(5, rows=15 * 15, widths=("width", "branch")),
    "grips": Schedule(10, rows=5, lengths=("steps",)),
    "bdpl": Schedule(400, rows=20, widths=("samples",), rates=("lr",)),
    "rlprompt": Schedule(12_000, rows=16, widths=("samples",), rates=("lr",)),
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
        """`swap`, `swap:width=8:replace=1`, or `random*4` for four times the budget."""
        whole, _, times = text.partition("*")
        strategy, *settings = whole.split(":")
        pairs = [part.partition("=") for part in settings]
        values = {key: _value(value) for key, _, value in pairs}
        entrant = cls(text, strategy, values, float(times or 1))
        entrant.make()  # an unknown name or setting is said before anything is measured
        return entrant


def registered() -> list[Entrant]:
    """Every strategy that there is, but for those excluded, with its own settings."""
    return [Entrant(name, name) for name in strategy_names() if name not in EXCLUDED]


def published(cost: Cost | None = None, names: Iterable[str] = PRESETS) -> list[Entrant]:
    """Presets as published, until the budget ends; and scaled to a budget, where that differs."""
    found = []
    for name in names:
        preset = preset_named(name)
        found.append(Entrant(f"{name} (published)", preset.strategy, preset.settings))
        if cost is not None and name in SCHEDULES:
            scaled = SCHEDULES[name].scaled(preset.settings, cost)
            if scaled != dict(preset.settings):
                found.append(Entrant(f"{name} (scaled)", preset.strategy, scaled))
    return found


def chosen(names: Sequence[str], cost: Cost | None = None) -> list[Entrant]:
    """Strategies and presets by name."""
    return [
        entrant
        for name in names
        for entrant in (published(cost, [name]) if name in PRESETS else [Entrant.parse(name)])
    ]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
