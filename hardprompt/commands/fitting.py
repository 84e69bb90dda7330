"""A progress bar over the methods that a command fits, and how it is stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hardprompt.compare import Comparison
    from hardprompt.sweep.run import Sweep


def fit_with_bar(
    work: Comparison | Sweep,
    run: Callable[[], dict[str, Any]],
    stopped: Callable[[], str],
    *,
    quiet: bool,
    as_json: bool,
) -> dict[str, Any]:
    """What `run` returns; on Ctrl-C or a signal to end, prints what `stopped` says and leaves."""
    from tqdm import tqdm

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
            return run()
        except KeyboardInterrupt:
            bar.close()
            click.echo(stopped(), err=as_json)  # it is no result
            sys.exit(128 + interrupted)
