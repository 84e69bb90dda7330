"""What a user should know about the labels of a task: rare ones, equal words, balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hardprompt.tasks.draft import FEWEST, Draft, rare_labels
from hardprompt.tasks.finding import Finding, files_of
from hardprompt.tasks.rows import Part, listed
from hardprompt.tasks.words import equal_words

IMBALANCE = 2.0  # most rows of a class for one of another, before it is said


def label_findings(draft: Draft) -> Iterator[Finding]:
    """Labels that break a search, and what makes its figures say less than they seem."""
    yield from _rare(draft)
    yield from _words(draft)
    yield from _alike(draft)
    yield from _missing(draft)
    for name, part in files_of(draft).items():
        yield from _balance(draft, name, part)


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


def _alike(draft: Draft) -> Iterator[Finding]:
    """Two spellings of what may be one label."""
    spelt: dict[str, list[str]] = {}
    for name in draft.classes.names:
        spelt.setdefault(name.casefold(), []).append(name)
    for names in spelt.values():
        if len(names) > 1:
            message = f"labels that differ in capital letters alone: {listed(map(repr, names))}"
            yield Finding("alike", message)


def _missing(draft: Draft) -> Iterator[Finding]:
    """Labels without a row in a split; those that are too rare to be split are said to be."""
    rare = rare_labels(draft)
    for split, part in draft.parts.items():
        missing = [name for name, n in _counts(draft, part).items() if not n and name not in rare]
        if missing:
            yield Finding(
                "missing",
                f"no row of {split} is labelled {listed(missing)}",
                breaks=split == "train",
            )


def _counts(draft: Draft, part: Part) -> dict[str, int]:
    """Rows of each label."""
    counts = Counter(draft.classes.of(row.label) for row in part.rows)
    return {name: counts[place] for place, name in enumerate(draft.classes.names)}


def _balance(draft: Draft, name: str, part: Part) -> Iterator[Finding]:
    """One label much more frequent than another."""
    counts = _counts(draft, part)
    present = sorted((n, label) for label, n in counts.items() if n)
    if present and present[-1][0] >= IMBALANCE * present[0][0]:
        (few, rarest), (many, commonest) = present[0], present[-1]
        yield Finding(
            "imbalance",
            f"{name} is unbalanced, from {commonest} with {many:,} rows to {rarest} with {few:,}: "
            f"always saying {commonest} is right in {many / sum(counts.values()):.0%}; --metric "
            "macro-f1 or mcc weighs classes alike",
        )
