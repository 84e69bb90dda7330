"""Tasks by name, task file, or folder of `train|dev|test.jsonl`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from hardprompt.errors import HardpromptError, UsageError, unknown
from hardprompt.tasks import rows as data
from hardprompt.tasks.schema import (
    DEFAULT_TEMPLATES,
    Label,
    Task,
    check_tables,
    check_templates,
    check_texts,
    generic_prompts,
    plain_word,
)

SPLITS = ("train", "dev", "test")


def task_names() -> list[str]:
    """The tasks inside the package."""
    folder = Path(str(files("hardprompt.tasks").joinpath("data")))
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_task(
    name: str,
    *,
    search_rows: int | None = 128,
    dev_rows: int | None = 256,
    seed: int = 0,
) -> Task:
    """A built-in task by name, a task file, or a folder.

    The search split is a stratified sample of at most `search_rows` rows of train (None: all),
    dev of at most `dev_rows`; test is whole. Raises `HardpromptError` or `UsageError` with one
    line that names file and line.
    """
    path = Path(name).expanduser()
    if name in task_names():
        path = Path(str(files("hardprompt.tasks").joinpath("data", f"{name}.toml")))
        task = _from_file(path)
    elif path.is_dir():
        task = _from_folder(path)
    elif path.is_file() and path.suffix == ".toml":
        task = _from_file(path)
    elif path.is_file():
        raise UsageError(
            f"'{name}' is no task: --task takes a name, a .toml file or a folder with "
            "train.jsonl, dev.jsonl and test.jsonl"
        )
    elif "/" in name or "\\" in name or path.suffix == ".toml":
        raise UsageError(f"no task file or folder '{name}'")
    else:
        raise unknown("task", name, task_names())
    return _finish(task, search_rows, dev_rows, seed)


def _from_file(path: Path) -> Task:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HardpromptError(f"{path} is no TOML: {error}") from None
    file = str(path)
    check_tables(tables, file)
    about = tables.get("task", {})
    check_texts(about, ["name"], f"{file} [task]")
    names = about.get("labels")
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(n, str) for n in names):
        raise HardpromptError(f"{file} [task]: 'labels' must list two or more names in quotes")
    words = tables.get("label_words", {})
    check_texts(words, words, f"{file} [label_words]")
    for word in words:
        if word not in names:
            raise HardpromptError(f"{file} [label_words]: {unknown('label', word, names)}")
    labels = tuple(Label(name, words.get(name, plain_word(name))) for name in names)
    templates = tables.get("templates", DEFAULT_TEMPLATES)
    check_texts(templates, templates, f"{file} [templates]")
    check_templates(templates, file)
    splits = _splits_of_file(path, tables.get("data", {}), tuple(names))
    return Task(
        name=about["name"],
        labels=labels,
        templates=templates,
        default_template=_default(about.get("default_template"), templates, file),
        manual=_manual(tables.get("manual"), templates, labels, file),
        version=str(about.get("version", "")),
        licence=str(about.get("licence", "")),
        description=str(about.get("description", "")),
        source=file,
        **splits,
    )


def _default(name: object, templates: dict[str, str], file: str) -> str:
    if name is None:
        return next(iter(templates))
    if name not in templates:
        raise HardpromptError(f"{file}: {unknown('template', str(name), templates)}")
    return str(name)


def _manual(
    table: object, templates: dict[str, str], labels: tuple[Label, ...], file: str
) -> dict[str, tuple[str, ...]]:
    if table is None:
        return generic_prompts(label.word for label in labels)
    assert isinstance(table, dict)
    for name, prompts in table.items():
        if name not in templates:
            raise HardpromptError(f"{file} [manual]: {unknown('template', name, templates)}")
        if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
            raise HardpromptError(f"{file} [manual]: '{name}' must be a list of texts in quotes")
    return {name: tuple(prompts) for name, prompts in table.items()}


def _splits_of_file(path: Path, table: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    check_texts(table, SPLITS, f"{path} [data]")
    found: dict[str, Any] = {}
    for split in SPLITS:
        file = (path.parent / table[split]).resolve()
        # A task file from elsewhere must not make us read the rest of the disk.
        if not file.is_relative_to(path.parent.resolve()):
            raise HardpromptError(
                f"{path} [data]: '{split}' must lie in the folder of the task file, "
                f"got {table[split]!r}"
            )
        found[_field(split)] = data.examples(data.read_rows(file), file, names)
    return found


def _field(split: str) -> str:
    return "search" if split == "train" else split


def _from_folder(folder: Path) -> Task:
    notes: list[str] = []
    paths = {split: _split_file(folder, split, notes) for split in SPLITS}
    contents = {split: data.read_rows(path) for split, path in paths.items()}
    listed = _with_parent(folder, "labels.json")
    if listed is None:
        names = data.label_names(contents["train"], paths["train"])
        order = "sorted by name"
    else:
        names = _listed_names(listed)
        order = "in the order of labels.json"
    if len(names) < 2:
        raise HardpromptError(f"{paths['train']}: two or more labels are needed, got {names}")
    labels = tuple(Label(name, plain_word(name)) for name in names)
    words = ", ".join(label.word for label in labels)
    notes.insert(0, f"no task file: the labels' own names are the label words ({words}), {order}")
    splits: dict[str, Any] = {
        _field(split): data.examples(contents[split], path, names) for split, path in paths.items()
    }
    return Task(
        name=_folder_name(folder),
        labels=labels,
        templates=DEFAULT_TEMPLATES,
        default_template=next(iter(DEFAULT_TEMPLATES)),
        manual=generic_prompts(label.word for label in labels),
        source=str(folder),
        notes=tuple(notes),
        **splits,
    )


def _folder_name(folder: Path) -> str:
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
        names = json.loads(path.read_text(encoding="utf8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HardpromptError(f"{path} is no JSON: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise HardpromptError(f"{path} must be a list of label names in quotes")
    return tuple(names)


def _finish(task: Task, search_rows: int | None, dev_rows: int | None, seed: int) -> Task:
    notes = list(task.notes)
    seen = {example.text for example in task.search}
    for split, part in (("dev", task.dev), ("test", task.test)):
        shared = sum(example.text in seen for example in part)
        if shared:
            notes.append(f"{shared} texts of {split} are also in train")
    empty = [
        label.name
        for label, count in zip(task.labels, task.counts(task.search), strict=True)
        if not count
    ]
    if empty:
        raise HardpromptError(f"no row of train is labelled {', '.join(empty)} ({task.source})")
    return replace(
        task,
        search=data.stratified(task.search, search_rows, seed),
        dev=data.stratified(task.dev, dev_rows, seed),
        notes=tuple(notes),
    )
