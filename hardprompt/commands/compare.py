"""`hardprompt compare`: what other ways to the same labels would have given, at equal cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hardprompt import runs
from hardprompt.baselines.table import DEFAULT
from hardprompt.commands.fitting import fit_with_bar
from hardprompt.commands.lists import SEEDS, SHARES, words
from hardprompt.commands.options import (
    JSON,
    METRIC,
    OUTPUT_DIR,
    SEARCH_ROWS,
    TEMPLATE,
    VOCABULARY,
    decoding_options,
    model_options,
)
from hardprompt.commands.task_options import task_options_without_seed
from hardprompt.commands.terminal import prepare_libraries, print_json
from hardprompt.config import RunConfig


@click.command()
@task_options_without_seed
@model_options("mini")
@TEMPLATE
@click.option(
    "--len",
    "length",
    type=int,
    show_default="5, or as the template says",
    help="Tokens of the prompt, hard or soft.",
)
@click.option(
    "--methods",
    default=",".join(DEFAULT),
    show_default=True,
    callback=words,
    help="What to compare, with commas, or all.",
)
@SHARES
@VOCABULARY
@METRIC
@decoding_options(1)
@click.option(
    "--budget",
    type=float,
    help="For each method, as prompts to measure; by default that of search.",
)
@SEARCH_ROWS
@SEEDS
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[RUN]",
    help="Go on with a comparison (the latest by default); its own options win.",
)
@JSON
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@OUTPUT_DIR
def compare(
    methods: list[str],
    shares: list[str],
    seeds: list[int],
    resume: str | None,
    as_json: bool,
    verbose: bool,
    output_dir: Path,
    **options: Any,
) -> None:
    """Compare found prompts with everything else at equal cost.

    \b
    hardprompt compare --task sentiment --len 5
    """
    folder = None if resume is None else runs.find(resume or None, output_dir, runs.COMPARE)
    prepare_libraries(verbose=verbose)
    from hardprompt.baselines.base import BACKWARD
    from hardprompt.compare import CompareConfig, Comparison
    from hardprompt.report.compare import compare_header, compare_report, stopped_compare_report

    if folder is None:
        config = CompareConfig.of(RunConfig(**options), methods, seeds, shares)
    else:
        config = CompareConfig.read(folder)
    session = Comparison.prepare(config)
    if verbose or not as_json:
        click.echo(compare_header(session, config.methods, 1 + BACKWARD) + "\n", err=True)
    work = Comparison(config, folder or config.create(output_dir), session)
    results = fit_with_bar(
        work,
        work.run,
        lambda: stopped_compare_report(work.so_far()),
        quiet=as_json and not verbose,
        as_json=as_json,
    )
    if as_json:
        print_json(results)
    else:
        click.echo(compare_report(results))
