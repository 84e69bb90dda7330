"""Texts read row by row and predictions written row by row: a million of them fit in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hardprompt.errors import HardpromptError, UsageError, unknown

KINDS = ("txt", "csv", "tsv", "jsonl")
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class TextRow:
    """One row of the input: the text to classify, and all of its fields."""

    text: str  # without space around it; empty where there is nothing to read
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Prediction:
    """One row of the output, with label and probabilities or with what was written; without
    either where the text was empty."""

    fields: Mapping[str, Any]
    label: str | None = None
    probabilities: Mapping[str, float] | None = None
    written: str | None = None

    def answer(self, labels: Sequence[str]) -> dict[str, Any]:
        """What is added to the fields; without labels it is a text."""
        if not labels:
            return {"written": self.written}
        return {"label": self.label, "probabilities": self.probabilities}

    def cells(self, labels: Sequence[str]) -> dict[str, Any]:
        """The same as columns of a table."""
        if not labels:
            return {"written": self.written or ""}
        figures = self.probabilities or {}
        each = {f"p_{label}": figures.get(label, "") for label in labels}
        return {"label": self.label or "", **each}


def kind_of(path: Path, known: Sequence[str]) -> str:
    """The format that a file's name ends in."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in known:
        endings = ", ".join(f".{name}" for name in known)
        raise UsageError(f"'{path}' must end in one of {endings}")
    return kind


def read_texts(file: TextIO, kind: str, field: str, name: str) -> Iterator[TextRow]:
    """Rows in their order; `name` is what errors call the file, with the number of the line.

    A blank line of a txt file is an empty text; anywhere else it is nothing. A TSV has one row a
    line; in a CSV a text in quotes may hold line ends.
    The file must be open without translation of line ends: a text may hold U+2028.
    """
    reader: Iterator[TextRow]
    if kind == "txt":
        reader = _read_lines(file)
    elif kind == "jsonl":
        reader = _read_objects(file, field, name)
    else:
        reader = _read_table(file, kind, field, name)
    try:
        yield from reader
    except UnicodeDecodeError as error:
        raise HardpromptError(f"{name} is not UTF-8 text ({error.reason})") from None


def _lines(file: TextIO) -> Iterator[str]:
    return (line.removesuffix("\n").removesuffix("\r") for line in file)


def _read_lines(file: TextIO) -> Iterator[TextRow]:
    for line in _lines(file):
        yield TextRow(line.strip(), {"text": line})


def _read_objects(file: TextIO, field: str, name: str) -> Iterator[TextRow]:
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise HardpromptError(f"{name} line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise HardpromptError(f"{name} line {number} is no JSON object")
        if field not in row:
            raise _no_field(f"{name} line {number}", field, row)
        text = row[field]
        if text is not None and not isinstance(text, str):
            raise HardpromptError(f"{name} line {number}: '{field}' must be a text, got {text!r}")
        yield TextRow((text or "").strip(), row)


def _read_table(file: TextIO, kind: str, field: str, name: str) -> Iterator[TextRow]:
    rows = _quoted_rows(file, name) if kind == "csv" else _tabbed_rows(file)
    _, head = next(rows, (0, []))
    head = [column.strip() for column in head]
    if not head:
        raise HardpromptError(f"{name} is empty; its first line must name the fields")
    if field not in head:
        raise _no_field(name, field, head)
    if len(set(head)) < len(head):
        raise HardpromptError(f"{name} names a field twice: {', '.join(head)}")
    place = head.index(field)
    for line, cells in rows:
        if len(cells) != len(head):
            raise HardpromptError(
                f"{name} line {line} has {len(cells)} fields, but the first line names {len(head)}"
            )
        yield TextRow(cells[place].strip(), dict(zip(head, cells, strict=True)))


def _quoted_rows(file: TextIO, name: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV, each with the line where it ends."""
    rows = csv.reader(file, strict=True)
    try:
        for cells in rows:
            if cells:
                yield rows.line_num, cells
    except csv.Error as error:
        raise HardpromptError(
            f"{name} line {rows.line_num} is broken ({error}); a text with a quote in it stands "
            "between quotes, with its own quotes doubled"
        ) from None


def _tabbed_rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Rows of a TSV: a text may begin with a quote, but not hold a line end."""
    for number, line in enumerate(_lines(file), start=1):
        if line.strip():
            yield number, [_unquoted(cell) for cell in line.split("\t")]


def _unquoted(cell: str) -> str:
    """A cell that is a whole quoted one loses its quotes; any other is as it stands."""
    inner = cell[1:-1].replace('""', "")
    if len(cell) < 2 or cell[0] + cell[-1] != '""' or '"' in inner:
        return cell
    return cell[1:-1].replace('""', '"')


def _no_field(where: str, field: str, known: Sequence[str] | Mapping[str, Any]) -> UsageError:
    return UsageError(f"{where}: {unknown('field', field, known)} Choose one with --text-field")


def writer(file: TextIO, kind: str, labels: Sequence[str]) -> Callable[[Prediction], None]:
    """Writes one prediction a call, as a line of JSON or a row of CSV; no labels: texts."""
    return (_json_writer if kind == "jsonl" else _table_writer)(file, labels)


def _json_writer(file: TextIO, labels: Sequence[str]) -> Callable[[Prediction], None]:
    def write(row: Prediction) -> None:
        found = row.answer(labels)
        file.write(json.dumps(_kept(row.fields, found) | found, ensure_ascii=False) + "\n")

    return write


def _table_writer(file: TextIO, labels: Sequence[str]) -> Callable[[Prediction], None]:
    # Lines end with CR LF, as RFC 4180 has it: only then is a cell that holds a CR quoted.
    table = csv.writer(file, lineterminator="\r\n")
    head: list[str] = []

    def write(row: Prediction) -> None:
        own = row.cells(labels)
        fields = _kept(row.fields, own)
        if not head:
            head.extend(fields)
            table.writerow([_safe(name) for name in [*head, *own]])
        if list(fields) != head:
            raise HardpromptError(
                f"a row has the fields {', '.join(fields)}, the first one {', '.join(head)}; "
                "a table needs the same in every row, a .jsonl file does not"
            )
        added = (_safe(cell) if isinstance(cell, str) else cell for cell in own.values())
        table.writerow([*(_safe(_cell(fields[name])) for name in head), *added])

    return write


def _kept(fields: Mapping[str, Any], own: Container[str]) -> dict[str, Any]:
    """The input's fields; one that has a name of ours is kept as `input_...`."""
    return {f"input_{name}" if name in own else name: value for name, value in fields.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
