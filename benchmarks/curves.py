"""Medians with quartiles as an SVG drawing, written by hand: no plotting library is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from hardprompt.types import FloatArray

WIDTH, HEIGHT, LEFT, TOP, FOOT, LEGEND = 380, 300, 52, 34, 46, 190
TICKS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
# Okabe & Ito's colours, which the colour-blind tell apart; then the same, dashed.
COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#999999")


@dataclass(frozen=True)
class Line:
    """One strategy: `(points,)` lower quartile, median and upper quartile."""

    name: str
    low: FloatArray
    median: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Panel:
    """One space: regret over prompts of budget."""

    title: str
    budgets: FloatArray  # (points,)
    lines: Sequence[Line]


def drawing(panels: Sequence[Panel]) -> str:
    """All panels side by side, with one legend."""
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    step = LEFT + WIDTH + 20
    width, height = step * len(panels) + LEGEND, max(TOP + HEIGHT + FOOT, 20 * len(names) + TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * step + LEFT},{TOP})">')
        parts += _axes(panel)
        for line in panel.lines:
            parts += _curve(panel, line, names.index(line.name))
        parts.append("</g>")
    parts.append(f'<g transform="translate({step * len(panels)},{TOP})">')
    for number, name in enumerate(names):
        y = 18 * number + 6
        parts.append(f'<path d="M0,{y}h26" fill="none" {_stroke(number)}/>')
        parts.append(f'<text x="32" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def _axes(panel: Panel) -> list[str]:
    most = panel.budgets[-1]
    parts = [
        f'<text x="{WIDTH / 2}" y="-12" text-anchor="middle" font-weight="bold">'
        f"{escape(panel.title)}</text>",
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 36}" text-anchor="middle">prompts of budget</text>',
        f'<path d="M0,0V{HEIGHT}H{WIDTH}" fill="none" stroke="#444"/>',
    ]
    for value in TICKS:
        y = _y(value)
        parts.append(f'<path d="M0,{y:.1f}H{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for part in (0.25, 0.5, 0.75, 1.0):
        x = part * WIDTH
        parts.append(
            f'<text x="{x:.0f}" y="{HEIGHT + 16}" text-anchor="middle">{part * most:.0f}</text>'
        )
    return parts


def _curve(panel: Panel, line: Line, number: int) -> list[str]:
    x = panel.budgets / panel.budgets[-1] * WIDTH
    there, back = _points(x, line.low), _points(x[::-1], line.high[::-1])
    colour = COLOURS[number % len(COLOURS)]
    return [
        f'<polygon points="{there} {back}" fill="{colour}" fill-opacity="0.08"/>',
        f'<polyline points="{_points(x, line.median)}" fill="none" {_stroke(number)}/>',
    ]


def _stroke(number: int) -> str:
    dashed = ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
    width = 2.5 if number == 0 else 1.5
    return f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="{width}"{dashed}'


def _points(x: FloatArray, values: FloatArray) -> str:
    return " ".join(f"{a:.1f},{_y(b):.1f}" for a, b in zip(x, values, strict=True))


def _y(value: float) -> float:
    """A root scale: what is left near the optimum is what strategies differ in."""
    return float(HEIGHT * (1 - np.sqrt(min(max(value, 0.0), 1.0))))
