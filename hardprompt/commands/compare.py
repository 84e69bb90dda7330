"""`hardprompt compare`: what other ways to the same labels would have given, at equal cost."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardprompt import runs
from hardprompt.baselines.table import DEFAULT
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

if TYPE_CHECKING:
    from hardprompt.compare import Comparison


def _words(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _numbers(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    words = _words(context, option, value)
    if not all(word.isdigit() for word in words):
        raise click.BadParameter(f"numbers with commas between them, got '{value}'")
    return [int(word) for word in words]


@click.command()
@task_options_without_seed
@model_options("mini")
@TEMPLATE
@click.option("--len", "length", type=int, help="Tokens of the prompt, hard or soft.")
@click.option(
    "--methods",
    default=",".join(DEFAULT),
    show_default=True,
    callback=_words,
    help="What to compare, with commas.",
)
@VOCABULARY
@METRIC
@decoding_options(1)
@click.option(
    "--budget",
    type=float,
    help="For each method, as prompts to measure; by default that of search.",
)
@SEARCH_ROWS
@click.option(
    "--seeds",
    default="0",
    show_default=True,
    callback=_numbers,
    help="Seeds, with commas; figures are means over them.",
)
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
    if options["length"] is None and "{prompt:" not in (options["template"] or ""):
        options["length"] = 5
    folder = None if resume is None else runs.find(resume or None, output_dir, runs.COMPARE)
    prepare_libraries(verbose=verbose)
    from hardprompt.compare import CompareConfig, Comparison
    from hardprompt.report.compare import compare_header, compare_report

    if folder is None:
        config = CompareConfig.of(RunConfig(**options), methods, seeds)
    else:
        config = CompareConfig.read(folder)
    session = Comparison.prepare(config)
    if verbose or not as_json:
        click.echo(compare_header(session, config.methods) + "\n", err=True)
    work = Comparison(config, folder or config.create(output_dir), session)
    results = _run(work, quiet=as_json and not verbose)
    if as_json:
        print_json(results)
    else:
        click.echo(compare_report(results))


def _run(work: Comparison, *, quiet: bool) -> dict[str, Any]:
    """Runs with a progress bar a method; Ctrl-C says how to go on."""
    from tqdm import tqdm

    from hardprompt.report.compare import stopped_compare_report

    interrupted = signal.SIGINT

    def terminate(number: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = signal.SIGTERM
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    with tqdm(
        unit=" rows", file=sys.stderr, leave=False, disable=quiet or not sys.stderr.isatty(),
        bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}",
    ) as bar:  # fmt: skip

        def begin(name: str, seed: int, budget: float) -> None:
            bar.reset(budget)
            bar.set_description_str(f"{name}, seed {seed}", refresh=True)

        def spend(spent: float) -> None:
            bar.n = min(spent, bar.total)
            bar.refresh()

        work.on_method, work.on_spend = begin, spend
        try:
            return work.run()
        except KeyboardInterrupt:
            bar.close()
            click.echo(stopped_compare_report(work.so_far()))
            sys.exit(128 + interrupted)
