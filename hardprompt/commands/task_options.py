"""Options that several commands share: the task, or data of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import click

from hardprompt.commands.options import Command, path_or_name, together
from hardprompt.config import AUTO, DEFAULT_TASK, TaskChoice
from hardprompt.errors import UsageError

absolute = path_or_name(lambda path: True)  # whether it is there or not


def _task_names() -> Iterable[str]:
    from hardprompt.tasks import task_names

    return task_names()


TASK = click.option(
    "--task",
    show_default=DEFAULT_TASK,
    callback=path_or_name(os.path.exists, _task_names),
    help="A built-in task, a task file, or a folder with train, dev and test.jsonl.",
)
DATA = click.option(
    "--data",
    type=click.Path(),
    callback=absolute,
    help="Instead of a task: labelled rows in a CSV, TSV or JSONL file.",
)
FIELDS = (
    click.option("--text-field", default="text", show_default=True, help="Where the texts are."),
    click.option("--label-field", default="label", show_default=True, help="Where the labels are."),
    click.option(
        "--target-field",
        help="Where the texts are that the model is to write, instead of labels.",
    ),
    click.option(
        "--labels",
        metavar="NAME=WORD,...",
        help="The labels in their order, and the word that the model is to write for each; "
        "by default the names found, as plain words. With hardprompt search also 'auto': the "
        "words are searched together with the prompt.",
    ),
    click.option(
        "--dev",
        type=click.Path(),
        callback=absolute,
        help="With --test: rows that rank prompts. Without both, the data is split in "
        "half, a quarter, a quarter.",
    ),
    click.option(
        "--test", type=click.Path(), callback=absolute, help="With --dev: rows that only report."
    ),
)
SEED = click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of splits and searches.",
)


def field_options(command: Command) -> Command:
    """How a file of one's own is read and split; `--seed` among them."""
    return together(*FIELDS, SEED)(command)


def data_options(command: Command) -> Command:
    """`--data` and how it is read."""
    return DATA(field_options(command))


def task_options(command: Command) -> Command:
    """`--task`, or `--data` and how it is read: the fields of a `TaskChoice` but `search_rows`."""
    return TASK(data_options(command))


def task_options_without_seed(command: Command) -> Command:
    """`task_options` for a command that takes several seeds."""
    return together(TASK, DATA, *FIELDS)(command)


def take_choice(options: dict[str, Any]) -> TaskChoice:
    """The task that the options choose, taken out of them."""
    known = [field.name for field in fields(TaskChoice) if field.name in options]
    choice = TaskChoice(**{name: options.pop(name) for name in known})
    if choice.labels == AUTO:
        raise UsageError("--labels auto belongs to hardprompt search")
    return choice
