"""The tables of `hardprompt ls`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hardprompt import runs
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.escaping import escape
from hardprompt.presets import PRESETS
from hardprompt.registry import hyperparameters, strategy_class, strategy_names
from hardprompt.report.text import digits, figure, quoted, table
from hardprompt.tasks.schema import Task


def tasks(found: Sequence[Task]) -> str:
    """Built-in tasks with their classes and templates."""
    rows = [
        [
            task.name,
            ", ".join(f"{label.name} = {label.word}" for label in task.labels) or "(a text)",
            ", ".join(task.templates),
            f"{len(task.dev)} dev, {len(task.test)} test",
            task.licence,
        ]
        for task in found
    ]
    return table(("task", "labels", "templates", "rows", "licence"), rows, left=(0, 1, 2, 3, 4))


def strategies() -> str:
    """Every strategy: what it does, and its settings with their defaults."""
    blocks = []
    for name in strategy_names():
        try:
            cls = strategy_class(name)
        except UsageError as error:  # another package's fault must not hide the others
            blocks.append(f"{name:<11} {error}")
            continue
        first = (cls.__doc__ or "").strip().split("\n")[0]
        settings = " ".join(f"{key}={value}" for key, value in hyperparameters(cls).items())
        blocks.append(f"{name:<11} {first}" + (f"\n{'':<11} {settings}" if settings else ""))
    return "\n".join(blocks)


def presets() -> str:
    """Every preset: its strategy with the published settings, other options, and the source."""
    blocks = []
    for name, preset in PRESETS.items():
        settings = " ".join(f"{key}={value}" for key, value in preset.settings.items())
        lines = [f"{preset.strategy} {settings}".rstrip(), preset.source]
        if preset.search:
            options = (f"{key} {_shown(value)}" for key, value in preset.search.items())
            lines.insert(1, f"with {', '.join(options)}")
        blocks.append(f"{name:<12} " + f"\n{'':<12} ".join(lines))
    return "\n".join(blocks)


def _shown(value: object) -> str:
    """An option's value; of texts to start from, each as it is given."""
    if isinstance(value, tuple):
        return " ".join(map(quoted, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def models() -> str:
    return (
        "mini        the embedded model: 5 M parameters, English, offline\n"
        "HUB_ID      any causal or masked model with safetensors weights on the hub, e.g. gpt2\n"
        "FOLDER      any causal or masked model saved with save_pretrained"
    )


def runs_table(root: Path) -> str:
    """Searches in a folder, oldest first, with their best prompt; then comparisons and sweeps."""
    searches = [[escape(str(folder)), *_best_of(folder)] for folder in runs.listed(root)]
    others = [
        [escape(str(folder)), runs.COMMANDS[mark]]
        for mark in (runs.COMPARE, runs.SWEEP)
        for folder in runs.listed(root, mark)
    ]
    tables = [
        *([table(("run", "test", "best prompt"), searches, left=(0, 2))] if searches else []),
        *([table(("run", "of hardprompt"), others, left=(0, 1))] if others else []),
    ]
    if not tables:
        return "no runs yet; start one with: hardprompt search --task sentiment --len 5"
    return "\n\n".join(tables)


def _best_of(folder: Path) -> tuple[str, str]:
    """The test figure and the text of a run's best prompt."""
    if not (folder / runs.RESULTS).is_file():
        return "-", "(unfinished)"
    try:
        results = runs.read_results(folder)
    except HardpromptError:  # one damaged run must not hide the others
        return "-", "(cannot be read)"
    best = results["best"][0]
    return figure(best["test"], digits(results)), quoted(best["text"])
