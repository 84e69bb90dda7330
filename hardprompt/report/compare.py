"""The table of a comparison and a few sentences, from `table.json` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hardprompt.report.header import header
from hardprompt.report.text import escape, figure, gain, quoted, table

if TYPE_CHECKING:
    from hardprompt.session import Session

HEAD = (
    "method", "trained", "stored", "bytes", "rows", "s", "dev", "test [95%]",
    "over best discrete", "readable",
)  # fmt: skip
TEXT = 100  # characters of a prompt that are shown


def compare_header(session: Session, methods: Sequence[str]) -> str:
    """What is about to be compared: a search's header, the methods and what each may spend."""
    rows = len(session.task.search)
    budget = {"prompts": session.budget, "rows": session.budget * rows}
    cost = cost_line(budget, rows, session.space.gradient_price)
    listed = f"methods   {', '.join(methods)}\ncost      {cost}"
    return f"{header(session, session.example(), None)}\n{listed}"


def compare_report(results: dict[str, Any]) -> str:
    """Table, what its columns mean, the texts, and what projection cost."""
    sections = [
        table(HEAD, [_row(row, results["best_discrete"]) for row in results["methods"]]),
        "\n".join(_sentences(results)),
        _texts(results),
        _gap(results),
        f"Table: {escape(results['run'])}/table.json and table.csv",
    ]
    return "\n\n".join(section for section in sections if section)


def stopped_compare_report(results: dict[str, Any]) -> str:
    """What an interrupted comparison has finished, and how to go on."""
    rows = [_row(row, results["best_discrete"]) for row in results["methods"]]
    head = table(HEAD, rows) if rows else "No method is finished yet."
    return f"{head}\n\nStopped. Go on with: hardprompt compare --resume {escape(results['run'])}"


def cost_line(budget: dict[str, float], search_rows: int, price: float) -> str:
    """What every method may spend."""
    return (
        f"{budget['prompts']:,.0f} prompts x {search_rows} rows = {budget['rows']:,.0f} rows a "
        f"method; a text read costs 1 row, with its gradient {price:g}"
    )


def _row(row: dict[str, Any], best: str | None) -> list[str]:
    if row["skipped"]:
        return [row["method"], *["-"] * 6, "-", "-", "not used"]
    low, high = row["test_interval"]
    return [
        row["method"] + (" *" if row["method"] == best else ""),
        *(f"{row[key]:,.0f}" for key in ("trained", "stored", "bytes", "rows")),
        figure(row["seconds"], 1),
        figure(row["dev"]),
        f"{row['test']:.3f} [{low:.3f}, {high:.3f}]",
        gain(row["gain"], row["gain_interval"]),
        "yes" if row["readable"] else "no",
    ]


def _sentences(results: dict[str, Any]) -> list[str]:
    rows, seeds = results["task"]["rows"], results["seeds"]
    cost = cost_line(results["budget"], rows["search"], results["gradient_price"])
    lines = [
        f"budget: {cost}; rows: spent to fit and to choose, on search and dev; s: of that alone. "
        f"dev, test: {results['metric']}, higher is better. "
        "trained, stored: numbers, a token is one.",
        "* the best discrete prompt on dev, which the others are held to: gains are paired, on "
        "test, with 95% intervals; one that holds zero may be nothing.",
    ]
    if len(seeds) > 1:
        listed = ", ".join(map(str, seeds))
        lines.append(f"Means over seeds {listed}; intervals are of the mean, over test rows only.")
    if rows["test"] < 40:
        lines.append(f"Only {rows['test']} test rows: too few rows for a test figure.")
    lines += [
        f"{row['method']}: not used, {escape(row['skipped'])}"
        for row in results["methods"]
        if row["skipped"]
    ]
    return lines


def _texts(results: dict[str, Any]) -> str:
    shown = [[row["method"], _short(row["text"])] for row in results["methods"] if row["text"]]
    return table(("method", "what it reads"), shown, left=(0, 1)) if shown else ""


def _short(text: str) -> str:
    safe = quoted(text)
    return safe if len(safe) <= TEXT else f"{safe[: TEXT - 3]}..."


def _gap(results: dict[str, Any]) -> str:
    """From soft to hard: what rounding each place of the relaxation costs."""
    runs = [run for row in results["methods"] if row["method"] == "relax" for run in row["runs"]]
    gap = next((run["details"]["gap"] for run in runs if run["details"].get("gap")), None)
    if gap is None:
        return ""
    rows = [
        [
            quoted(place["token"].strip()),
            figure(place["cosine"]),
            figure(place["alone"]),
            figure(place["so_far"]),
        ]
        for place in gap["places"]
    ]
    return (
        f"relax, from soft to hard: search loss {figure(gap['soft'])} as trained, "
        f"{figure(gap['hard'])} as the nearest words, before they are repaired\n"
        + table(("place", "cosine", "rounded alone", "rounded up to here"), rows)
    )
