"""One thing that is wrong with the rows of a task, and where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from hardprompt.tasks.draft import SPLITS, Draft
from hardprompt.tasks.rows import Part, Row, same_text

Place = tuple[str, int]  # a split or file, and a line in it, from 1
Places = tuple[tuple[Place, ...], ...]  # those of one text together


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one line, and the rows it is about."""

    kind: str
    message: str  # their number and the rows follow it
    rows: Places = ()
    breaks: bool = False  # whether a search would stop at it


def files_of(draft: Draft) -> dict[str, Part]:
    """Every file of the task once: by its split, or by its own name if all splits are of it."""
    if draft.whole is not None:
        return {draft.whole.path.name: draft.whole}
    return {split: draft.parts[split] for split in SPLITS}


def each(name: str, rows: Iterable[Row]) -> Places:
    """Rows of one file, each by itself."""
    return tuple(((name, row.line),) for row in rows)


def together(name: str, groups: Iterable[Iterable[Row]]) -> Places:
    """Rows of one file, those of a group in one."""
    return tuple(tuple((name, row.line) for row in group) for group in groups)


def by_text(part: Part) -> dict[str, list[Row]]:
    """The rows of each text, whatever its case and spaces."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in part.rows:
        key = same_text(row.text) if isinstance(row.text, str) else ""
        if key:
            found[key].append(row)
    return found
