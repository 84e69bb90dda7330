"""Rows of tasks whose answer is a text: a source and the references that are right answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hardprompt.errors import HardpromptError
from hardprompt.tasks.files import read_records
from hardprompt.tasks.rows import SURROGATE, Part, Row, sampled
from hardprompt.tasks.schema import Example

SOURCE, REFERENCES = "source", "references"  # the fields of a file that says nothing else


def is_writing(path: Path | str) -> bool:
    """Whether the rows of a file have sources and references."""
    fields = read_records(Path(path))[0].fields
    return SOURCE in fields and REFERENCES in fields


def written(part: Part) -> tuple[Example, ...]:
    """Every row as source and references; raises at the first that cannot be used."""
    return tuple(
        Example(_text(part, row, part.text_field, row.text), references=references(part, row))
        for row in part.rows
    )


def references(part: Part, row: Row) -> tuple[str, ...]:
    """The right answers of a row: a list of texts, or a single one."""
    given = row.label if isinstance(row.label, list) else [row.label]
    if not given:
        raise HardpromptError(
            f"{part.path} line {row.line}: '{part.label_field}' must hold a text or more"
        )
    return tuple(_text(part, row, part.label_field, text) for text in given)


def pairs(rows: tuple[Example, ...], most: int | None, seed: int) -> tuple[Example, ...]:
    """At most so many pairs of a source and one of its references, in the order of the file."""
    each = tuple(
        replace(row, references=(reference,)) for row in rows for reference in row.references
    )
    return sampled(each, most, seed)


def _text(part: Part, row: Row, field: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise HardpromptError(
            f"{part.path} line {row.line}: '{field}' must be a non-empty text, got {value!r}"
        )
    if SURROGATE.search(value):
        raise HardpromptError(
            f"{part.path} line {row.line}: '{field}' holds half a character (a lone surrogate)"
        )
    return value.strip()
