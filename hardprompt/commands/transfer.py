"""`hardprompt transfer`: what the prompts of a run are worth on other models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hardprompt import runs
from hardprompt.commands.options import JSON, OUTPUT_DIR, RUN, loading_options, model_names
from hardprompt.commands.terminal import prepare_libraries, print_json
from hardprompt.errors import HardpromptError
from hardprompt.escaping import escape


@click.command()
@RUN
@click.option(
    "--model", "models", required=True, callback=model_names,
    help="Models to measure on, with commas: mini (embedded), hub ids, or local folders.",
)  # fmt: skip
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True,
    help="How many prompts of the run's table.",
)  # fmt: skip
@loading_options(own=True)
@JSON
@OUTPUT_DIR
def transfer(
    run: str | None, models: list[str], top: int, as_json: bool, output_dir: Path, **loading: Any
) -> None:
    """Measure the best prompts of RUN on other models, as text.

    RUN is a run's name or folder, or the word latest. The figures are saved in its folder as
    transfer.json and transfer.csv.

    \b
    hardprompt transfer latest --model gpt2,distilgpt2
    """
    folder = runs.find(run, output_dir)
    prepare_libraries()
    from hardprompt.report.transfer import transfer_report
    from hardprompt.transfer import save
    from hardprompt.transfer import transfer as transfer_run

    def begin(name: str) -> None:
        if not as_json:
            click.echo(f"measuring on {escape(name)} ...", err=True)

    found = transfer_run(folder, models, top, loading, begin)
    failed = None
    try:
        save(folder, found)
    except HardpromptError as error:
        failed = error  # what was measured is told all the same
    if as_json:
        print_json(found)
    else:
        click.echo(transfer_report(found))
    if failed is not None:
        raise failed
