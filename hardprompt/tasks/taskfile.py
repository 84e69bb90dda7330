"""A task from its TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hardprompt.errors import HardpromptError, unknown
from hardprompt.tasks.draft import SPLITS, Draft
from hardprompt.tasks.references import REFERENCES, SOURCE
from hardprompt.tasks.rows import Part, read_part
from hardprompt.tasks.schema import (
    CLASSIFICATION,
    DEFAULT_TEMPLATES,
    GENERATION,
    WRITING_PROMPTS,
    WRITING_TEMPLATES,
    Label,
    Task,
    check_tables,
    check_templates,
    check_texts,
    generic_prompts,
)
from hardprompt.tasks.words import label_words


def draft_from_file(path: Path) -> Draft:
    """Reads a task file and the data beside it; raises with one line that names the key."""
    tables = _tables(path)
    file = str(path)
    about = tables.get("task", {})
    kind = _kind(about.get("kind", CLASSIFICATION), about, tables, file)
    writes = kind == GENERATION
    labels = () if writes else _labels(about.get("labels"), tables.get("label_words", {}), file)
    templates = tables.get("templates", WRITING_TEMPLATES if writes else DEFAULT_TEMPLATES)
    check_texts(templates, templates, f"{file} [templates]")
    check_templates(templates, file)
    task = Task(
        name=about["name"],
        labels=labels,
        templates=templates,
        default_template=_default(about, templates, file),
        manual=_manual(tables.get("manual"), templates, labels, file),
        search=(),
        dev=(),
        test=(),
        version=str(about.get("version", "")),
        licence=str(about.get("licence", "")),
        description=str(about.get("description", "")),
        source=file,
        kind=kind,
    )
    fields = (SOURCE, REFERENCES) if writes else ("text", "label")
    return Draft(task, _parts(path, tables.get("data", {}), fields))


def _kind(kind: object, about: dict[str, Any], tables: dict[str, Any], file: str) -> str:
    if kind not in (CLASSIFICATION, GENERATION):
        raise HardpromptError(
            f"{file} [task]: 'kind' is {CLASSIFICATION} or {GENERATION}, got {kind!r}"
        )
    if kind == GENERATION and ("labels" in about or "label_words" in tables):
        raise HardpromptError(f"{file}: a task of kind {GENERATION} has references, not labels")
    return str(kind)


def _tables(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None
    except ValueError as error:  # of a letter that is no UTF-8, or a number of thousands of digits
        raise HardpromptError(f"{path} is no TOML: {error}") from None
    except RecursionError:
        raise HardpromptError(f"{path} is nested too deeply") from None
    check_tables(tables, str(path))
    check_texts(tables.get("task", {}), ["name"], f"{path} [task]")
    return tables


def _labels(names: object, words: dict[str, Any], file: str) -> tuple[Label, ...]:
    if (
        not isinstance(names, list)
        or len(names) < 2
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) < len(names)
    ):
        raise HardpromptError(f"{file} [task]: 'labels' must list two or more names in quotes")
    check_texts(words, words, f"{file} [label_words]")
    for name in words:
        if name not in names:
            raise HardpromptError(f"{file} [label_words]: {unknown('label', name, names)}")
    return label_words(names, words)


def _default(about: dict[str, Any], templates: dict[str, str], file: str) -> str:
    if "default_template" not in about:
        return next(iter(templates))
    check_texts(about, ["default_template"], f"{file} [task]")
    name = str(about["default_template"])
    if name not in templates:
        raise HardpromptError(f"{file}: {unknown('template', name, templates)}")
    return name


def _manual(
    table: object, templates: dict[str, str], labels: tuple[Label, ...], file: str
) -> dict[str, tuple[str, ...]]:
    if table is None:
        return generic_prompts(label.word for label in labels) if labels else WRITING_PROMPTS
    assert isinstance(table, dict)
    for name, prompts in table.items():
        if name not in templates:
            raise HardpromptError(f"{file} [manual]: {unknown('template', name, templates)}")
        if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
            raise HardpromptError(f"{file} [manual]: '{name}' must be a list of texts in quotes")
    return {name: tuple(prompts) for name, prompts in table.items()}


def _parts(path: Path, table: dict[str, Any], fields: tuple[str, str]) -> dict[str, Part]:
    check_texts(table, SPLITS, f"{path} [data]")
    found = {}
    for split in SPLITS:
        if "\0" in table[split]:
            raise HardpromptError(f"{path} [data]: '{split}' is no path: {table[split]!r}")
        file = (path.parent / table[split]).resolve()
        # A task file from elsewhere must not make us read the rest of the disk.
        if not file.is_relative_to(path.parent.resolve()):
            raise HardpromptError(
                f"{path} [data]: '{split}' must lie in the folder of the task file, "
                f"got {table[split]!r}"
            )
        found[split] = read_part(file, *fields)
    return found
