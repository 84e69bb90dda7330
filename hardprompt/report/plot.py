"""Line plots as SVG, written by hand: no plotting library is needed, and nothing is fetched.

Lines differ in colour, dash and marker, so that no one of them has to be seen. A reader's dark
mode changes the colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape as in_xml
from itertools import pairwise

from hardprompt.escaping import escape
from hardprompt.report.axes import Axis, Tick

WIDTH, HEIGHT, LEFT, TOP, FOOT, GAP = 380, 300, 66, 36, 56, 20
LEGEND, LEGEND_ROW = 56, 20
LETTER = 7.0  # pixels, about, of a letter at this size
LONGEST = 28  # letters of a name in the legend
SHIFT = 4  # of the markers, where colours come again
MARKS = 8  # markers that a long line has, about
DODGE = 7.0  # pixels between the whiskers of two lines, at most
WORDS, LINES, GRID, PAGE = ("#222", "#ddd"), ("#555", "#aaa"), ("#ddd", "#333"), ("#fff", "#111")
# In light and in dark; each stands out from its page by 3:1 or more.
COLOURS = (
    ("#000000", "#ffffff"),
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff8c42"),
    ("#00805e", "#2ecc9a"),
    ("#a8438b", "#e58fc6"),
    ("#8a6d00", "#f0d43a"),
    ("#6b4fd8", "#a99bff"),
    ("#707070", "#a0a0a0"),
)
DASHES = ("none", "7 3", "2 3", "9 3 2 3")
MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.5,-3.5h7v7h-7z",
    "M0,-4.5L4.5,3.5H-4.5z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.5L4.5,-3.5H-4.5z",
    "M-4.5,0h9M0,-4.5v9",
    "M-3.5,-3.5l7,7M3.5,-3.5l-7,7",
    "M-4,-4h8L0,0zM-4,4h8L0,0z",
)


@dataclass(frozen=True)
class Line:
    """Values over x, with the ends of their intervals where these are known."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    level: bool = False  # its only value holds for every x


@dataclass(frozen=True)
class Panel:
    """One plot of several."""

    title: str
    x: Axis
    lines: Sequence[Line]


def drawing(
    title: str, panels: Sequence[Panel], y: Axis, *, bands: bool = False, columns: int = 4
) -> str:
    """All panels, so many beside each other, with one y axis and one legend; intervals are
    whiskers, or else bands."""
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    across = min(columns, len(panels))
    rows = -(-len(panels) // across)
    beside = max((sum(line.level for line in panel.lines) for panel in panels), default=0)
    step, down = LEFT + WIDTH + GAP + DODGE * beside, TOP + HEIGHT + FOOT
    shown = [_cut(name, LONGEST) for name in names]
    legend = LEGEND + LETTER * max(map(len, shown), default=0)
    size = (step * across + legend, max(down * rows, TOP + LEGEND_ROW * len(names)))
    parts = _opening(title, *size, n_styles=len(names))
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        parts.append(f'<g transform="translate({column * step + LEFT:g},{row * down + TOP})">')
        parts += _axes(panel, y, first=column == 0)
        parts += _lines(panel, y, names, bands)
        parts.append("</g>")
    parts.append(f'<g transform="translate({step * across:g},{TOP})">')
    for number, name in enumerate(shown):
        parts += _key(number, name)
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def _opening(title: str, width: float, height: float, n_styles: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="hardprompt" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">',
        f"<title>{_text(title)}</title>",
        "<style>",
        ".hardprompt{font:12px sans-serif}",
        ".hardprompt .head{font-weight:bold}",
        ".hardprompt .axis,.hardprompt .grid,.hardprompt .line{fill:none}",
        ".hardprompt .line,.hardprompt .mark{stroke:currentColor;stroke-width:1.6}",
        ".hardprompt .mark,.hardprompt .band{fill:currentColor}",
        ".hardprompt .band{fill-opacity:.1}",
        *_colours(0, n_styles),
        "@media (prefers-color-scheme:dark){",
        *_colours(1, n_styles),
        "}",
        "</style>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
    ]


def _colours(mode: int, n_styles: int) -> Iterator[str]:
    yield f".hardprompt text{{fill:{WORDS[mode]}}}"
    yield f".hardprompt .axis{{stroke:{LINES[mode]}}}"
    yield f".hardprompt .grid{{stroke:{GRID[mode]}}}"
    yield f".hardprompt .page{{fill:{PAGE[mode]}}}"
    for number, pair in enumerate(COLOURS[:n_styles]):
        yield f".hardprompt .c{number}{{color:{pair[mode]}}}"


def _axes(panel: Panel, y: Axis, *, first: bool) -> list[str]:
    middle = WIDTH / 2
    parts = [
        f'<text class="head" x="{middle}" y="-14" text-anchor="middle">'
        f"{_text(_cut(panel.title, int(WIDTH / LETTER)))}</text>",
        f'<text x="{middle}" y="{HEIGHT + 42}" text-anchor="middle">{_text(panel.x.title)}</text>',
    ]
    if first:
        parts.append(
            f'<text transform="translate(-50,{HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
            f"{_text(y.title)}</text>"
        )
    for value, label in y.ticks:
        at = _down(y, value)
        parts.append(f'<path class="grid" d="M0,{at:.1f}H{WIDTH}"/>')
        parts.append(f'<text x="-8" y="{at + 4:.1f}" text-anchor="end">{_text(label)}</text>')
    for value, label in _apart(panel.x):
        at = panel.x.place(value) * WIDTH
        parts.append(f'<path class="axis" d="M{at:.1f},{HEIGHT}v5"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT + 20}" text-anchor="middle">{_text(label)}</text>'
        )
    return [*parts, f'<path class="axis" d="M0,0V{HEIGHT}H{WIDTH}"/>']


def _apart(axis: Axis) -> list[Tick]:
    """The ticks whose labels do not run into the one before."""
    kept: list[Tick] = []
    free = float("-inf")
    for value, label in axis.ticks:
        at, half = axis.place(value) * WIDTH, LETTER * (len(label) + 1) / 2
        if at - half >= free:
            kept.append((value, label))
            free = at + half
    return kept


def _lines(panel: Panel, y: Axis, names: Sequence[str], bands: bool) -> Iterator[str]:
    """Levels first, so that they lie below the others."""
    levels = [line for line in panel.lines if line.level]
    for number, line in enumerate(levels, start=1):
        at, style = _down(y, line.y[0]), names.index(line.name)
        # Its interval stands behind the panel, beside those of the other levels.
        there = WIDTH + DODGE * number
        path = f'<path class="line" d="M0,{at:.1f}H{there:.1f}" {_dash(style)}/>'
        yield from _drawn(line, path, [there], y, style, bands=False)
    others = [line for line in panel.lines if not line.level]
    apart = 0.0 if bands else _dodge(panel.x, others)
    for number, line in enumerate(others):
        aside, style = (number - (len(others) - 1) / 2) * apart, names.index(line.name)
        places = [panel.x.place(x) * WIDTH + aside for x in line.x]
        points = _points(places, [_down(y, value) for value in line.y])
        path = f'<polyline class="line" points="{points}" {_dash(style)}/>'
        yield from _drawn(line, path, places, y, style, bands)


def _drawn(
    line: Line, path: str, places: Sequence[float], y: Axis, style: int, bands: bool
) -> Iterator[str]:
    yield f'<g class="c{style % len(COLOURS)}">'
    yield path
    if line.low:
        low, high = ([_down(y, end) for end in ends] for ends in (line.low, line.high))
        yield _band(places, low, high) if bands else _whiskers(places, low, high)
    yield from _marks(line, places, [_down(y, value) for value in line.y], style)
    yield "</g>"


def _dodge(x: Axis, lines: Sequence[Line]) -> float:
    """Pixels between the whiskers of two lines, so that neighbours on the x axis stay apart."""
    places = sorted({x.place(value) * WIDTH for line in lines for value in line.x})
    room = min((b - a for a, b in pairwise(places)), default=float(WIDTH))
    return min(DODGE, 0.7 * room / max(1, len(lines)))


def _whiskers(x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    strokes = (
        f"M{a:.1f},{b:.1f}V{c:.1f}M{a - 2:.1f},{b:.1f}h4M{a - 2:.1f},{c:.1f}h4"
        for a, b, c in zip(x, low, high, strict=True)
    )
    return f'<path class="line" d="{"".join(strokes)}"/>'


def _band(x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    there, back = _points(x, low), _points(list(reversed(x)), list(reversed(high)))
    return f'<polygon class="band" points="{there} {back}"/>'


def _marks(line: Line, x: Sequence[float], y: Sequence[float], style: int) -> Iterator[str]:
    every = max(1, round(len(x) / MARKS))
    for number in range(style % every, len(x), every):
        ends = f" [{line.low[number]:.3f}, {line.high[number]:.3f}]" if line.low else ""
        about = _text(f"{line.name}: {line.y[number]:.3f}{ends}")
        yield _mark(style, x[number], y[number], f"<title>{about}</title>")


def _mark(style: int, x: float, y: float, inside: str = "") -> str:
    shape = MARKERS[(style + SHIFT * (style // len(COLOURS))) % len(MARKERS)]
    return f'<path class="mark" transform="translate({x:.1f},{y:.1f})" d="{shape}">{inside}</path>'


def _key(style: int, name: str) -> list[str]:
    at = LEGEND_ROW * style + 6
    return [
        f'<g class="c{style % len(COLOURS)}">',
        f'<path class="line" d="M0,{at}h34" {_dash(style)}/>',
        _mark(style, 17, at),
        "</g>",
        f'<text x="42" y="{at + 4}">{_text(name)}</text>',
    ]


def _dash(style: int) -> str:
    """Of lines of the same colour no two have the same dash."""
    dash = DASHES[(style + style // len(COLOURS)) % len(DASHES)]
    return f'stroke-dasharray="{dash}"'


def _points(x: Sequence[float], y: Sequence[float]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _down(y: Axis, value: float) -> float:
    return HEIGHT * (1 - y.place(value))


def _cut(name: str, most: int) -> str:
    """A long name without its beginning, which tells less than its end."""
    return name if len(name) <= most else f"...{name[3 - most :]}"


def _text(text: str) -> str:
    return in_xml(escape(text))
