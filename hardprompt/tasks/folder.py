"""A task from a folder of `train.jsonl`, `dev.jsonl` and `test.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.halves import SAID, broken
from hardprompt.tasks.draft import SPLITS, Draft, plain_task, plain_writing
from hardprompt.tasks.references import REFERENCES, SOURCE, is_writing
from hardprompt.tasks.rows import found_names, listed, read_part
from hardprompt.tasks.words import label_words


def draft_from_folder(folder: Path) -> Draft:
    """Reads the three files; dev, test and `labels.json` may lie in the folder above."""
    notes: list[str] = []
    paths = {split: _split_file(folder, split, notes) for split in SPLITS}
    if is_writing(paths["train"]):
        about = "no task file: templates and manual prompts are those of any text to be written"
        task = plain_writing(_name(folder), str(folder), (about, *notes))
        return Draft(task, {split: read_part(p, SOURCE, REFERENCES) for split, p in paths.items()})
    parts = {split: read_part(path) for split, path in paths.items()}
    order_file = _with_parent(folder, "labels.json")
    if order_file is None:
        names = found_names(parts["train"])
        order = "sorted by name"
    else:
        names = _listed_names(order_file)
        order = "in the order of labels.json"
    if len(names) < 2:
        raise HardpromptError(f"{paths['train']}: two or more labels are needed, got {names}")
    labels = label_words(names)
    words = listed(label.word for label in labels)
    about = f"no task file: the label words are made of the labels' own names ({words}), {order}"
    task = plain_task(_name(folder), labels, str(folder), (about, *notes))
    return Draft(task, parts)


def _name(folder: Path) -> str:
    resolved = folder.resolve()
    inside = (resolved.parent / "labels.json").is_file()
    return f"{resolved.parent.name}-{resolved.name}" if inside else resolved.name


def _with_parent(folder: Path, name: str) -> Path | None:
    for place in (folder, folder.resolve().parent):
        if (place / name).is_file():
            return place / name
    return None


def _split_file(folder: Path, split: str, notes: list[str]) -> Path:
    if not (folder / "train.jsonl").is_file():
        raise UsageError(f"'{folder}' is no task: the folder has no train.jsonl")
    found = _with_parent(folder, f"{split}.jsonl")
    if found is None:
        raise HardpromptError(f"'{folder}' has no {split}.jsonl, nor has the folder above it")
    if found.parent != folder:
        notes.append(f"{split} is taken from the folder above, {found.parent.name}")
    return found


def _listed_names(path: Path) -> tuple[str, ...]:
    try:
        names = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise HardpromptError(f"{path} is no JSON: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise HardpromptError(f"{path} must be a list of label names in quotes")
    if broken("".join(names)):
        raise HardpromptError(f"{path}: a name {SAID}")
    return tuple(names)
