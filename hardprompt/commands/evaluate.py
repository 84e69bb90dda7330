"""`hardprompt eval`: what given prompts are worth on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hardprompt.commands.options import (
    JSON,
    METRIC,
    OBJECTIVE,
    SEARCH_ROWS,
    TEMPLATE,
    decoding_options,
    model_options,
)
from hardprompt.commands.task_options import task_options
from hardprompt.commands.terminal import prepare_libraries, print_json, print_notes


@click.command("eval")
@task_options
@model_options(None)
@TEMPLATE
@click.option("--prompt", "texts", multiple=True, help="A prompt; repeat for more.")
@click.option(
    "--prompts-file", type=click.Path(path_type=Path),
    help="Prompts, one a line, or a prompt.json.",
)  # fmt: skip
@click.option(
    "--split", type=click.Choice(["dev", "test"]), default="test", show_default=True,
    help="Where gains and classes are measured; dev leaves test closed.",
)  # fmt: skip
@OBJECTIVE
@METRIC
@decoding_options(None)
@SEARCH_ROWS
@JSON
def evaluate(
    texts: tuple[str, ...], prompts_file: Path | None, split: str, as_json: bool, **options: Any
) -> None:
    """Measure prompts on a task, beside no prompt and the manual ones.

    \b
    hardprompt eval --task sentiment --prompt "Is this good or bad?"
    """
    prepare_libraries()
    from hardprompt.assess import Given, assess
    from hardprompt.report.assess import assess_report
    from hardprompt.report.header import subject

    given = Given.read(texts, prompts_file)
    session = given.session(options)
    if not as_json:
        click.echo(subject(session, session.example()) + "\n", err=True)
        print_notes(given.notes(session))
    results = assess(session, given, split)
    if as_json:
        print_json(results)
    else:
        click.echo(assess_report(results))
