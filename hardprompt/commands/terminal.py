"""What every command does before it loads a model, and how it speaks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from logging import ERROR, getLogger
from typing import TYPE_CHECKING, Any

import click

from hardprompt.escaping import escape

if TYPE_CHECKING:
    from hardprompt.classifier import Classifier
    from hardprompt.prompt import HardPrompt


def prepare_libraries(*, verbose: bool = False) -> None:
    """Keeps the libraries' own bars and warnings off the terminal."""
    # What tokenizers would warn of in processes that fork; the user's own setting wins.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    if not verbose:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        getLogger("huggingface_hub").setLevel(ERROR)  # the hub's, which tells of every retry


def print_json(content: Any) -> None:
    """In UTF-8, as JSON is, whatever the terminal's settings are."""
    click.echo(json.dumps(content, ensure_ascii=False, indent=1).encode())


def print_notes(notes: Iterable[str]) -> None:
    """What a user should know, on stderr."""
    for note in notes:
        click.echo(f"note      {escape(note)}", err=True)


def classifier_for(prompt: HardPrompt, model: dict[str, Any]) -> Classifier:
    """A prompt on its model or on the one asked for; says what differs from when it was found."""
    prepare_libraries()
    name = model.pop("model")
    beams, limit = model.pop("beams", None), model.pop("max_new_tokens", None)
    given = {key: value for key, value in model.items() if value is not None}
    classifier = prompt.on(prompt.load_model(name, **given), beams=beams, limit=limit)
    print_notes(classifier.differences)
    return classifier
