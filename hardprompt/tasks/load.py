"""Tasks by name, by file or folder, or from data of one's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from hardprompt.config import DEFAULT_TASK, TaskChoice
from hardprompt.errors import UsageError, unknown
from hardprompt.tasks.draft import DEV_ROWS, Draft, build
from hardprompt.tasks.files import READERS
from hardprompt.tasks.folder import draft_from_folder
from hardprompt.tasks.own import draft_from_data
from hardprompt.tasks.schema import Task
from hardprompt.tasks.taskfile import draft_from_file

TASK_FILE = "task.toml"  # in a folder, it says more than the folder alone


def task_names() -> list[str]:
    """The tasks inside the package."""
    folder = Path(str(files("hardprompt.tasks").joinpath("data")))
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_task(
    name: str,
    *,
    search_rows: int | None = 128,
    dev_rows: int | None = DEV_ROWS,
    seed: int = 0,
) -> Task:
    """A built-in task by name, a task file, or a folder.

    The search split is a stratified sample of at most `search_rows` rows of train (None: all),
    dev of at most `dev_rows`; test is whole. Raises `HardpromptError` or `UsageError` with one
    line that names file and line.
    """
    return build(_draft(name), search_rows, dev_rows, seed)


def load_choice(choice: TaskChoice, *, dev_rows: int | None = DEV_ROWS) -> Task:
    """The task that a command was asked for, be it `--task` or `--data`; as `load_task`."""
    return build(draft_of(choice), choice.search_rows, dev_rows, choice.seed)


def draft_of(choice: TaskChoice) -> Draft:
    """The same task with its rows as they were read: nothing is judged, sampled or left out."""
    if choice.data is not None:
        return draft_from_data(choice)
    return _draft(choice.task or DEFAULT_TASK)


def _draft(name: str) -> Draft:
    if name in task_names():
        return draft_from_file(
            Path(str(files("hardprompt.tasks").joinpath("data", f"{name}.toml")))
        )
    try:
        path = Path(name).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise UsageError(f"no task file or folder '{name}': {error.strerror}") from None
    except RuntimeError:  # the home of a user who is none
        raise UsageError(f"no task file or folder '{name}'") from None
    if is_folder:
        file = path / TASK_FILE
        return draft_from_file(file) if file.is_file() else draft_from_folder(path)
    if is_file and path.suffix == ".toml":
        return draft_from_file(path)
    if is_file:
        own = f"; a file of labelled rows is --data {name}" if path.suffix in READERS else ""
        raise UsageError(
            f"'{name}' is no task: --task takes a name, a .toml file or a folder with "
            f"train.jsonl, dev.jsonl and test.jsonl{own}"
        )
    if "/" in name or "\\" in name or path.suffix == ".toml":
        raise UsageError(f"no task file or folder '{name}'")
    raise unknown("task", name, task_names())
