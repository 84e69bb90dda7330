"""What every command does before it loads a model, and how it speaks."""

from __future__ import annotations

import json
import os
from typing import Any

import click


def prepare_libraries(*, verbose: bool = False) -> None:
    """Keeps the libraries' own bars and warnings off the terminal."""
    # What tokenizers would warn of in processes that fork; the user's own setting wins.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    if not verbose:
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def print_json(content: Any) -> None:
    click.echo(json.dumps(content, ensure_ascii=False, indent=1))
