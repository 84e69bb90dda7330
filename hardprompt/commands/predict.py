"""`hardprompt predict`: a found prompt over a whole file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import click

from hardprompt.commands.options import (
    NUMBER,
    OUTPUT_DIR,
    RUN,
    decoding_options,
    model_options,
)
from hardprompt.commands.terminal import classifier_for, print_notes
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.escaping import escape
from hardprompt.files import written_whole

if TYPE_CHECKING:
    from hardprompt.predict import Tally

STANDARD = Path("-")
PATH = click.Path(path_type=Path)


@click.command()
@RUN
@click.option(
    "--input", "source", type=PATH, required=True, metavar="FILE|-",
    help="Texts: .txt with one a line, .csv, .tsv or .jsonl; - is standard input.",
)  # fmt: skip
@click.option(
    "--output", "target", type=PATH, default="-", show_default=True, metavar="FILE|-",
    help="Predictions: .jsonl or .csv; - is standard output, as JSONL.",
)  # fmt: skip
@click.option(
    "--input-format", type=click.Choice(["txt", "csv", "tsv", "jsonl"]),
    help="By default what the file's name ends in; txt for standard input.",
)  # fmt: skip
@click.option(
    "--text-field",
    show_default="text; source where texts are written",
    help="The field that holds the text.",
)
@NUMBER
@model_options(None)
@decoding_options(None)
@OUTPUT_DIR
def predict(
    run: str | None, source: Path, target: Path, input_format: str | None,
    text_field: str | None, number: int, output_dir: Path, **model: Any,
) -> None:  # fmt: skip
    """Label every text of a file with a found prompt, or write one for each: RUN, or the latest.

    RUN is a run's name or folder, a prompt.json, or the word latest.

    \b
    hardprompt predict --input texts.csv --output labels.csv
    """
    from hardprompt.prompt import find_prompt
    from hardprompt.streams import KINDS, WRITERS, kind_of, read_texts

    kind = input_format or ("txt" if source == STANDARD else kind_of(source, KINDS))
    wanted = "jsonl" if target == STANDARD else kind_of(target, tuple(WRITERS))
    if kind == "txt" and text_field is not None:
        raise UsageError("--text-field is for files with fields, and every line of a txt is a text")
    if source != STANDARD and source.exists() and target.exists() and target.samefile(source):
        raise UsageError(f"--output is the file of --input, '{source}'; choose another name")
    prompt = find_prompt(run, output_dir, number - 1)
    with _opened(source) as raw:
        text = TextIOWrapper(raw, encoding="utf-8-sig", newline="" if kind == "csv" else "\n")
        classifier = classifier_for(prompt, model)
        from hardprompt.predict import predict_rows

        name = "standard input" if source == STANDARD else str(source)
        field = text_field or ("source" if prompt.writes else "text")
        with _written(target) as file, _bar(raw, source) as tick:
            write = WRITERS[wanted](file, [label.name for label in prompt.labels])
            rows = read_texts(text, kind, field, name, write.head)
            tally = predict_rows(classifier, rows, write, tick)
    done = "written" if prompt.writes else "labelled"
    click.echo(f"{done:<9} {_counts(tally)}; of {tally.rows:,} rows", err=True)
    if tally.empty:
        left = "an answer" if prompt.writes else "a label"
        print_notes([f"rows without a text, left without {left}: {tally.empty:,}"])
    if tally.cut:
        print_notes([f"texts too long for the model, cut at their end: {tally.cut:,}"])


def _counts(tally: Tally) -> str:
    """How many rows got which label, or a text."""
    if tally.written:
        return f"{tally.written:,}"
    counts = (f"{escape(label)} {n:,}" for label, n in tally.labels.most_common())
    return ", ".join(counts) or "nothing"


@contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    if source == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        file = source.open("rb")
    except FileNotFoundError:
        raise UsageError(f"no input file '{source}'") from None
    except OSError as error:
        raise HardpromptError(f"cannot read '{source}': {error.strerror}") from None
    with file:
        yield file


@contextmanager
def _written(target: Path) -> Iterator[TextIO]:
    if target == STANDARD:
        # Like a file: UTF-8 and line feeds, whatever the terminal's settings are.
        out = TextIOWrapper(sys.stdout.buffer, encoding="utf8", newline="")
        yield out
        out.detach()
        return
    with written_whole(target) as file:
        yield file


@contextmanager
def _bar(raw: BinaryIO, source: Path) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal: by the bytes read of a file, else by rows."""
    from tqdm import tqdm

    size = source.stat().st_size if source != STANDARD and source.is_file() else None
    unit: dict[str, Any] = {"unit": " rows"} if size is None else {"unit": "B", "unit_scale": True}
    with tqdm(
        total=size, file=sys.stderr, leave=False, disable=not sys.stderr.isatty(), **unit
    ) as bar:

        def tick(rows: int) -> None:
            bar.update(rows if size is None else raw.tell() - bar.n)

        yield tick
