"""Data files as records: JSONL, CSV and TSV by their ending, with the line of every record."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.tables import quoted_rows, unquoted

MOST_BYTES, MOST_LINE = 512 * 1024**2, 1024**2
OTHERS = {"semicolons": ";", "tabs": "\t", "commas": ","}


class Record(NamedTuple):
    """One record as it was read."""

    line: int  # of the file, from 1, where the record begins
    fields: dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """Every record of a `.jsonl`, `.csv` or `.tsv` file; raises with one line, naming the line.

    Texts may hold U+2028 and the like: lines of JSONL end with a line feed only. In CSV they may
    hold line feeds too, between quotes.
    """
    return list(_records(path))


def first_fields(path: Path) -> dict[str, Any]:
    """The fields of the first record; what stands behind it is not looked at."""
    return next(_records(path)).fields


def _records(path: Path) -> Iterator[Record]:
    """One after the other, the first at least."""
    read = READERS.get(path.suffix.lower())
    if read is None:
        endings = ", ".join(READERS)
        raise UsageError(f"'{path}' cannot be read: a data file ends with one of {endings}")
    records = read(path, _content(path))
    first = next(records, None)
    if first is None:
        raise HardpromptError(f"{path} is empty: it holds no row")
    yield first
    yield from records


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


def _read_jsonl(path: Path, content: str) -> Iterator[Record]:
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield Record(number, _object(path, number, line))


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    if len(line) > MOST_LINE:
        raise HardpromptError(f"{path} line {number} is longer than 1 MB")
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise HardpromptError(f"{path} line {number} is no JSON: {error.msg}") from None
    except ValueError:  # of numbers, Python reads no longer ones
        raise HardpromptError(
            f"{path} line {number} holds a number of thousands of digits; put it in quotes"
        ) from None
    except RecursionError:
        raise HardpromptError(f"{path} line {number} is nested too deeply") from None
    if not isinstance(found, dict):
        raise HardpromptError(f"{path} line {number} is no JSON object")
    return found


def _read_csv(path: Path, content: str) -> Iterator[Record]:
    return _with_header(path, _quoted(path, content, ","), "commas")


def _read_tsv(path: Path, content: str) -> Iterator[Record]:
    """Two kinds of TSV are about: without quotes, where a text may begin with one, and with
    quotes as in CSV, where a text may hold tabs and line feeds."""
    lines = content.replace("\r\n", "\n").split("\n")
    rows = [(n, line.split("\t")) for n, line in enumerate(lines, start=1) if line.strip()]
    if len({len(cells) for _, cells in rows}) > 1:
        return _with_header(path, _quoted(path, content, "\t"), "tabs")
    plain = ((n, [unquoted(cell) for cell in cells]) for n, cells in rows)
    return _with_header(path, plain, "tabs")


def _quoted(path: Path, content: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that say something."""
    for line, cells in quoted_rows(io.StringIO(content, newline=""), str(path), separator):
        if any(cell.strip() for cell in cells):
            yield line, cells


def _with_header(
    path: Path, rows: Iterable[tuple[int, list[str]]], separators: str
) -> Iterator[Record]:
    names: list[str] | None = None
    for line, cells in rows:
        if names is None:
            names = _names(path, cells, separators)
            continue
        if len(cells) != len(names):
            raise HardpromptError(
                f"{path} line {line} has {len(cells)} columns, but the first line names "
                f"{len(names)} ({', '.join(names)}); columns are separated by {separators}"
            )
        yield Record(line, dict(zip(names, cells, strict=True)))


def _names(path: Path, cells: list[str], separators: str) -> list[str]:
    names = [name.strip() for name in cells]
    others = [name for name, mark in OTHERS.items() if mark in names[0] and name != separators]
    if len(names) == 1 and others:  # spreadsheets of many countries write CSV with semicolons
        raise HardpromptError(
            f"{path}: the first line '{names[0]}' is a single column; columns are separated by "
            f"{separators}, not {others[0]}"
        )
    for name in names:
        if names.count(name) > 1:
            raise HardpromptError(f"{path}: the first line names the column '{name}' twice")
    return names


READERS: dict[str, Callable[[Path, str], Iterator[Record]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}
