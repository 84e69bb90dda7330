"""`hardprompt bench`: how fast this machine is."""

from __future__ import annotations

from typing import Any

import click

from hardprompt.commands.options import JSON, SEARCH_ROWS, TEMPLATE, VOCABULARY, model_options
from hardprompt.commands.task_options import task_options
from hardprompt.commands.terminal import prepare_libraries, print_json
from hardprompt.errors import UsageError


@click.command()
@task_options
@model_options("mini")
@TEMPLATE
@click.option("--len", "length", type=int, help="Number of free tokens.")
@VOCABULARY
@SEARCH_ROWS
@click.option(
    "--seconds", type=float, default=1.0, show_default=True,
    help="How long each way is measured.",
)  # fmt: skip
@JSON
def bench(seconds: float, as_json: bool, **options: Any) -> None:
    """Measure how many prompts a second this machine scores, and what a search would take.

    \b
    hardprompt bench --model mini --task sentiment --len 5
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--seconds must be above 0 and finite, got {seconds:g}")
    prepare_libraries()
    from hardprompt.config import RunConfig
    from hardprompt.report.speed import speed_report
    from hardprompt.session import Session
    from hardprompt.speed import measure_speed

    session = Session.prepare(RunConfig(**options))
    found = measure_speed(session, seconds)
    if as_json:
        print_json(found)
    else:
        click.echo(speed_report(session, found))
