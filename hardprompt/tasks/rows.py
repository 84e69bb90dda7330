"""Labelled rows from JSONL files, with errors that name file and line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt.errors import HardpromptError
from hardprompt.tasks.schema import Example

MOST_BYTES, MOST_LINE = 512 * 1024**2, 1024**2
# Fields by which a task of another kind is known.
OTHER_KINDS = {
    "references": "text generation",
    "passage": "question answering on a passage",
    "premise": "sentence pairs",
    "sentence2": "sentence pairs",
    "text_b": "sentence pairs",
    "hypothesis": "sentence pairs",
    "subject": "facts",
    "object": "facts",
    "source": "text generation",
}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """JSON objects, one a line. Lines end with a line feed only: texts may hold U+2028."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise HardpromptError(f"{path} has {size / 1e6:.0f} MB; at most 512 are read")
        content = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise HardpromptError(f"no data file '{path}'") from None
    except UnicodeDecodeError as error:
        raise HardpromptError(f"{path} is not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            rows.append(_row(path, number, line))
    if not rows:
        raise HardpromptError(f"{path} is empty; it needs one JSON object a line")
    return rows


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    if len(line) > MOST_LINE:
        raise HardpromptError(f"{path} line {number} is longer than 1 MB")
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise HardpromptError(f"{path} line {number} is no JSON: {error.msg}") from None
    if not isinstance(row, dict):
        raise HardpromptError(f"{path} line {number} is no JSON object")
    row["__line__"] = number
    return row


def label_names(rows: Sequence[dict[str, Any]], path: Path) -> tuple[str, ...]:
    """The names found in the data, sorted."""
    check_kind(rows[0], path)
    return tuple(sorted({str(row.get("label")) for row in rows}))


def check_kind(row: dict[str, Any], path: Path) -> None:
    """Refuses tasks that are no single-text classification, by their fields."""
    if isinstance(row.get("text"), str) and "label" in row:
        return
    for field, kind in OTHER_KINDS.items():
        if field in row:
            raise HardpromptError(
                f"{path} holds {kind} (its rows have '{field}'), which is not supported yet; "
                "rows need 'text' and 'label'"
            )


def examples(
    rows: Sequence[dict[str, Any]], path: Path, names: Sequence[str]
) -> tuple[Example, ...]:
    """Checked rows; a label is a name, or an index into the names."""
    check_kind(rows[0], path)
    numbers = {name: index for index, name in enumerate(names)}
    found = []
    for row in rows:
        where = f"{path} line {row['__line__']}"
        text, label = row.get("text"), row.get("label")
        if not isinstance(text, str) or not text.strip():
            raise HardpromptError(f"{where}: 'text' must be a non-empty text, got {text!r}")
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names):
            index = numbers.get(str(label), label)
        elif isinstance(label, str) and label in numbers:
            index = numbers[label]
        else:
            raise HardpromptError(
                f"{where}: unknown label {label!r}; the labels are {', '.join(names)}"
            )
        found.append(Example(text.strip(), index))
    return tuple(found)


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
