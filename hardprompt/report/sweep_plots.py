"""The plots of a sweep as SVG, from `sweep.json` alone."""

from __future__ import annotations

from typing import Any

from hardprompt.report.axes import Axis, categories, linear, logarithmic
from hardprompt.report.plot import Line, Panel, drawing
from hardprompt.report.text import ending

Row = dict[str, Any]


def length_plot(results: dict[str, Any]) -> str | None:
    """Test against the length of the prompt, a panel for each model; None while there is none."""
    x = categories("tokens of the prompt", [str(length) for length in results["lengths"]])
    place = {length: float(number) for number, length in enumerate(results["lengths"])}
    panels = []
    for model in results["models"]:
        rows = [(place[part["length"]], part) for part in _parts(results, model=model["name"])]
        if rows:
            panels.append(Panel(ending(model["name"]), x, _lines(results, rows)))
    if not panels:
        return None
    return drawing(f"{_about(results)} against the length of the prompt", panels, _y(results))


def size_plot(results: dict[str, Any]) -> str | None:
    """Test against the size of the model, a panel for each length; None with a single model."""
    sizes = {m["name"]: float(m["parameters"]) for m in results["models"] if m["parameters"]}
    if len(sizes) < 2:
        return None
    x = logarithmic("parameters", list(sizes.values()))
    panels = []
    for length in results["lengths"]:
        rows = [(sizes[part["model"]], part) for part in _parts(results, length=length)]
        rows.sort(key=lambda row: row[0])
        if rows:
            title = f"{length} tokens" if length > 1 else "1 token"
            panels.append(Panel(title, x, _lines(results, rows, levels=False)))
    title = f"{_about(results)} against the size of the model"
    return drawing(title, panels, _y(results), columns=3)


def _parts(results: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    """The finished parts with this model or length."""
    return [
        part
        for part in results["parts"]
        if part["methods"] and all(part[key] == value for key, value in wanted.items())
    ]


def _lines(
    results: dict[str, Any], parts: list[tuple[float, Row]], *, levels: bool = True
) -> list[Line]:
    """A line for each method over these parts and their places."""
    lines = []
    for name in results["methods"]:
        found = [
            (x, row)
            for x, part in parts
            for row in part["methods"]
            if row["method"] == name and row["skipped"] is None
        ]
        level = levels and name in results["levels"]
        found = found[:1] if level else found
        if found:
            x, rows = zip(*found, strict=True)
            low, high = zip(*(row["test_interval"] for row in rows), strict=True)
            lines.append(Line(name, x, [row["test"] for row in rows], low, high, level=level))
    return lines


def _y(results: dict[str, Any]) -> Axis:
    rows = [row for part in results["parts"] for row in part["methods"] if row["skipped"] is None]
    ends = [end for row in rows for end in row["test_interval"]]
    return linear(f"{results['metric']} on test, with 95% intervals", ends or [0.0, 1.0])


def _about(results: dict[str, Any]) -> str:
    return f"{results['task']['name']}: {results['metric']}"
