"""The table of a comparison and a few sentences, from `table.json` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hardprompt.escaping import escape, pasted
from hardprompt.report.header import header
from hardprompt.report.text import digits, figure, gain, quoted, table

if TYPE_CHECKING:
    from hardprompt.session import Session

QUALITY = ("method", "dev", "test [95%]", "over best discrete", "readable", "portable")
SEEDS = "over seeds [95%]"  # behind `test`, where there are several
COST = (
    "method", "trained", "%", "stored", "%", "bytes", "rows", "forward", "backward", "s",
)  # fmt: skip
TEXT = 100  # characters of a prompt that are shown


def compare_header(session: Session, methods: Sequence[str], weights_price: float) -> str:
    """What is about to be compared: a search's header, the methods and what each may spend."""
    rows = len(session.task.search)
    budget = {"prompts": session.budget, "rows": session.budget * rows}
    cost = cost_line(budget, rows, session.space.gradient_price, weights_price)
    listed = f"methods   {', '.join(methods)}\ncost      {cost}"
    return f"{header(session, session.example(), None)}\n{listed}"


def compare_report(results: dict[str, Any]) -> str:
    """What each method gives and what it takes, what that means, the texts, the projection."""
    sections = [
        _quality(results),
        _cost(results),
        "\n".join(_sentences(results)),
        _texts(results),
        _gap(results),
        f"Table: {escape(results['run'])}/table.json and table.csv",
    ]
    return "\n\n".join(section for section in sections if section)


def stopped_compare_report(results: dict[str, Any]) -> str:
    """What an interrupted comparison has finished, and how to go on."""
    head = _quality(results) if results["methods"] else "No method is finished yet."
    return f"{head}\n\nStopped. Go on with: hardprompt compare --resume {pasted(results['run'])}"


def cost_line(
    budget: dict[str, float], search_rows: int, prompt_price: float, weights_price: float
) -> str:
    """What every method may spend."""
    return (
        f"{budget['prompts']:,.0f} prompts x {search_rows} rows = {budget['rows']:,.0f} rows a "
        f"method; a text read costs 1 row, with the gradient of a prompt {prompt_price:g}, of "
        f"weights {weights_price:g}"
    )


def _quality(results: dict[str, Any]) -> str:
    several, n = len(results["seeds"]) > 1, digits(results)
    head = [*QUALITY[:3], *([SEEDS] if several else []), *QUALITY[3:]]
    rows = []
    for row in results["methods"]:
        name = row["method"] + (" *" if row["method"] == results["best_discrete"] else "")
        if row["skipped"]:
            rows.append([name, *["-"] * (len(head) - 2), "not used"])
            continue
        rows.append(
            [
                name,
                figure(row["dev"], n),
                f"{figure(row['test'], n)} {_bounds(row['test_interval'], n)}",
                *([_bounds(row["test_runs_interval"], n)] if several else []),
                gain(row["gain"], row["gain_interval"], n),
                *("yes" if row[key] else "no" for key in ("readable", "portable")),
            ]
        )
    return table(head, rows)


def _cost(results: dict[str, Any]) -> str:
    rows = [
        [
            row["method"],
            *(
                cell
                for size in ("trained", "stored")
                for cell in (f"{row[size]:,.0f}", f"{100 * row[f'{size}_share']:.3g}")
            ),
            *(f"{row[key]:,.0f}" for key in ("bytes", "rows", "forward", "backward")),
            figure(row["seconds"], 1),
        ]
        for row in results["methods"]
        if not row["skipped"]
    ]
    return table(COST, rows) if rows else ""


def _bounds(interval: Sequence[float], n: int) -> str:
    low, high = interval
    return f"[{low:.{n}f}, {high:.{n}f}]"


def _sentences(results: dict[str, Any]) -> list[str]:
    rows, seeds = results["task"]["rows"], results["seeds"]
    prices = results["gradient_price"], results["weights_price"]
    cost = cost_line(results["budget"], rows["search"], *prices)
    lines = [
        f"dev, test: {results['metric']}, higher is better. readable: text to read and paste; "
        "portable: of use to another model.",
        f"budget: {cost}; rows: spent to fit and to choose, on search and dev, forward and with a "
        "backward pass; s: of that alone. trained, stored: numbers, a token is one; %: of the "
        "model's parameters.",
    ]
    if results["best_discrete"] is not None:
        lines.append(
            "* the best discrete prompt on dev, which the others are held to: gains are paired, on "
            "test, with 95% intervals; one that holds zero may be nothing."
        )
    if len(seeds) > 1:
        listed = ", ".join(map(str, seeds))
        lines.append(
            f"Means over seeds {listed}; [95%] says what other test rows would change, "
            "over seeds (t-interval) what other seeds would."
        )
    lines += untuned_line(results["methods"])
    if rows["test"] < 40:
        lines.append(f"Only {rows['test']} test rows: too few rows for a test figure.")
    lines += [
        f"{row['method']}: not used, {escape(row['skipped'])}"
        for row in results["methods"]
        if row["skipped"]
    ]
    return lines


def untuned_line(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Of which methods the budget paid for one training only, if of any; each is named once."""
    names = dict.fromkeys(row["method"] for row in rows if row.get("tuned") is False)
    why = "the budget pays for one trial, so no rate was tuned."
    return [f"{', '.join(names)}: {why}"] if names else []


def _texts(results: dict[str, Any]) -> str:
    shown = [[row["method"], _short(row["text"])] for row in results["methods"] if row["text"]]
    return table(("method", "what it reads"), shown, left=(0, 1)) if shown else ""


def _short(text: str) -> str:
    safe = quoted(text)
    return safe if len(safe) <= TEXT else f"{safe[: TEXT - 3]}..."


def _gap(results: dict[str, Any]) -> str:
    """From soft to hard: what rounding each place of the relaxation costs. Of several seeds that
    of the one whose text is shown, the best on dev."""
    runs = [run for row in results["methods"] if row["method"] == "relax" for run in row["runs"]]
    shown = max(runs, key=lambda run: run["dev"], default=None)
    gap = None if shown is None else shown["details"].get("gap")
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
