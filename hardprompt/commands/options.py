"""Options that several commands share, as decorators."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from hardprompt import runs
from hardprompt.commands.lists import whole, words

Command = TypeVar("Command", bound=Callable[..., Any])


def number_or(word: str) -> Callable[[click.Context, click.Parameter, str], int | None]:
    """A callback for a number of rows, 1 or more, or a word that means None."""

    def parse(_: click.Context, __: click.Parameter, value: str) -> int | None:
        if value == word:
            return None
        number = whole(value)
        if number is None or number < 1:
            raise click.BadParameter(f"a number of rows, 1 or more, or '{word}', got '{value}'")
        return number

    return parse


def path_or_name(
    there: Callable[[str], bool], names: Callable[[], Iterable[str]] = tuple
) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """A callback that makes the path of what is `there` absolute: a run may be resumed from
    another folder. One of `names`, and anything else, stays as it was written."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
        if not value or not there(path := os.path.expanduser(value)) or value in names():
            return value
        return os.path.abspath(path)

    return parse


model_path = path_or_name(os.path.isdir, lambda: ("mini",))


def model_names(context: click.Context, option: click.Parameter, value: str) -> list[str]:
    """Several models with commas between them, each as `--model` of a search takes it."""
    return [model_path(context, option, word) or word for word in words(context, option, value)]


def _vocabularies() -> Iterable[str]:
    from hardprompt.vocabulary import KINDS

    return KINDS


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator, listed in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


OUTPUT_DIR = click.option(
    "--output-dir", type=click.Path(path_type=Path), default=runs.DEFAULT_ROOT, show_default=True,
    help="Where run folders are.",
)  # fmt: skip
TOP = click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="Prompts to print.",
)  # fmt: skip
SEARCH_ROWS = click.option(
    "--search-rows", default="128", show_default=True, callback=number_or("all"),
    help="Training rows to search on, or 'all'.",
)  # fmt: skip
TEMPLATE = click.option(
    "--template", help='A name of the task\'s, or e.g. "{prompt} {text} {label}".'
)
OBJECTIVE = click.option(
    "--objective", default="nll", show_default=True, help="nll, accuracy, margin or piecewise."
)
METRIC = click.option(
    "--metric",
    show_default="accuracy, or rouge-l",
    help="accuracy, macro-f1 or mcc; of written texts rouge-l, bleu, ...",
)
VOCABULARY = together(
    click.option(
        "--vocab", "vocabulary", default="words", show_default=True,
        callback=path_or_name(os.path.isfile, _vocabularies),
        help="words, ascii, all, or a file with one word a line.",
    ),
    click.option(
        "--vocab-top", "vocabulary_top", type=int, help="Only the N most frequent tokens."
    ),
    click.option(
        "--ban", type=click.Path(), callback=path_or_name(os.path.isfile),
        help="A file with words to leave out, one a line.",
    ),
)  # fmt: skip
RUN = click.argument("run", required=False)
NUMBER = click.option(
    "--number", type=click.IntRange(min=1), default=1, show_default=True,
    help="Which prompt of the run's table; 1 is the best.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def model_options(default: str | None) -> Callable[[Command], Command]:
    """`--model` and how to load it; None: what the prompt was found on, its dtype included."""
    own = default is None
    return together(
        click.option(
            "--model",
            default=default,
            show_default="the prompt's own" if own else True,
            callback=model_path,
            help="mini (embedded), a hub id, or a local folder.",
        ),
        loading_options(own=own),
    )


def loading_options(*, own: bool) -> Callable[[Command], Command]:
    """How a model is loaded; `own`: by default in the dtype that the prompt was found in."""
    return together(
        click.option("--revision", help="Revision of a model on the hub."),
        click.option(
            "--dtype",
            default=None if own else "auto",
            show_default="the prompt's own" if own else True,
            help="auto, float32, bfloat16 or float16.",
        ),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
        ),
        click.option(
            "--batch-size",
            "--batch_size",
            default="auto",
            show_default=True,
            callback=number_or("auto"),
            help="Rows of a batch.",
        ),
    )


def decoding_options(beams: int | None) -> Callable[[Command], Command]:
    """How texts are written; None: as the prompt was found with."""
    own = beams is None
    return together(
        click.option(
            "--beams",
            type=click.IntRange(min=1),
            default=beams,
            show_default="the prompt's own" if own else True,
            help="Of texts to be written: beginnings kept at a time; 1 is greedy.",
        ),
        click.option(
            "--max-new-tokens",
            type=click.IntRange(min=1),
            show_default="the prompt's own" if own else "the longest of the search rows",
            help="Tokens of a text to be written.",
        ),
    )
