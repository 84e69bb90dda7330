"""Rows of tasks whose answer is a text: a source and the references that are right answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hardprompt.errors import HardpromptError
from hardprompt.halves import SAID, broken
from hardprompt.tasks.files import first_fields
from hardprompt.tasks.rows import Fault, Part, Row, sampled, text_fault
from hardprompt.tasks.schema import Example

SOURCE, REFERENCES = "source", "references"  # the fields of a file that says nothing else


def is_writing(path: Path | str) -> bool:
    """Whether the rows of a file have sources and references, and no texts with labels."""
    fields = first_fields(Path(path))
    labelled = "text" in fields and "label" in fields
    return SOURCE in fields and REFERENCES in fields and not labelled


def written(part: Part) -> tuple[Example, ...]:
    """Every row as source and references; raises at the first that cannot be used."""
    found = []
    for row in part.rows:
        wrong = row_fault(part, row)
        if wrong is not None:
            raise HardpromptError(wrong.message)
        found.append(example(row))
    return tuple(found)


def example(row: Row) -> Example:
    """A row without fault as source and references."""
    return Example(str(row.text).strip(), references=references(row))


def references(row: Row) -> tuple[str, ...]:
    """The right answers of a row without fault: a list of texts, or a single one."""
    return tuple(str(text).strip() for text in _listed(row))


def row_fault(part: Part, row: Row) -> Fault | None:
    """What keeps a row with references from being used; None: nothing."""
    wrong = text_fault(part, row)
    if wrong is not None:
        return wrong
    where, given = f"{part.path} line {row.line}: '{part.label_field}'", _listed(row)
    if not given:
        return Fault("reference", f"{where} must hold a text or more")
    for text in given:
        if not isinstance(text, str) or not text.strip():
            return Fault("reference", f"{where} must be a non-empty text, got {text!r}")
        if broken(text):
            return Fault("reference", f"{where} {SAID}")
    return None


def pairs(rows: tuple[Example, ...], most: int | None, seed: int) -> tuple[Example, ...]:
    """At most so many pairs of a source and one of its references, in the order of the file."""
    each = tuple(
        replace(row, references=(reference,)) for row in rows for reference in row.references
    )
    return sampled(each, most, seed)


def _listed(row: Row) -> list[object]:
    return row.label if isinstance(row.label, list) else [row.label]
