"""`hardprompt check`: what is wrong with a task, before it costs a search."""

from __future__ import annotations

from typing import Any

import click

from hardprompt.commands.options import JSON, METRIC, SEARCH_ROWS
from hardprompt.commands.task_options import data_options, take_choice
from hardprompt.commands.terminal import prepare_libraries, print_json


@click.command()
@click.argument("task", required=False)
@data_options
@click.option("--model", default="mini", show_default=True, help="Whose tokenizer and context.")
@click.option("--revision", help="Revision of a model on the hub.")
@click.option("--template", help="The one to be searched in; by default the task's own.")
@click.option(
    "--len", "length", type=click.IntRange(min=1), default=5, show_default=True,
    help="Free tokens of the prompt.",
)  # fmt: skip
@METRIC
@SEARCH_ROWS
@JSON
@click.pass_context
def check(
    context: click.Context,
    /,
    model: str,
    revision: str | None,
    template: str | None,
    length: int,
    metric: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Look over a task, or data of your own: rows, label words, templates.

    Leaves with 1 where a search would stop, with 0 where it would run.

    \b
    hardprompt check sentiment
    hardprompt check --data reviews.csv --labels "negative=terrible,positive=great"
    """
    from hardprompt.tasks import draft_of

    choice = take_choice(options)
    draft = draft_of(choice)  # what cannot be read is said before a model is loaded
    prepare_libraries()
    from hardprompt.check import check_task
    from hardprompt.models.load import load_model
    from hardprompt.report.check import check_report

    checked = check_task(
        draft, load_model(model, revision=revision), template, length, metric,
        choice.search_rows, choice.seed,
    )  # fmt: skip
    if as_json:
        print_json(checked.to_json())
    else:
        click.echo(check_report(checked.to_json()))
    context.exit(1 if checked.breaks else 0)
