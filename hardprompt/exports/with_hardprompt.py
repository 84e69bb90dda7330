"""Answers texts with a found prompt: one text a line in, one JSON object a line out.

python THIS_FILE < texts.txt > answers.jsonl

Blank lines are left out. Needs hardprompt. `--model` takes the model from elsewhere than where
the prompt was found.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from io import TextIOWrapper
from itertools import islice
from typing import Any

from hardprompt import HardPrompt
from hardprompt.classifier import Classifier
from hardprompt.errors import HardpromptError
from hardprompt.streams import read_texts

PROMPT: dict[str, Any] = {}
CHUNK = 256  # texts read together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=PROMPT["model"]["name"], help="hub id or folder")
    prompt = HardPrompt.from_json(PROMPT)
    classifier = prompt.on(prompt.load_model(parser.parse_args().model))
    for sentence in classifier.differences:
        sys.stderr.write(f"note: {sentence}\n")
    lines = TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="\n")
    rows = read_texts(lines, "txt", "text", "standard input")
    given = (row.text for row in rows if row.text)
    while chunk := list(islice(given, CHUNK)):
        found = written(classifier, chunk) if prompt.writes else labelled(classifier, chunk)
        for text, answer in zip(chunk, found, strict=True):
            sys.stdout.write(json.dumps({"text": text, **answer}) + "\n")


def written(classifier: Classifier, texts: list[str]) -> list[dict[str, Any]]:
    return [{"written": text} for text in classifier.write(texts)]


def labelled(classifier: Classifier, texts: list[str]) -> list[dict[str, Any]]:
    names = [label.name for label in classifier.prompt.labels]
    found = []
    for row in classifier.log_probs(texts):
        shares = dict(zip(names, [round(math.exp(x), 6) for x in row], strict=True))
        found.append({"label": names[int(row.argmax())], "probabilities": shares})
    return found


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads may leave, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except HardpromptError as error:
        raise SystemExit(f"error: {error}") from None
