"""Plots by hand: whole, readable in light and dark, and by more than colour."""

import re
from math import log10
from xml.etree import ElementTree

import pytest

from hardprompt.report.axes import Axis, categories, linear, logarithmic, short
from hardprompt.report.plot import (
    COLOURS,
    HEIGHT,
    LETTER,
    PAGE,
    WIDTH,
    WORDS,
    Line,
    Panel,
    drawing,
)

SVG = "{http://www.w3.org/2000/svg}"
LENGTHS = categories("tokens", ["1", "2", "5"])


def drawn(lines, x=LENGTHS, title="mini", **options):
    y = linear("accuracy", [0.5, 0.8])
    return ElementTree.fromstring(drawing("Length", [Panel(title, x, lines)], y, **options))


def searched(name="search"):
    return Line(name, [0, 1, 2], [0.6, 0.7, 0.75], [0.55, 0.65, 0.7], [0.65, 0.75, 0.8])


def luminance(colour):
    """Relative luminance of `#rgb` or `#rrggbb` (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    even = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * even[0] + 0.7152 * even[1] + 0.0722 * even[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_every_colour_stands_out_from_its_page(mode):
    page = luminance(PAGE[mode])
    for pair, least in (*((pair, 3.0) for pair in COLOURS), (WORDS, 4.5)):
        high, low = sorted((luminance(pair[mode]), page), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= least, pair


def test_no_two_lines_look_alike_without_colour():
    lines = [searched(f"method {number}") for number in range(3 * len(COLOURS))]
    styles = set()
    for group in drawn(lines).iter(f"{SVG}g"):
        curve = group.find(f"{SVG}polyline")
        if curve is not None:
            mark = group.find(f"{SVG}path[@class='mark']")
            styles.add((curve.get("stroke-dasharray"), mark.get("d")))
    assert len(styles) == len(lines)


def test_text_is_escaped_and_nothing_is_fetched():
    svg = drawing("<a>", [Panel("a & <b>\x07", LENGTHS, [searched("<s>")])], linear("%", [0, 1]))
    assert "a &amp; &lt;b&gt;\\x07" in svg
    assert "<s>" not in svg
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme:dark" in svg


def test_a_level_goes_through_the_whole_panel():
    root = drawn([searched(), Line("none", [0], [0.65], [0.6], [0.7], level=True)])
    (level,) = [g for g in root.iter(f"{SVG}g") if g.get("class") == "c1"][:1]
    across = level.find(f"{SVG}path[@class='line']").get("d")
    end = float(re.fullmatch(r"M0,[\d.]+H([\d.]+)", across)[1])
    assert end > WIDTH  # its whisker stands behind the panel


def test_whiskers_of_neighbours_do_not_meet():
    lines = [searched(f"method {number}") for number in range(8)]
    names = [f"{n}" for n in range(12)]
    x = categories("tokens", names)
    lines = [Line(line.name, list(range(12)), [0.7] * 12) for line in lines]
    found = []
    for curve in drawn(lines, x).iter(f"{SVG}polyline"):
        found += [float(point.split(",")[0]) for point in curve.get("points").split()]
    places = sorted(found)
    step = WIDTH / 12
    for number in range(12):
        mine = [place for place in places if number * step <= place < (number + 1) * step]
        assert len(mine) == len(lines)


def test_labels_of_an_axis_do_not_run_into_each_other():
    sizes = [5.0e6, 5.1e6, 5.2e6, 124e6]
    line = Line("search", sizes, [0.6, 0.6, 0.7, 0.7])
    root = drawn([line], logarithmic("parameters", sizes))
    labels = [
        (float(text.get("x")), text.text)
        for text in root.iter(f"{SVG}text")
        if text.get("y") == str(HEIGHT + 20)
    ]
    assert [text for _, text in labels] == ["5.0 M", "124 M"]
    assert labels[1][0] - labels[0][0] > LETTER * 6


def test_long_titles_keep_their_end():
    titles = [text.text for text in drawn([searched()], title="x/" * 60 + "gpt").iter(f"{SVG}text")]
    (cut,) = [title for title in titles if title.endswith("x/gpt")]
    assert cut.startswith("...")
    assert len(cut) * LETTER <= WIDTH


@pytest.mark.parametrize(
    "values", [[0.71], [0.0], [0.5, 0.5], [-0.2, 0.31], [0.697, 0.7021], [0, 4000], [99.5, 100]]
)
def test_ticks_are_round_and_hold_the_values(values):
    axis = linear("accuracy", values)
    assert axis.low <= min(values)
    assert max(values) <= axis.high
    assert axis.low < axis.high
    assert 2 <= len(axis.ticks) <= 12
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)
    assert all(float(label) == pytest.approx(value, abs=1e-9) for value, label in axis.ticks)


def test_a_logarithmic_axis_is_even_in_ratios():
    axis = logarithmic("parameters", [1e3, 1e6, 1e9])
    low, middle, high = (axis.place(value) for value in (1e3, 1e6, 1e9))
    assert middle - low == pytest.approx(high - middle)
    assert 0 < low < high < 1
    assert logarithmic("parameters", [7e3]).place(7e3) == pytest.approx(0.5)


def test_what_lies_outside_is_at_the_end():
    axis = Axis("regret", 1.0, 10.0, (), log10)
    assert (axis.place(0.5), axis.place(20.0)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(512, "512"), (260032, "260 k"), (5_123_456, "5.1 M"), (124e6, "124 M"), (1.3e9, "1.3 B")],
)
def test_sizes_are_short(value, text):
    assert short(value) == text
