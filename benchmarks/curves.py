"""Curves of regret over the budget: medians over seeds with quartiles, as the package draws."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from hardprompt.report.axes import Axis
from hardprompt.report.plot import Line, Panel, drawing
from hardprompt.types import FloatArray

TICKS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
# A root scale: what is left near the optimum is what strategies differ in.
REGRET = Axis("regret: median and quartiles", 0.0, 1.0, tuple((t, f"{t:g}") for t in TICKS), sqrt)
QUARTERS = (0.25, 0.5, 0.75, 1.0)


def curve(name: str, budgets: FloatArray, quartiles: FloatArray) -> Line:
    """One strategy: `(points,)` prompts of budget, and `(3, points)` quartiles of its regret."""
    low, median, high = quartiles.tolist()
    return Line(name, budgets.tolist(), median, low, high)


def panel(title: str, budgets: FloatArray, lines: Sequence[Line]) -> Panel:
    """One space."""
    most = float(budgets[-1])
    ticks = tuple((share * most, f"{share * most:.0f}") for share in QUARTERS)
    return Panel(title, Axis("prompts of budget", 0.0, most, ticks), lines)


def curves(panels: Sequence[Panel]) -> str:
    """All spaces side by side."""
    return drawing("Regret over the budget", panels, REGRET, bands=True)
