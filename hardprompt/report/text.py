"""Safe and plain text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hardprompt.config import FEWEST_TEST_ROWS
from hardprompt.escaping import escape
from hardprompt.tasks.schema import GENERATION

LONGEST = 28  # letters of a model's name where room is scarce
TOO_FEW = "too few rows for a test figure"


def quoted(prompt: str) -> str:
    """A prompt as it must be pasted; in quotes only where its end or beginning is a space."""
    safe = escape(prompt)
    return f'"{safe}"' if safe != safe.strip() or not safe else safe


def ending(name: str) -> str:
    """A long name without its beginning, which tells less than its end; as `escape` writes it."""
    safe = escape(name)
    return safe if len(safe) <= LONGEST else f"...{safe[3 - LONGEST :]}"


def figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def writes(results: dict[str, Any]) -> bool:
    """Whether the results are of texts that were written."""
    return bool(results["task"].get("kind") == GENERATION)


def digits(results: dict[str, Any]) -> int:
    """Decimals of the metric: of texts it is a figure of 0 to 100."""
    return 2 if writes(results) else 3


def gain(value: float | None, interval: Sequence[float] | None, digits: int = 3) -> str:
    """`+0.120 [+0.080, +0.160]`"""
    if value is None or interval is None:
        return "-"
    return f"{value:+.{digits}f} [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]"


def reported(
    value: float | None, interval: Sequence[float] | None, rows: int, digits: int = 3
) -> str:
    """`0.750 [0.551, 0.880]`, and beside it a warning where the rows are too few to rely on."""
    if interval is None:
        return figure(value, digits)
    few = "" if rows >= FEWEST_TEST_ROWS else f" ({TOO_FEW})"
    return f"{figure(value, digits)} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]{few}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns in line, two spaces apart; `left` are the columns of words."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])
