"""Texts that prompts wrote: their figures by every metric, and a few of them."""

from __future__ import annotations

from typing import Any

from hardprompt.report.text import escape, figure, table

NAMES = {"best": "best prompt", "manual": "best manual", "empty": "(no prompt)"}
TEXT = 200  # characters of a text that are shown


def text_metrics(written: dict[str, Any]) -> str:
    """Every metric on test, of the best prompt and of the baselines."""
    metrics = written["metrics"]
    who = [name for name in NAMES if name in metrics[0]]
    rows = [[NAMES[name], *(figure(row[name], 2) for row in metrics)] for name in who]
    return table(("written on test", *(row["label"] for row in metrics)), rows)


def samples(written: dict[str, Any]) -> str:
    """The first test rows: source, reference, and what was written."""
    blocks = []
    for row in written["samples"]:
        lines = {"source": row["source"], "reference": row["references"][0]}
        lines |= {NAMES[name]: row[name] for name in NAMES if name in row}
        blocks.append("\n".join(f"{name:<12} {_short(text)}" for name, text in lines.items()))
    return "Written on test\n" + "\n\n".join(blocks)


def _short(text: str) -> str:
    safe = escape(text)
    return safe if len(safe) <= TEXT else f"{safe[: TEXT - 3]}..."
