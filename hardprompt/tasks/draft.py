"""A task as its files tell it, before its rows are judged and sampled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hardprompt.errors import HardpromptError
from hardprompt.tasks.references import pairs, written
from hardprompt.tasks.rows import (
    Classes,
    Part,
    examples,
    same_text,
    sampled,
    stratified,
)
from hardprompt.tasks.schema import (
    DEFAULT_TEMPLATES,
    GENERATION,
    WRITING_PROMPTS,
    WRITING_TEMPLATES,
    Example,
    Label,
    Task,
    generic_prompts,
)
from hardprompt.tasks.words import equal_words

SPLITS = ("train", "dev", "test")
# A file that is split in three needs as many texts of every label.
FEWEST = 3
DEV_ROWS = 256  # of dev, that a search ranks by


@dataclass(frozen=True)
class Draft:
    """A task without rows, and the rows as they were read: what `check` looks at."""

    task: Task
    parts: Mapping[str, Part]  # of each of SPLITS
    whole: Part | None = None  # the one file that the parts were split from, if they were

    @cached_property
    def classes(self) -> Classes:
        return Classes(label.name for label in self.task.labels)


def plain_task(name: str, labels: tuple[Label, ...], source: str, notes: tuple[str, ...]) -> Task:
    """A task of which nothing is known but its labels, still without rows."""
    return Task(
        name=name,
        labels=labels,
        templates=DEFAULT_TEMPLATES,
        default_template=next(iter(DEFAULT_TEMPLATES)),
        manual=generic_prompts(label.word for label in labels) if labels else {},
        search=(),
        dev=(),
        test=(),
        source=source,
        notes=notes,
    )


def plain_writing(name: str, source: str, notes: tuple[str, ...]) -> Task:
    """A task of which nothing is known but that texts are to be written, still without rows."""
    return replace(
        plain_task(name, (), source, notes),
        kind=GENERATION,
        templates=WRITING_TEMPLATES,
        manual=WRITING_PROMPTS,
    )


def rare_labels(draft: Draft) -> dict[str, list[int]]:
    """Labels with too few different texts to stand in all three splits -> their lines."""
    if draft.whole is None or draft.task.writes:
        return {}
    texts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in draft.whole.rows:
        texts[draft.classes.name_of(row.label)].setdefault(same_text(row.text), row.line)
    return {
        name: list(texts[name].values())
        for name in draft.classes.names
        if len(texts[name]) < FEWEST
    }


def build(draft: Draft, search_rows: int | None, dev_rows: int | None, seed: int) -> Task:
    """The task with its rows judged; raises with one line at the first that cannot be used."""
    task = draft.task
    if task.writes:
        return _build_writing(draft, search_rows, dev_rows, seed)
    equal = equal_words(task.labels)
    if equal is not None:
        first, second = equal
        raise HardpromptError(
            f"the labels '{first.name}' and '{second.name}' have the same word '{first.word}' "
            f"({task.source}); give each its own"
        )
    rows = {split: examples(draft.parts[split], draft.classes) for split in SPLITS}
    task = replace(task, search=rows["train"], dev=rows["dev"], test=rows["test"])
    _check_labels(draft, task)
    return replace(
        task,
        search=stratified(task.search, search_rows, seed),
        dev=stratified(task.dev, dev_rows, seed),
        notes=(*task.notes, *_shared_texts(rows)),
    )


def whole_task(draft: Draft, seed: int) -> Task:
    """The task with all of its rows, and with all references of each."""
    task = build(draft, None, None, seed)
    return replace(task, search=written(draft.parts["train"])) if task.writes else task


def _build_writing(draft: Draft, search_rows: int | None, dev_rows: int | None, seed: int) -> Task:
    _check_sources(draft)
    rows = {split: written(draft.parts[split]) for split in SPLITS}
    used = drawn(rows, search_rows, dev_rows, seed)
    task = replace(draft.task, search=used["train"], dev=used["dev"], test=used["test"])
    return replace(task, notes=(*task.notes, *_shared_texts(rows)))


def drawn(
    rows: Mapping[str, tuple[Example, ...]],
    search_rows: int | None,
    dev_rows: int | None,
    seed: int,
) -> dict[str, tuple[Example, ...]]:
    """What a search reads where texts are to be written: pairs of train, some of dev, all of
    test."""
    return {
        "train": pairs(rows["train"], search_rows, seed),
        "dev": sampled(rows["dev"], dev_rows, seed),
        "test": rows["test"],
    }


def _check_sources(draft: Draft) -> None:
    whole = draft.whole
    if whole is not None and len({same_text(row.text) for row in whole.rows}) < FEWEST:
        raise HardpromptError(
            f"{whole.path} is to be split in three: it needs {FEWEST} or more different texts in "
            f"'{whole.text_field}'"
        )


def _check_labels(draft: Draft, task: Task) -> None:
    rare = rare_labels(draft)
    if rare and draft.whole is not None:
        name, lines = next(iter(rare.items()))
        others = f" (and {len(rare) - 1} labels more)" if len(rare) > 1 else ""
        where = f"line {', '.join(map(str, lines))}" if lines else "no line"
        raise HardpromptError(
            f"{draft.whole.path} has {len(lines)} text{'s' * (len(lines) != 1)} labelled '{name}' "
            f"({where}){others}; to be split in three it needs {FEWEST} or more of every label"
        )
    counts = task.counts(task.search)
    empty = [label.name for label, n in zip(task.labels, counts, strict=True) if not n]
    if empty:
        raise HardpromptError(f"no row of train is labelled {', '.join(empty)} ({task.source})")


def _shared_texts(rows: Mapping[str, tuple[Example, ...]]) -> list[str]:
    """Of all rows, whether they are sampled or not."""
    texts = {name: [same_text(example.text) for example in part] for name, part in rows.items()}
    notes = []
    for other, split in (("train", "dev"), ("train", "test"), ("dev", "test")):
        seen = set(texts[other])
        shared = sum(text in seen for text in texts[split])
        if shared:
            notes.append(f"{shared} texts of {split} are also in {other}")
    return notes
