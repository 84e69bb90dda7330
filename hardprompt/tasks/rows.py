"""Rows of a data file: their text and label, what is wrong with them, and samples of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hardprompt.errors import HardpromptError, unknown
from hardprompt.halves import SAID, broken
from hardprompt.tasks.files import Record, read_records
from hardprompt.tasks.schema import Example

# Fields that together tell a task of another kind.
OTHER_KINDS = (
    ("text pairs", ("text", "text2")),
    ("text pairs", ("text_a", "text_b")),
    ("text pairs", ("sentence1", "sentence2")),
    ("text pairs", ("premise", "hypothesis")),
    ("text pairs", ("question", "passage")),
    ("facts", ("relation", "subject", "object")),
)
WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
SHOWN = 12  # names in a message


class Row(NamedTuple):
    """Text and label of one record; nothing is judged yet."""

    line: int
    text: object
    label: object


class Fault(NamedTuple):
    """Why a row cannot be used."""

    kind: str  # empty, text, label or reference
    message: str


@dataclass(frozen=True)
class Part:
    """The rows of one split, and the file they are from."""

    path: Path
    rows: tuple[Row, ...]
    text_field: str = "text"
    label_field: str = "label"


def read_part(path: Path, text_field: str = "text", label_field: str = "label") -> Part:
    """The two fields of every record; raises where the file has no such field."""
    records = read_records(path)
    if (text_field, label_field) == ("text", "label"):
        _check_kind(records[0].fields, path)
    for field in (text_field, label_field):
        _check_field(records, path, field)
    rows = [Row(line, r.get(text_field), r.get(label_field)) for line, r in records]
    return Part(path, tuple(rows), text_field, label_field)


def _check_kind(fields: dict[str, Any], path: Path) -> None:
    """Refuses tasks that are no single-text classification, by their fields."""
    for kind, signs in OTHER_KINDS:
        if all(sign in fields for sign in signs):
            raise HardpromptError(
                f"{path} holds {kind} ({', '.join(signs)}), which is not supported yet; "
                "a row needs one 'text' and its 'label'"
            )


def _check_field(records: Sequence[Record], path: Path, field: str) -> None:
    names = dict.fromkeys(name for record in records for name in record.fields)
    if field not in names:
        raise unknown(f"field in {path}", field, names)


def label_name(value: object) -> str | None:
    """A label as a name, whether a file holds words or numbers; None where there is none."""
    if isinstance(value, str):
        return None if broken(value) else value.strip() or None
    if isinstance(value, bool):
        return str(value).lower()  # as JSON writes it
    if isinstance(value, (int, float)) and value == value:
        return str(value)
    return None


def found_names(part: Part) -> tuple[str, ...]:
    """The labels' names as they stand in the rows, sorted."""
    names = {label_name(row.label) for row in part.rows}
    return tuple(sorted(name for name in names if name is not None))


class Classes:
    """The classes of a task, as its rows may call them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._places: dict[str | None, int] = {name: n for n, name in enumerate(self.names)}
        # Where names are numbers themselves, a number that is none of them means no class.
        self._numbered = any(WHOLE.fullmatch(name) for name in self.names)

    def of(self, label: object) -> int | None:
        """The class that a row's label means: a name, or else a place in the list of names."""
        place = self._places.get(label_name(label))
        if place is not None or self._numbered:
            return place
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(self.names):
            return label
        return None

    def name_of(self, label: object) -> str:
        """The name of that class; of a label that means none its own, or nothing."""
        place = self.of(label)
        return (label_name(label) or "") if place is None else self.names[place]


def fault(part: Part, row: Row, classes: Classes) -> Fault | None:
    """What keeps a row with a label from being used; None: nothing."""
    wrong = text_fault(part, row)
    if wrong is not None or classes.of(row.label) is not None:
        return wrong
    where = f"{part.path} line {row.line}"
    return Fault(
        "label", f"{where}: unknown label {row.label!r}; {_hint(row.label, classes.names)}"
    )


def text_fault(part: Part, row: Row) -> Fault | None:
    """What keeps the text of a row from being read; None: nothing."""
    where = f"{part.path} line {row.line}"
    text = row.text
    if text is None or (isinstance(text, str) and not text.strip()):
        return Fault(
            "empty", f"{where}: '{part.text_field}' must be a non-empty text, got {text!r}"
        )
    if not isinstance(text, str):
        return Fault("text", f"{where}: '{part.text_field}' must be a text, got {text!r}")
    if broken(text):
        return Fault("text", f"{where}: '{part.text_field}' {SAID}")
    return None


def _hint(label: object, names: Sequence[str]) -> str:
    near = get_close_matches(str(label), names, n=1, cutoff=0.5)
    if near and len(names) > 2:
        return f"did you mean '{near[0]}'?"
    return f"the labels are {listed(names)}"


def listed(names: Iterable[str]) -> str:
    """Names for a message: a dozen, then how many more."""
    shown = list(names)
    more = f" and {len(shown) - SHOWN:,} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more


def examples(part: Part, classes: Classes) -> tuple[Example, ...]:
    """Every row as text and class; raises at the first that cannot be used."""
    found = []
    for row in part.rows:
        wrong = fault(part, row, classes)
        if wrong is not None:
            raise HardpromptError(wrong.message)
        index = classes.of(row.label)
        assert isinstance(row.text, str)
        assert index is not None
        found.append(Example(row.text.strip(), index))
    return tuple(found)


def same_text(text: object) -> str:
    """A key that equal texts share, whatever their case and spaces."""
    return " ".join(str(text).casefold().split())


def sampled(rows: tuple[Example, ...], most: int | None, seed: int) -> tuple[Example, ...]:
    """At most so many rows, in the order of the file."""
    if most is None or len(rows) <= most:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), size=most, replace=False)
    return tuple(rows[i] for i in np.sort(chosen))


def stratified(rows: tuple[Example, ...], most: int | None, seed: int) -> tuple[Example, ...]:
    """At most so many rows, the classes in their proportions, in the order of the file."""
    if most is None or len(rows) <= most:
        return rows
    labels = np.array([row.label for row in rows])
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * most / len(rows)
    quota = np.floor(exact).astype(int)
    # Largest remainder; the stable sort gives ties to the first class.
    for c in np.argsort(-(exact - quota), kind="stable")[: most - quota.sum()]:
        quota[c] += 1
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(np.flatnonzero(labels == c), size=n, replace=False)
        for c, n in zip(classes, quota, strict=True)
    ]
    return tuple(rows[i] for i in np.sort(np.concatenate(chosen)))
