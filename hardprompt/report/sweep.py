"""A sweep as one table for each model, from `sweep.json` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hardprompt.config import FEWEST_TEST_ROWS
from hardprompt.escaping import escape, pasted
from hardprompt.report.axes import short
from hardprompt.report.compare import compare_header, untuned_line
from hardprompt.report.text import table

if TYPE_CHECKING:
    from hardprompt.session import Session

ANY = "any"  # length


def sweep_header(
    session: Session,
    models: Sequence[str],
    lengths: Sequence[int],
    methods: Sequence[str],
    weights_price: float,
) -> str:
    """The first comparison that is to be made, and all lengths and models."""
    first = compare_header(session, methods, weights_price)
    return (
        f"{first}\nlengths   {', '.join(map(str, lengths))}\n"
        f"models    {escape(', '.join(models))}; above, the first comparison to be made"
    )


def sweep_report(results: dict[str, Any]) -> str:
    """The tables, what they mean, and what could not be done."""
    models = [model for model in results["models"] if model["budget"] is not None]
    sections = [_section(results, model) for model in models]
    lines = [*_sentences(results), *_remarks(results), _files(results)]
    return "\n\n".join([*sections, "\n".join(lines)])


def stopped_sweep_report(results: dict[str, Any]) -> str:
    """What an interrupted sweep has finished, and how to go on."""
    done = [model for model in results["models"] if model["budget"] is not None]
    sections = [_section(results, model) for model in done] or ["No part is finished yet."]
    n, left = len(results["parts"]), len(results["left"])
    last = (
        f"Stopped with {left} of {n + left} parts left. "
        f"Go on with: hardprompt sweep --resume {pasted(results['run'])}"
    )
    return "\n\n".join([*sections, last])


def _section(results: dict[str, Any], model: dict[str, Any]) -> str:
    """One model: a row for each length, a column for each method."""
    parts = [p for p in results["parts"] if p["model"] == model["name"] and p["methods"]]
    found = {
        (part["length"], row["method"]): row
        for part in parts
        for row in part["methods"]
        if row["skipped"] is None
    }
    cells: dict[tuple[str, str], str] = {}
    for name in results["methods"]:
        if name in results["levels"]:
            # As in the plot: at the first length where it could be used.
            level = (row for (_, method), row in found.items() if method == name)
            cells[ANY, name] = _cell(next(level, None))
            continue
        best = _best_length(found, name)
        for length in (part["length"] for part in parts):
            cells[str(length), name] = _cell(found.get((length, name)), length == best)
    heads = [*([ANY] if results["levels"] else []), *(str(part["length"]) for part in parts)]
    rows = [
        [head, *(cells.get((head, name), "-") for name in results["methods"])] for head in heads
    ]
    title = f"{escape(model['name'])}, {short(model['parameters'])} parameters"
    return f"{title}\n{table(('length', *results['methods']), rows)}"


def _best_length(found: dict[tuple[int, str], dict[str, Any]], method: str) -> int | None:
    """The length that is best on dev; the shortest of equals."""
    lengths = [length for length, name in found if name == method]
    return max(lengths, key=lambda length: (found[length, method]["dev"], -length), default=None)


def _cell(row: dict[str, Any] | None, best: bool = False) -> str:
    if row is None:
        return "-"
    low, high = row["test_interval"]
    return f"{row['test']:.3f} [{low:.3f}, {high:.3f}]{' *' if best else ''}"


def _sentences(results: dict[str, Any]) -> list[str]:
    rows = results["task"]["rows"]
    costs = ", ".join(
        f"{escape(model['name'])} {model['budget']['rows']:,.0f}"
        for model in results["models"]
        if model["budget"] is not None
    )
    lines = [
        f"{results['metric']} on {rows['test']} test rows, with 95% intervals; higher is better. "
        "* the length that is best on dev, the only one to choose by.",
        f"Rows that each method may spend at each length: {costs}; "
        "those without a length are fitted once.",
    ]
    if len(results["seeds"]) > 1:
        listed = ", ".join(map(str, results["seeds"]))
        lines.append(f"Means over seeds {listed}; intervals are of the mean, over test rows only.")
    if rows["test"] < FEWEST_TEST_ROWS:
        lines.append(f"Only {rows['test']} test rows: too few rows for a test figure.")
    return lines


def _remarks(results: dict[str, Any]) -> list[str]:
    """What was skipped or not tuned: a line for each model and reason, with the lengths that it
    is of."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for part in results["parts"]:
        if part["skipped"] is not None:
            reasons.setdefault((part["model"], part["skipped"]), []).append(part["length"])
        for row in part["methods"]:
            if row["skipped"] is not None:
                why = f"{row['method']} not used, {row['skipped']}"
                reasons.setdefault((part["model"], why), []).append(part["length"])
        for why in untuned_line(part["methods"]):
            reasons.setdefault((part["model"], why), []).append(part["length"])
    return [
        f"{escape(model)}, {_lengths(lengths, results)}: {escape(why)}"
        for (model, why), lengths in reasons.items()
    ]


def _lengths(lengths: list[int], results: dict[str, Any]) -> str:
    if lengths == results["lengths"]:
        return "every length"
    return f"length {', '.join(map(str, lengths))}"


def _files(results: dict[str, Any]) -> str:
    sized = sum(model["parameters"] is not None for model in results["models"])
    plots = "length.svg, size.svg" if sized > 1 else "length.svg"
    return f"Files: {escape(results['run'])}/ with sweep.json, sweep.csv, {plots}"
