"""`hardprompt try`: a found prompt on a few texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hardprompt.commands.options import JSON, NUMBER, OUTPUT_DIR, decoding_options, model_options
from hardprompt.commands.terminal import classifier_for, print_json


@click.command("try")
@click.argument("run")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@NUMBER
@model_options(None)
@decoding_options(None)
@JSON
@OUTPUT_DIR
def trial(
    run: str, texts: tuple[str, ...], number: int, as_json: bool, output_dir: Path, **model: Any
) -> None:
    """Show what the model says of texts, or writes for them, with a found prompt and without.

    RUN is a run's name or folder, a prompt.json, or the word latest.

    \b
    hardprompt try latest "What a lovely day!"
    """
    from hardprompt.prompt import find_prompt

    classifier = classifier_for(find_prompt(run, output_dir, number - 1), model)
    from hardprompt.report.trial import trial_report
    from hardprompt.trial import try_texts

    found = try_texts(classifier, texts)
    if as_json:
        print_json(found)
    else:
        click.echo(trial_report(found))
