"""`hardprompt gap`: a run beside the best there is in its space."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hardprompt import runs
from hardprompt.commands.options import JSON, OUTPUT_DIR, RUN
from hardprompt.commands.terminal import prepare_libraries, print_json


@click.command()
@RUN
@click.option(
    "--most", type=click.IntRange(min=1), default=50_000, show_default=True,
    help="Prompts that may be measured.",
)  # fmt: skip
@JSON
@OUTPUT_DIR
def gap(run: str | None, most: int, as_json: bool, output_dir: Path) -> None:
    """Measure every prompt of a small space, and how near a run came to the best.

    RUN is a run's name or folder; by default the latest.

    \b
    hardprompt search --task sentiment --len 2 --vocab-top 100
    hardprompt gap latest
    """
    folder = runs.find(run, output_dir)
    results = runs.read_results(folder)
    prepare_libraries()
    from tqdm import tqdm

    from hardprompt.gap import gap_run
    from hardprompt.report.gap import gap_report

    silent = as_json or not sys.stderr.isatty()
    with tqdm(unit=" prompts", file=sys.stderr, leave=False, disable=silent) as bar:

        def chunk(done: int, n: int) -> None:
            bar.total = n
            bar.update(done - bar.n)

        found = gap_run(folder, results, most, chunk)
    if as_json:
        print_json(found)
    else:
        click.echo(gap_report(found))
