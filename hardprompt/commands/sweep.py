"""`hardprompt sweep`: what a longer prompt or a larger model brings, at equal cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardprompt import runs
from hardprompt.commands.fitting import fit_with_bar
from hardprompt.commands.lists import SEEDS, SHARES, numbers, words
from hardprompt.commands.options import (
    JSON,
    METRIC,
    OUTPUT_DIR,
    SEARCH_ROWS,
    TEMPLATE,
    VOCABULARY,
    decoding_options,
    loading_options,
    model_names,
)
from hardprompt.commands.task_options import task_options_without_seed
from hardprompt.commands.terminal import prepare_libraries, print_json
from hardprompt.config import RunConfig

if TYPE_CHECKING:
    from hardprompt.sweep.run import Sweep


@click.command()
@task_options_without_seed
@click.option(
    "--model", "models", default="mini", show_default=True, callback=model_names,
    help="Models to measure, with commas: mini (embedded), hub ids, or local folders.",
)  # fmt: skip
@loading_options(own=False)
@TEMPLATE
@click.option(
    "--len", "lengths", default="1,2,3,5,10,20", show_default=True, callback=numbers,
    help="Lengths of the prompt in tokens, with commas.",
)  # fmt: skip
@click.option(
    "--methods", default="search,prompt-tuning,manual,none", show_default=True, callback=words,
    help="What to measure, with commas; see hardprompt compare.",
)  # fmt: skip
@SHARES
@VOCABULARY
@METRIC
@decoding_options(1)
@click.option(
    "--budget", type=float,
    help="For each method and length, as prompts to measure; by default by the model's size.",
)  # fmt: skip
@SEARCH_ROWS
@SEEDS
@click.option(
    "--resume", is_flag=False, flag_value="", default=None, metavar="[RUN]",
    help="Go on with a sweep (the latest by default); its own options win.",
)  # fmt: skip
@JSON
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@OUTPUT_DIR
def sweep(
    models: list[str], lengths: list[int], methods: list[str], shares: list[str], seeds: list[int],
    resume: str | None, as_json: bool, verbose: bool, output_dir: Path, **options: Any,
) -> None:  # fmt: skip
    """Draw the metric against the prompt's length and the model's size.

    \b
    hardprompt sweep --task sentiment --len 1,2,5,10
    """
    path = None if resume is None else runs.find(resume or None, output_dir, runs.SWEEP)
    prepare_libraries(verbose=verbose)
    from hardprompt.report.sweep import stopped_sweep_report, sweep_report
    from hardprompt.sweep.config import SweepConfig
    from hardprompt.sweep.folder import SweepFolder
    from hardprompt.sweep.run import Sweep

    if path is None:
        config = SweepConfig.of(RunConfig(**options), models, lengths, methods, seeds, shares)
        work = Sweep(config)
    else:
        config = SweepConfig.read(path)
        work = Sweep(config, SweepFolder(path, config))
    quiet = as_json and not verbose
    _announce(work, quiet)
    results = fit_with_bar(
        work,
        lambda: work.run(output_dir),
        lambda: stopped_sweep_report(work.so_far()),
        quiet=quiet,
        as_json=as_json,
    )
    if as_json:
        print_json(results)
    else:
        click.echo(sweep_report(results))


def _announce(work: Sweep, quiet: bool) -> None:
    """Says what is about to be done; keeps nothing of it, since its model is to make room."""
    from hardprompt.baselines.base import BACKWARD
    from hardprompt.report.sweep import sweep_header

    session, config = work.first(), work.config
    if session is not None and not quiet:
        varied = config.models, config.lengths, config.methods
        header = sweep_header(session, *varied, 1 + BACKWARD)
        click.echo(header + "\n", err=True)
