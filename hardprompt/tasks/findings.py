"""What a user should know about the rows of a task before searching on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from hardprompt.config import FEWEST_TEST_ROWS
from hardprompt.tasks.draft import FEWEST, SPLITS, Draft, rare_labels
from hardprompt.tasks.rows import Part, Row, fault, label_index, listed, same_text
from hardprompt.tasks.words import equal_words

IMBALANCE = 2.0  # most rows of a class for one of another, before it is said
FAULTS = {
    "empty": "without a text",
    "text": "whose text is no text",
    "label": "with a label that the task does not name",
}

Place = tuple[str, int]  # a split or file, and a line in it, from 1


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one line, and the rows it is about."""

    kind: str
    message: str  # their number and the rows follow it
    rows: tuple[tuple[Place, ...], ...] = ()  # those of one text together
    breaks: bool = False  # whether a search would stop at it


def files_of(draft: Draft) -> dict[str, Part]:
    """Every file of the task once: by its split, or by its own name if all splits are of it."""
    if draft.whole is not None:
        return {draft.whole.path.name: draft.whole}
    return {split: draft.parts[split] for split in SPLITS}


def data_findings(draft: Draft) -> list[Finding]:
    """Rows and labels that break a search, and what makes its figures say less than they seem."""
    files = files_of(draft)
    return [
        *(finding for name, part in files.items() for finding in _faults(draft, name, part)),
        *_rare(draft),
        *_words(draft),
        *(finding for name, part in files.items() for finding in _classes(draft, name, part)),
        *_few_tests(draft),
        *(finding for name, part in files.items() for finding in _duplicates(draft, name, part)),
        *_conflicts(draft, files),
        *_leaks(draft, files),
    ]


def _faults(draft: Draft, name: str, part: Part) -> Iterator[Finding]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in part.rows:
        wrong = fault(part, row, draft.names)
        if wrong is not None:
            found[wrong.kind].append(row)
    for kind, rows in found.items():
        message = f"rows of {name} {FAULTS[kind]}"
        if kind == "label":
            message += f" ({listed(sorted({repr(row.label) for row in rows}))})"
        yield Finding(kind, message, _each(name, rows), breaks=True)


def _each(name: str, rows: Iterable[Row]) -> tuple[tuple[Place, ...], ...]:
    return tuple(((name, row.line),) for row in rows)


def _rare(draft: Draft) -> Iterator[Finding]:
    rare = rare_labels(draft)
    if rare and draft.whole is not None:
        name = draft.whole.path.name
        yield Finding(
            "rare",
            f"labels with fewer than {FEWEST} different texts, too few for a file that is split in "
            f"three ({listed(map(repr, rare))})",
            tuple(tuple((name, line) for line in lines) for lines in rare.values()),
            breaks=True,
        )


def _words(draft: Draft) -> Iterator[Finding]:
    equal = equal_words(draft.task.labels)
    if equal is not None:
        first, second = equal
        message = f"'{first.name}' and '{second.name}' have the same label word '{first.word}'"
        yield Finding("collision", message, breaks=True)


def _classes(draft: Draft, name: str, part: Part) -> Iterator[Finding]:
    """Labels without a row, and one label much more frequent than another."""
    counts = dict.fromkeys(draft.names, 0)
    for row in part.rows:
        index = label_index(row.label, draft.names)
        if index is not None:
            counts[draft.names[index]] += 1
    missing = [label for label, n in counts.items() if not n]
    if missing and draft.whole is None:
        yield Finding(
            "missing",
            f"no row of {name} is labelled {', '.join(missing)}",
            breaks=name == "train",
        )
    present = sorted((n, label) for label, n in counts.items() if n)
    if present and present[-1][0] >= IMBALANCE * present[0][0]:
        (few, rarest), (many, commonest) = present[0], present[-1]
        yield Finding(
            "imbalance",
            f"{name} is unbalanced, from {commonest} with {many:,} rows to {rarest} with {few:,}: "
            f"always saying {commonest} is right in {many / sum(counts.values()):.0%}; --metric "
            "macro-f1 or mcc weighs classes alike",
        )


def _few_tests(draft: Draft) -> Iterator[Finding]:
    n = len(draft.parts["test"].rows)
    if n < FEWEST_TEST_ROWS:
        yield Finding("few", f"test has {n} rows: too few rows for a test figure")


def _by_text(part: Part) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in part.rows:
        key = same_text(row.text) if isinstance(row.text, str) else ""
        if key:
            found[key].append(row)
    return found


def _duplicates(draft: Draft, name: str, part: Part) -> Iterator[Finding]:
    groups = [
        rows for rows in _by_text(part).values() if len(rows) > 1 and len(_labels(draft, rows)) == 1
    ]
    if groups:
        together = " (they stay in one split)" if draft.whole is not None else ""
        yield Finding(
            "duplicates",
            f"texts that stand more than once in {name}{together}",
            tuple(tuple((name, row.line) for row in rows) for rows in groups),
        )


def _labels(draft: Draft, rows: Iterable[Row]) -> set[int | None]:
    return {label_index(row.label, draft.names) for row in rows}


def _conflicts(draft: Draft, files: dict[str, Part]) -> Iterator[Finding]:
    groups: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for name, part in files.items():
        for key, rows in _by_text(part).items():
            groups[key] += [(name, row) for row in rows]
    found = [
        group for group in groups.values() if len(_labels(draft, (row for _, row in group))) > 1
    ]
    if found:
        yield Finding(
            "conflict",
            "texts with different labels",
            tuple(tuple((name, row.line) for name, row in group) for group in found),
        )


def _leaks(draft: Draft, files: dict[str, Part]) -> Iterator[Finding]:
    """Texts of one split in another: what was searched or chosen on is not tested on."""
    texts = {name: _by_text(part) for name, part in files.items()}
    for first, second in combinations(files, 2):
        shared = [key for key in texts[second] if key in texts[first]]
        if shared:
            yield Finding(
                "leak",
                f"texts of {second} that are also in {first}",
                tuple(
                    tuple((name, row.line) for name in (second, first) for row in texts[name][key])
                    for key in shared
                ),
            )
