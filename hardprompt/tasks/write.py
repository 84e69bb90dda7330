"""A task as a folder to edit: `task.toml` with comments, and its rows beside it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.escaping import pasted
from hardprompt.tasks.draft import SPLITS
from hardprompt.tasks.load import TASK_FILE
from hardprompt.tasks.references import REFERENCES, SOURCE
from hardprompt.tasks.schema import GENERATION, Example, Task

TOML = """\
# A task for hardprompt, made from {source}. Everything here may be edited.
#   look it over:  hardprompt check {file}
#   search:        hardprompt search --task {file} --len 5

[task]
name = {name}
version = {version}  # raise it when you change the task, so that results can be told apart{about}
{answers}
default_template = {template}  # one of [templates]
{words}
# Where {places} stand; words of your own may stand between. The names are
# free, --template takes one. Several slots need their widths: {{prompt:2}} tone {{prompt:3}}.
[templates]
{templates}

# Prompts that you would write by hand, by template. The search starts from them, and they are
# measured beside what it finds.{manual_words}
[manual]
{manual}

# Files in this folder, of lines such as
#   {row}
# The search sees train, dev ranks what it finds, test only reports: no text should stand in two
# of them.
[data]
train = "train.jsonl"
dev = "dev.jsonl"
test = "test.jsonl"
"""

WORDS = """\

# The word that the model is to write for each label. They must differ; common words, of one
# token each, work best. `hardprompt check` shows how a model reads them.
[label_words]
{words}
"""


def check_new(folder: Path, option: str = "--output") -> None:
    """Raises `UsageError` where there is something in that place; `option` is what names it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"'{folder}' is there already; nothing is overwritten: "
            f"take it away, or write elsewhere with {option} DIR"
        )


def write_task(task: Task, folder: Path) -> Path:
    """Writes a task with all its rows into a new folder and gives the path of its task file.

    All or nothing: the files are made beside the folder, which then gets its name. Raises
    `UsageError` where the folder exists and is not empty.
    """
    check_new(folder)
    whole = folder.resolve()
    part = whole.with_name(f".{whole.name}-{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        for split in SPLITS:
            rows = task.search if split == "train" else getattr(task, split)
            _write(part / f"{split}.jsonl", _lines(task, rows))
        _write(part / TASK_FILE, _toml(task, folder))
        part.replace(whole)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise HardpromptError(f"cannot write '{folder}': {error.strerror}") from None
    return folder / TASK_FILE


def _write(path: Path, content: str) -> None:
    with path.open("w", encoding="utf8", newline="\n") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _lines(task: Task, rows: Iterable[Example]) -> str:
    records = (_record(task, row) for row in rows)
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _record(task: Task, row: Example) -> dict[str, object]:
    if task.writes:
        return {SOURCE: row.text, REFERENCES: list(row.references)}
    return {"text": row.text, "label": task.labels[row.label].name}


def _toml(task: Task, folder: Path) -> str:
    return TOML.format(
        **(_of_texts() if task.writes else _of_labels(task)),
        source=_quoted(Path(task.source).name),
        file=pasted(str(folder / TASK_FILE)),
        name=_quoted(task.name),
        version=_quoted(task.version or "1"),
        about=_about(task),
        template=_quoted(task.default_template),
        templates=_table({name: _quoted(text) for name, text in task.templates.items()}),
        manual=_table({name: _list(prompts, "\n    ") for name, prompts in task.manual.items()}),
    )


def _about(task: Task) -> str:
    """What a task may say of itself, each on a line of its own."""
    said = {"licence": task.licence, "description": task.description}
    return "".join(f"\n{key} = {_quoted(text)}" for key, text in said.items() if text)


def _of_labels(task: Task) -> dict[str, str]:
    """What only tasks with labels have."""
    words = {label.name: _quoted(label.word) for label in task.labels}
    names = _list(label.name for label in task.labels)
    return {
        "answers": f"labels = {names}  # as the rows name them",
        "words": WORDS.format(words=_table(words)),
        "places": "prompt, text and label word",
        "manual_words": " Where they hold label words, change them together.",
        "row": '{"text": "...", "label": "..."}',
    }


def _of_texts() -> dict[str, str]:
    """What only tasks with texts to be written have."""
    return {
        "answers": f'kind = "{GENERATION}"  # texts are to be written',
        "words": "",
        "places": "prompt and source",
        "manual_words": "",
        "row": '{"source": "...", "references": ["...", "..."]}',
    }


def _table(values: Mapping[str, str]) -> str:
    return "\n".join(f"{_key(name)} = {value}" for name, value in values.items())


def _list(texts: Iterable[str], start: str = "") -> str:
    """A TOML list, each text on a line of its own where `start` says how a line begins."""
    if not start:
        return f"[{', '.join(map(_quoted, texts))}]"
    return "[" + "".join(f"{start}{_quoted(text)}," for text in texts) + "\n]"


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _quoted(name)


def _quoted(text: str) -> str:
    """A TOML string: JSON writes it so too, but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
