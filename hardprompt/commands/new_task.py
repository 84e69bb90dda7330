"""`hardprompt new-task`: a task to edit, from data of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from hardprompt.commands.task_options import absolute, field_options, take_choice


@click.command("new-task")
@click.argument("data", metavar="FILE", type=click.Path(), callback=absolute)
@field_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The new folder; by default here, named after the file.",
)
def new_task(output: Path | None, **options: Any) -> None:
    """Make a task from a CSV, TSV or JSONL file: a folder with task.toml, to edit.

    \b
    hardprompt new-task reviews.csv --labels "negative=terrible,positive=great"
    """
    from hardprompt.tasks import draft_of
    from hardprompt.tasks.draft import whole_task
    from hardprompt.tasks.write import write_task

    choice = take_choice(options)
    task = whole_task(draft_of(choice), choice.seed)
    file = write_task(task, output or Path(choice.name))
    click.echo(
        f"{file}: train {len(task.search)}, dev {len(task.dev)}, test {len(task.test)} rows\n"
        f"Edit it, then: hardprompt check {shlex.quote(str(file))}"
    )
