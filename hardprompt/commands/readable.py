"""`hardprompt readable`: the most fluent prompt of a run that keeps most of its gain."""

from __future__ import annotations

from pathlib import Path

import click

from hardprompt import runs
from hardprompt.commands.options import JSON, OUTPUT_DIR, RUN
from hardprompt.commands.terminal import prepare_libraries, print_json


@click.command()
@RUN
@click.option(
    "--keep", type=click.FloatRange(0, 1), default=0.9, show_default=True,
    help="Share of the best prompt's gain, in search loss, to keep.",
)  # fmt: skip
@JSON
@OUTPUT_DIR
def readable(run: str | None, keep: float, as_json: bool, output_dir: Path) -> None:
    """Take the most fluent prompt of RUN that keeps most of its gain, and show the price.

    RUN is a run's name or folder, or the word latest. The prompt is saved in the run's folder as
    readable.json, for try, predict and export.

    \b
    hardprompt readable latest --keep 0.9
    """
    folder = runs.find(run, output_dir)
    prepare_libraries()
    from hardprompt.readable import find_readable
    from hardprompt.report.readable import readable_report

    found = find_readable(folder, keep)
    if as_json:
        print_json(found)
    else:
        click.echo(readable_report(found))
