"""Data files as records: JSONL, CSV and TSV by their ending, with the line of every record."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hardprompt.errors import HardpromptError, UsageError

MOST_BYTES, MOST_LINE = 512 * 1024**2, 1024**2


class Record(NamedTuple):
    """One record as it was read."""

    line: int  # of the file, from 1, where the record begins
    fields: dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """Every record of a `.jsonl`, `.csv` or `.tsv` file; raises with one line, naming the line.

    Texts may hold U+2028 and the like: lines of JSONL end with a line feed only. In CSV they may
    hold line feeds too, between quotes.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        endings = ", ".join(READERS)
        raise UsageError(f"'{path}' cannot be read: a data file ends with one of {endings}")
    records = read(path, _content(path))
    if not records:
        raise HardpromptError(f"{path} is empty: it holds no row")
    return records


def _content(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise HardpromptError(f"{path} has {size / 1e6:.0f} MB; at most 512 are read")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise HardpromptError(f"no data file '{path}'") from None
    except UnicodeDecodeError as error:
        raise HardpromptError(
            f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8"
        ) from None
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None


def _read_jsonl(path: Path, content: str) -> list[Record]:
    return [
        Record(number, _object(path, number, line))
        for number, line in enumerate(content.split("\n"), start=1)
        if line.strip()
    ]


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    if len(line) > MOST_LINE:
        raise HardpromptError(f"{path} line {number} is longer than 1 MB")
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise HardpromptError(f"{path} line {number} is no JSON: {error.msg}") from None
    except RecursionError:
        raise HardpromptError(f"{path} line {number} is nested too deeply") from None
    if not isinstance(found, dict):
        raise HardpromptError(f"{path} line {number} is no JSON object")
    return found


def _read_csv(path: Path, content: str) -> list[Record]:
    return _with_header(path, _quoted_rows(path, content, ","), "commas")


def _read_tsv(path: Path, content: str) -> list[Record]:
    """Two kinds of TSV are about: without quotes, where a text may begin with one, and with
    quotes as in CSV, where a text may hold tabs and line feeds."""
    lines = content.replace("\r\n", "\n").split("\n")
    rows = [(n, line.split("\t")) for n, line in enumerate(lines, start=1) if line.strip()]
    if len({len(cells) for _, cells in rows}) > 1:
        rows = _quoted_rows(path, content, "\t")
    else:
        rows = [(n, [_unquoted(cell) for cell in cells]) for n, cells in rows]
    return _with_header(path, rows, "tabs")


def _unquoted(cell: str) -> str:
    """A cell that is a whole quoted one loses its quotes; any other is as it stands."""
    inner = cell[1:-1]
    if len(cell) < 2 or not cell.startswith('"') or not cell.endswith('"'):
        return cell
    return cell if '"' in inner.replace('""', "") else inner.replace('""', '"')


def _quoted_rows(path: Path, content: str, separator: str) -> list[tuple[int, list[str]]]:
    """Rows with the line where each begins."""
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise HardpromptError(
            f"{path} line {line} is broken ({error}); a text with a quote in it stands between "
            "quotes, with its own quotes doubled"
        ) from None
    return rows


def _with_header(path: Path, rows: list[tuple[int, list[str]]], separators: str) -> list[Record]:
    if not rows:
        return []
    names = [name.strip() for name in rows[0][1]]
    for name in names:
        if names.count(name) > 1:
            raise HardpromptError(f"{path}: the first line names the column '{name}' twice")
    for line, cells in rows[1:]:
        if len(cells) != len(names):
            raise HardpromptError(
                f"{path} line {line} has {len(cells)} columns, but the first line names "
                f"{len(names)} ({', '.join(names)}); columns are separated by {separators}"
            )
    return [Record(line, dict(zip(names, cells, strict=True))) for line, cells in rows[1:]]


READERS: dict[str, Callable[[Path, str], list[Record]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}
