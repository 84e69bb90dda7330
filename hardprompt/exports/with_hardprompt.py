"""Labels texts with a prompt that hardprompt found: one text a line in, one JSON object a line out.

python THIS_FILE < texts.txt > labels.jsonl

Blank lines are left out. Needs hardprompt. `--model` takes the model from elsewhere than where
the prompt was found.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from itertools import islice
from typing import Any

from hardprompt import HardPrompt
from hardprompt.errors import HardpromptError

PROMPT: dict[str, Any] = {}
CHUNK = 256  # texts scored together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=PROMPT["model"]["name"], help="hub id or folder")
    prompt = HardPrompt.from_json(PROMPT)
    classifier = prompt.on(prompt.load_model(parser.parse_args().model))
    for sentence in classifier.differences:
        sys.stderr.write(f"note: {sentence}\n")
    names = [label.name for label in prompt.labels]
    lines = (line.strip() for line in sys.stdin)
    texts = (line for line in lines if line)
    while chunk := list(islice(texts, CHUNK)):
        for text, row in zip(chunk, classifier.log_probs(chunk), strict=True):
            answer: dict[str, Any] = {"text": text, "label": names[int(row.argmax())]}
            shares = [round(math.exp(x), 6) for x in row]
            answer["probabilities"] = dict(zip(names, shares, strict=True))
            sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    try:
        main()
    except HardpromptError as error:
        raise SystemExit(f"error: {error}") from None
