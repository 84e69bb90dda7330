"""Tables of cells: how those of a CSV are read, and what a spreadsheet would run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from hardprompt.errors import HardpromptError

MOST_CELL = 1024**2  # characters of a cell; Python's own limit is an eighth of it
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")


def quoted_rows(
    lines: Iterable[str], name: str, separator: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV, each with the line where it begins; `name` is what errors call the file.

    The lines must have their ends as they stand: a text in quotes may hold some.
    """
    # The limit is the process' own, so that it is only ever raised.
    csv.field_size_limit(max(MOST_CELL, csv.field_size_limit()))
    rows = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    try:
        for cells in rows:
            yield line, cells
            line = rows.line_num + 1
    except csv.Error as error:
        raise HardpromptError(f"{name} line {line} {_broken(error)}") from None


def _broken(error: csv.Error) -> str:
    if "field limit" in str(error):
        return (
            "holds a text of more than 1 MB; cut it, or look for a quote before it that is never "
            "closed"
        )
    return (
        f"is broken ({error}); a text with a quote in it stands between quotes, with its own "
        "quotes doubled"
    )


def unquoted(cell: str) -> str:
    """A cell that is a whole quoted one loses its quotes; any other is as it stands."""
    inner = cell[1:-1]
    if len(cell) < 2 or not cell.startswith('"') or not cell.endswith('"'):
        return cell
    return cell if '"' in inner.replace('""', "") else inner.replace('""', '"')


def safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
