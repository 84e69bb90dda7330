"""Axes of a plot: where a value stands along them, and which values are written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

Tick = tuple[float, str]  # a value and its label
STEPS = (1.0, 2.0, 5.0)  # times a power of ten: distances between ticks
FEWEST_TICKS = 4
PAD = 0.08  # of a logarithmic axis, left free at either end
UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def _same(value: float) -> float:
    return value


@dataclass(frozen=True)
class Axis:
    """One direction of a plot, from `low` to `high`; `scale` is what it is even in."""

    title: str
    low: float
    high: float
    ticks: tuple[Tick, ...]
    scale: Callable[[float], float] = _same

    def place(self, value: float) -> float:
        """How far along the axis, from 0 to 1; what lies outside is at the end."""
        inside = min(max(value, self.low), self.high)
        start, end = self.scale(self.low), self.scale(self.high)
        return (self.scale(inside) - start) / (end - start)


def linear(title: str, values: Sequence[float]) -> Axis:
    """From the round number below the values to the one above; `values` must not be empty."""
    low, high = min(values), max(values)
    step = _step((high - low) or 0.1 * abs(high) or 1.0)
    first, last = floor(low / step), ceil(high / step)
    if first == last:
        first, last = first - 1, last + 1
    digits = max(0, -floor(log10(step)))
    ticks = tuple((i * step, f"{i * step:.{digits}f}") for i in range(first, last + 1))
    return Axis(title, first * step, last * step, ticks)


def _step(span: float) -> float:
    """The largest round distance that leaves enough ticks in the span."""
    power = 10.0 ** floor(log10(span))
    steps = [step * power * factor for factor in (0.1, 1.0) for step in STEPS]
    return max(step for step in steps if span / step >= FEWEST_TICKS - 1)


def logarithmic(title: str, values: Sequence[float]) -> Axis:
    """Each of these values, all above 0, is a tick; some room is left at either end."""
    low, high = log10(min(values)), log10(max(values))
    pad = PAD * (high - low) or 0.3
    ticks = tuple((value, short(value)) for value in sorted(set(values)))
    return Axis(title, 10 ** (low - pad), 10 ** (high + pad), ticks, log10)


def categories(title: str, names: Sequence[str]) -> Axis:
    """Equal steps: name number i stands at i."""
    ticks = tuple((float(number), name) for number, name in enumerate(names))
    return Axis(title, -0.5, len(names) - 0.5, ticks)


def short(value: float) -> str:
    """A count in thousands, millions or billions: 5.1 M."""
    for unit, letter in UNITS:
        if value >= unit:
            return f"{value / unit:.{1 if value < 100 * unit else 0}f} {letter}"
    return f"{value:g}"
