"""Texts read row by row and predictions written row by row: a million of them fit in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from hardprompt.errors import HardpromptError, UsageError, unknown
from hardprompt.halves import SAID, broken
from hardprompt.tables import quoted_rows, safe, unquoted

KINDS = ("txt", "csv", "tsv", "jsonl")
EARLY = 512  # rows of a JSONL file among which the first must be that has the field


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


def read_texts(
    file: TextIO,
    kind: str,
    field: str,
    name: str,
    on_head: Callable[[Sequence[str]], None] = lambda names: None,
) -> Iterator[TextRow]:
    """Rows in their order; `name` is what errors call the file, with the number of the line.

    A blank line of a txt file is an empty text; anywhere else it is nothing. A TSV has one row a
    line; in a CSV a text in quotes may hold line ends. A row of JSONL without the field has no
    text; `on_head` is told the fields of a table before its rows.
    The file must be open without translation of line ends: a text may hold U+2028.
    """
    reader: Iterator[TextRow]
    if kind == "txt":
        reader = _read_lines(file)
    elif kind == "jsonl":
        reader = _read_objects(file, field, name)
    else:
        reader = _read_table(file, kind, field, name, on_head)
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
    """Rows without the field wait for the first that has it: it may be the wrong one."""
    early: list[TextRow] = []
    found = False
    for where, row in _objects(file, name):
        found = found or field in row
        early.append(TextRow(_text_of(row, field, where), row))
        if found:
            yield from early
            early.clear()
        elif len(early) == EARLY:
            break
    if early:
        raise _no_field(name, field, dict.fromkeys(key for row in early for key in row.fields))


def _objects(file: TextIO, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each object of a JSONL file stands, and what it holds that can be written again."""
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            row = json.loads(line, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise HardpromptError(f"{where} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise HardpromptError(f"{where} is no JSON object")
        if "\\u" in line and broken(json.dumps(row, ensure_ascii=False)):
            raise HardpromptError(f"{where} {SAID}")
        yield where, row


def _finite(number: str) -> float | None:
    """NaN and infinities, which many programs write, are no JSON: nothing stands in their place."""
    value = float(number)
    return value if isfinite(value) else None


def _text_of(row: Mapping[str, Any], field: str, where: str) -> str:
    text = row.get(field)
    if text is not None and not isinstance(text, str):
        raise HardpromptError(f"{where}: '{field}' must be a text, got {text!r}")
    return (text or "").strip()


def _read_table(
    file: TextIO, kind: str, field: str, name: str, on_head: Callable[[Sequence[str]], None]
) -> Iterator[TextRow]:
    rows = _quoted_rows(file, name) if kind == "csv" else _tabbed_rows(file)
    _, head = next(rows, (0, []))
    head = [column.strip() for column in head]
    if not head:
        raise HardpromptError(f"{name} is empty; its first line must name the fields")
    if field not in head:
        raise _no_field(name, field, head)
    if len(set(head)) < len(head):
        raise HardpromptError(f"{name} names a field twice: {', '.join(head)}")
    on_head(head)
    place = head.index(field)
    for line, cells in rows:
        if len(cells) != len(head):
            raise HardpromptError(
                f"{name} line {line} has {len(cells)} fields, but the first line names {len(head)}"
            )
        yield TextRow(cells[place].strip(), dict(zip(head, cells, strict=True)))


def _quoted_rows(file: TextIO, name: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV but for blank lines; a row of empty cells is one without a text."""
    return ((line, cells) for line, cells in quoted_rows(file, name) if cells)


def _tabbed_rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Rows of a TSV: a text may begin with a quote, but not hold a line end. As in a CSV, a row of
    empty cells is one without a text."""
    for number, line in enumerate(_lines(file), start=1):
        if line.strip(" "):
            yield number, [unquoted(cell) for cell in line.split("\t")]


def _no_field(where: str, field: str, known: Sequence[str] | Mapping[str, Any]) -> UsageError:
    return UsageError(f"{where}: {unknown('field', field, known)} Choose one with --text-field")


class JsonWriter:
    """Writes one prediction a call, as a line of JSON; no labels: texts."""

    def __init__(self, file: TextIO, labels: Sequence[str]) -> None:
        self._file, self._labels = file, labels

    def head(self, names: Sequence[str]) -> None:
        """Every row names its own fields."""

    def __call__(self, row: Prediction) -> None:
        found = row.answer(self._labels)
        line = json.dumps(_kept(row.fields, found) | found, ensure_ascii=False)
        self._file.write(line + "\n")


class TableWriter:
    """Writes one prediction a call, as a row of a CSV; no labels: texts."""

    def __init__(self, file: TextIO, labels: Sequence[str]) -> None:
        # Lines end with CR LF, as RFC 4180 has it: only then is a cell that holds a CR quoted.
        self._table = csv.writer(file, lineterminator="\r\n")
        self._labels = labels
        self._names: list[str] | None = None

    def head(self, names: Iterable[str]) -> None:
        """Writes the names of the input's fields, and of ours behind them."""
        own = Prediction({}).cells(self._labels)
        self._names = list(_kept(dict.fromkeys(names), own))
        self._table.writerow([safe(name) for name in [*self._names, *own]])

    def __call__(self, row: Prediction) -> None:
        own = row.cells(self._labels)
        fields = _kept(row.fields, own)
        if self._names is None:
            self.head(row.fields)
        assert self._names is not None
        if fields.keys() != set(self._names):
            first = ", ".join(self._names)
            raise HardpromptError(
                f"a row has the fields {', '.join(fields)}, the first one {first}; "
                "a table needs the same in every row, a .jsonl file does not"
            )
        added = (safe(cell) if isinstance(cell, str) else cell for cell in own.values())
        self._table.writerow([*(safe(_cell(fields[name])) for name in self._names), *added])


WRITERS: dict[str, type[JsonWriter] | type[TableWriter]] = {
    "jsonl": JsonWriter,
    "csv": TableWriter,
}


def _kept(fields: Mapping[str, Any], own: Container[str]) -> dict[str, Any]:
    """The input's fields; one that has a name of ours is kept as `input_...`."""
    return {_renamed(name, fields, own): value for name, value in fields.items()}


def _renamed(name: str, fields: Container[str], own: Container[str]) -> str:
    if name not in own:
        return name
    while name in own or name in fields:
        name = f"input_{name}"
    return name


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
