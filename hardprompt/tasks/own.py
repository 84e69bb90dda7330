"""A task from labelled files of one's own: `--data` and the options that belong to it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from hardprompt.config import AUTO, TaskChoice
from hardprompt.errors import HardpromptError, unknown
from hardprompt.tasks.draft import SPLITS, Draft, plain_task, plain_writing
from hardprompt.tasks.references import REFERENCES, SOURCE, is_writing
from hardprompt.tasks.rows import Classes, Part, Row, found_names, listed, read_part, same_text
from hardprompt.tasks.schema import Label
from hardprompt.tasks.words import label_words, parse_labels


def draft_from_data(choice: TaskChoice) -> Draft:
    """The file that `choice.data` names, split in three, or with the dev and test files given."""
    assert choice.data is not None
    if choice.target_field is not None:
        return _writing(choice, choice.data, choice.target_field)
    if (choice.text_field, choice.label_field) == ("text", "label") and is_writing(choice.data):
        return _writing(replace(choice, text_field=SOURCE), choice.data, REFERENCES)
    whole = _part(choice, choice.data)
    labels, about = _labels(choice, whole)
    if choice.dev is not None and choice.test is not None:
        dev, test = _part(choice, choice.dev), _part(choice, choice.test)
        parts = {"train": whole, "dev": dev, "test": test}
        return Draft(plain_task(choice.name, labels, choice.data, tuple(about)), parts)
    parts = split(whole, Classes(label.name for label in labels), choice.seed)
    about.append(_counted(whole, parts, choice.seed))
    return Draft(plain_task(choice.name, labels, choice.data, tuple(about)), parts, whole)


def _writing(choice: TaskChoice, data: str, target: str) -> Draft:
    """Rows of texts and of what the model is to write for each."""
    whole, *rest = (
        read_part(Path(path), choice.text_field, target)
        for path in (data, choice.dev, choice.test)
        if path is not None
    )
    task = plain_writing(choice.name, data, ())
    if rest:
        return Draft(task, dict(zip(SPLITS, (whole, *rest), strict=True)))
    parts = _dealt(whole, [list(_together(whole.rows).values())], choice.seed)
    return Draft(replace(task, notes=(_counted(whole, parts, choice.seed),)), parts, whole)


def _part(choice: TaskChoice, path: str) -> Part:
    return read_part(Path(path), choice.text_field, choice.label_field)


def _labels(choice: TaskChoice, part: Part) -> tuple[tuple[Label, ...], list[str]]:
    """The labels in their order with their words, and what a user should know about them."""
    found = found_names(part)
    if len(found) < 2:
        raise HardpromptError(
            f"{part.path}: two or more labels are needed; '{part.label_field}' holds "
            f"{', '.join(found) or 'none'}"
        )
    if choice.labels is None or choice.labels == AUTO:
        labels = label_words(found)
        words = listed(label.word for label in labels)
        about = f"the label words are made of the labels' own names ({words}), sorted by name"
        notes = [f"{about}; --labels name=word,... gives others"]
        if not all(any(char.isalpha() for char in label.word) for label in labels):
            notes.append("label words without a letter say little to a model")
        return labels, notes
    given = parse_labels(choice.labels)
    classes = Classes(given)
    meant = {classes.of(row.label) for row in part.rows}
    for number, name in enumerate(given):
        if number not in meant:
            raise unknown(f"label in {part.path}", name, found)
    words_given = {name: word for name, word in given.items() if word is not None}
    return label_words(tuple(given), words_given), []


def split(whole: Part, classes: Classes, seed: int) -> dict[str, Part]:
    """Half train, a quarter dev, a quarter test, of every label; the same for the same seed.

    Rows of the same text stay together, under the label of the first of them: a text that was
    searched on must not be one that is tested on.
    """
    return _dealt(whole, _groups(whole.rows, classes), seed)


def _counted(whole: Part, parts: dict[str, Part], seed: int) -> str:
    counts = ", ".join(f"{name} {len(part.rows)}" for name, part in parts.items())
    return f"{len(whole.rows)} rows split with seed {seed}: {counts}"


def _dealt(whole: Part, kinds: list[list[list[int]]], seed: int) -> dict[str, Part]:
    """The rows of each kind dealt out alike, those of one text together."""
    rng = np.random.default_rng(seed)
    place: dict[int, str] = {}
    for groups in kinds:
        n_train = max(1, len(groups) // 2)
        n_dev = (len(groups) - n_train) // 2
        for at, number in enumerate(rng.permutation(len(groups))):
            name = "train" if at < n_train else "dev" if at < n_train + n_dev else "test"
            place |= dict.fromkeys(groups[number], name)
    return {
        name: Part(
            whole.path,
            tuple(row for i, row in enumerate(whole.rows) if place[i] == name),
            whole.text_field,
            whole.label_field,
        )
        for name in ("train", "dev", "test")
    }


def _groups(rows: tuple[Row, ...], classes: Classes) -> list[list[list[int]]]:
    """For each label, sorted by name, the numbers of its rows, those of one text together."""
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for group in _together(rows).values():
        by_label[classes.name_of(rows[group[0]].label)].append(group)
    return [by_label[name] for name in sorted(by_label)]


def _together(rows: tuple[Row, ...]) -> dict[str, list[int]]:
    """The numbers of the rows of each text."""
    by_text: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        by_text[same_text(row.text)].append(number)
    return by_text
