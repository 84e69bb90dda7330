"""The command line: parse, call one library function, render. Nothing heavy is imported here."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardprompt import __version__, runs
from hardprompt.commands.bench import bench
from hardprompt.commands.check import check
from hardprompt.commands.compare import compare
from hardprompt.commands.evaluate import evaluate
from hardprompt.commands.export import export
from hardprompt.commands.gap import gap
from hardprompt.commands.labels import labels
from hardprompt.commands.new_task import new_task
from hardprompt.commands.options import (
    JSON,
    METRIC,
    OBJECTIVE,
    OUTPUT_DIR,
    RUN,
    SEARCH_ROWS,
    TEMPLATE,
    TOP,
    VOCABULARY,
    decoding_options,
    model_options,
)
from hardprompt.commands.predict import predict
from hardprompt.commands.readable import readable
from hardprompt.commands.sweep import sweep
from hardprompt.commands.task_options import task_options
from hardprompt.commands.terminal import prepare_libraries, print_json
from hardprompt.commands.transfer import transfer
from hardprompt.commands.trial import trial
from hardprompt.config import FLUENCY, RunConfig, absolute_storage, with_front
from hardprompt.errors import UsageError
from hardprompt.presets import with_preset

if TYPE_CHECKING:
    from hardprompt.search import Search
    from hardprompt.session import Session

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
STDOUT = 1  # its number, whatever has become of `sys.stdout`


class Commands(click.Group):
    """All commands. The reader of a pipe may leave, as `head` does: that is no failure, as click
    would have it, and nothing is left to say."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # for what is still to be flushed
            return 0

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Its options may come from the environment, by the names that are typed."""
        command = super().get_command(ctx, cmd_name)
        for option in [] if command is None else command.params:
            if isinstance(option, click.Option):
                option.envvar = _variable(cmd_name, option)
        return command


def _variable(command: str, option: click.Option) -> str:
    """`HARDPROMPT_SEARCH_MIN_LEN` for `--min-len` of `search`."""
    typed = next(name for name in option.opts if name.startswith("--"))
    return f"HARDPROMPT_{command}_{typed[2:]}".replace("-", "_").upper()


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="hardprompt")
def main() -> None:
    """Find the words that make a frozen language model solve a task.

    \b
    hardprompt search --task sentiment --len 5
    """


def _setting(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[Any, ...]:
    """`--set width=16` -> ("width", 16); values are JSON, or else words."""
    found = []
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"it is written name=value, got '{value}'")
        try:
            found.append((key, json.loads(text)))
        except (ValueError, RecursionError):  # no JSON, or none that Python reads
            found.append((key, text))
    return tuple(found)


@main.command()
@task_options
@model_options("mini")
@TEMPLATE
@click.option(
    "--len",
    "length",
    type=int,
    show_default="5, or as preset or template say",
    help="Free tokens of the prompt.",
)
@click.option("--min-len", "min_length", type=int, help="Allow shorter prompts, down to this.")
@click.option("--strategy", default="auto", show_default=True, help="See: hardprompt ls strategies")
@click.option("--preset", help="A published algorithm with its settings: hardprompt ls presets")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_setting,
    metavar="NAME=VALUE",
    help="A hyperparameter of the strategy or preset; repeat for more.",
)
@VOCABULARY
@click.option("--allow-label-words", is_flag=True, help="Let prompts hold the label words.")
@OBJECTIVE
@click.option(
    "--fluency",
    type=float,
    show_default=f"{FLUENCY:g} for two labels, or as preset says; 0 with --pareto",
    metavar="W",
    help="Add W times the prompt's own mean negative log-likelihood to its loss.",
)
@METRIC
@decoding_options(1)
@click.option("--budget", type=float, help="Prompts to measure; by default by the model's size.")
@click.option("--time", "time_limit", type=float, help="Seconds that the command may take.")
@click.option("--patience", type=float, help="End after so many prompts without a better one.")
@SEARCH_ROWS
@click.option(
    "--start",
    multiple=True,
    default=("manual",),
    show_default=True,
    help="manual, random, or any text; repeat for more.",
)
@click.option("--no-drop", is_flag=True, help="Measure every prompt to the end.")
@click.option("--race", is_flag=True, help="Also drop prompts that are probably not good enough.")
@click.option("--pareto", is_flag=True, help="Keep a front of loss, fluency and length (NSGA-II).")
@click.option(
    "--optuna-storage",
    metavar="URL",
    help="Mirror the search there for optuna-dashboard: sqlite:///study.db, or a journal file.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[RUN]",
    help="Go on with a run (the latest by default); its own options win.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@TOP
@JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the best prompt.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@OUTPUT_DIR
def search(**options: Any) -> None:
    """Search the best prompt for a task.

    \b
    hardprompt search --task sentiment --len 5
    """
    show = {key: options.pop(key) for key in ("as_json", "quiet", "verbose", "top")}
    if show["as_json"] and show["quiet"]:
        raise UsageError("--json and --quiet exclude each other")
    root, resume, dry = (options.pop(key) for key in ("output_dir", "resume", "dry_run"))
    if resume is not None:
        folder = runs.find(resume or None, root)
        config = runs.read_config(folder)
        if options["optuna_storage"] is not None:  # a mirror may move, or begin later
            storage = absolute_storage(options["optuna_storage"])
            config = replace(config, optuna_storage=storage)
    else:
        folder, config = None, _config(options)
    _search(config, root, folder, dry, show)


def _config(options: dict[str, Any]) -> RunConfig:
    options["time"] = options.pop("time_limit")
    options["dropping"] = not options.pop("no_drop")
    if options["optuna_storage"] is not None:
        options["optuna_storage"] = absolute_storage(options["optuna_storage"])
    if options["preset"] is not None:
        options = with_preset(options, _given(options))
    if options.pop("pareto"):
        options = with_front(options)
    return RunConfig(**options)


def _given(options: dict[str, Any]) -> set[str]:
    """The options that the user gave; and the length, which the template in use may fix: what is
    left open of it is `with_length`'s."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    given = {name for name in options if context.get_parameter_source(name) not in (default, None)}
    return given | {"length"}


def _search(
    config: RunConfig, root: Path, folder: Path | None, dry: bool, show: dict[str, Any]
) -> None:
    import time

    began = time.monotonic()
    if sys.stderr.isatty():
        _say("loading the model ...", show)
    prepare_libraries(verbose=show["verbose"])
    if config.optuna_storage is not None and not dry:
        from hardprompt.mirror import open_storage

        open_storage(config.optuna_storage)  # whether it can be, before the work
    from hardprompt.report.header import header
    from hardprompt.search import Search
    from hardprompt.verbalizers.prepare import prepared

    session = prepared(config)
    seconds = session.estimate()
    _say(header(session, session.example(), seconds) + "\n", show)
    if dry:
        return
    resumed = folder is not None
    if folder is None:
        folder = runs.create(root, session.config)
    work = Search(session, folder, began=began)
    results = _run(work, session, resumed, show)
    _print_results(results, show)


def _run(work: Search, session: Session, resumed: bool, show: dict[str, Any]) -> dict[str, Any]:
    """Runs with a progress bar; the first Ctrl-C stops after the batch in flight."""
    from tqdm import tqdm

    from hardprompt.report.search import stopped_report
    from hardprompt.report.text import quoted

    interrupted = []

    def interrupt(number: int, frame: object) -> None:
        interrupted.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work.stop()

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    with tqdm(
        total=session.budget, unit=" prompts", file=sys.stderr, leave=False,
        disable=_silent(show) or not sys.stderr.isatty(),
        bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}",
    ) as bar:  # fmt: skip

        def piece(progress: Any) -> None:
            bar.n = min(progress.spent, progress.budget)
            if progress.ids is not None:
                bar.set_postfix_str(f"{progress.loss:.3f} {quoted(work.show(progress.ids))}", False)
            bar.refresh()

        def phase(name: str) -> None:
            bar.set_description_str(name, refresh=True)
            if interrupted:
                raise KeyboardInterrupt

        work.on_piece, work.on_phase = piece, phase
        try:
            return work.run(resume=resumed)
        except KeyboardInterrupt:
            bar.close()
            weight = session.fluency_weight
            said = stopped_report(work.so_far(show["top"]), str(work.folder), weight)
            click.echo(said, err=show["as_json"] or show["quiet"])  # it is no result
            sys.exit(128 + (interrupted[0] if interrupted else signal.SIGINT))


def _print_results(results: dict[str, Any], show: dict[str, Any]) -> None:
    from hardprompt.report.search import search_report

    if show["as_json"]:
        print_json(results)
    elif show["quiet"]:
        click.echo(results["best"][0]["text"])
    else:
        click.echo(search_report(results, show["top"]))


def _say(text: str, show: dict[str, Any]) -> None:
    if not _silent(show):
        click.echo(text, err=True)


def _silent(show: dict[str, Any]) -> bool:
    return bool(show["quiet"] or (show["as_json"] and not show["verbose"]))


@main.command()
@RUN
@TOP
@click.option(
    "--probe", is_flag=True, help="Measure what each word of every listed prompt is worth."
)
@JSON
@OUTPUT_DIR
def inspect(run: str | None, top: int, probe: bool, as_json: bool, output_dir: Path) -> None:
    """Look closely at a run: the latest, or one by name or folder.

    \b
    hardprompt inspect --top 5
    """
    from hardprompt.report.inspect import inspect_report, probe_report

    if probe and as_json:
        raise UsageError("--probe is no part of --json")
    folder = runs.find(run, output_dir)
    results = runs.read_results(folder)
    if probe and len(results["best"][0]["slots"]) > 1:
        raise UsageError("--probe takes words out of one slot, and the template has several")
    if as_json:
        print_json(results)
        return
    click.echo(inspect_report(results, top))
    if probe:
        prepare_libraries()
        from hardprompt.probe import probe_run

        click.echo("\n" + probe_report(probe_run(folder, results, top)))


@main.command("ls")
@click.argument("what", type=click.Choice(["tasks", "strategies", "presets", "models", "runs"]))
@OUTPUT_DIR
def list_things(what: str, output_dir: Path) -> None:
    """List what there is: tasks, strategies, presets, models or runs.

    \b
    hardprompt ls strategies
    """
    from hardprompt.report import listing

    if what == "tasks":
        from hardprompt.tasks import load_task, task_names

        click.echo(listing.tasks([load_task(name, dev_rows=None) for name in task_names()]))
    elif what == "strategies":
        click.echo(listing.strategies())
    elif what == "presets":
        click.echo(listing.presets())
    elif what == "models":
        click.echo(listing.models())
    else:
        click.echo(listing.runs_table(output_dir))


main.add_command(bench)
main.add_command(check)
main.add_command(new_task)
main.add_command(labels)
main.add_command(evaluate)
main.add_command(trial)
main.add_command(predict)
main.add_command(export)
main.add_command(compare)
main.add_command(sweep)
main.add_command(transfer)
main.add_command(readable)
main.add_command(gap)
