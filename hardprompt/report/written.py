"""Texts that prompts wrote: their figures by every metric, and a few of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hardprompt.report.text import figure, quoted, table

EMPTY, MANUAL = "(no prompt)", "best manual"
NAMES = {"best": "best prompt", "manual": MANUAL, "empty": EMPTY}  # of a search
TEXT = 200  # characters of a text that are shown


def text_metrics(written: dict[str, Any], names: Mapping[str, str], split: str = "test") -> str:
    """Every metric on a split; `names` are who wrote, in the order of the lines."""
    metrics = written["metrics"]
    rows = [
        [shown, *(figure(row[name], 2) for row in metrics)]
        for name, shown in names.items()
        if name in metrics[0]
    ]
    return table((f"written on {split}", *(row["label"] for row in metrics)), rows)


def samples(written: dict[str, Any], names: Mapping[str, str], split: str = "test") -> str:
    """The first rows of a split: source, reference, and what was written."""
    width = max(map(len, ("reference", *names.values())))
    blocks = []
    for row in written["samples"]:
        lines = {"source": row["source"], "reference": row["references"][0]}
        lines |= {shown: row[name] for name, shown in names.items() if name in row}
        blocks.append("\n".join(f"{name:<{width}} {_short(text)}" for name, text in lines.items()))
    return f"Written on {split}\n" + "\n\n".join(blocks)


def _short(text: str) -> str:
    safe = quoted(text)
    return safe if len(safe) <= TEXT else f"{safe[: TEXT - 3]}..."
