"""A few texts with a found prompt and without: `hardprompt try`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hardprompt.classifier import Classifier

DIGITS = 6


def try_texts(classifier: Classifier, texts: Sequence[str]) -> dict[str, Any]:
    """What the model reads and what it says, with and without the prompt, as JSON."""
    prompt = classifier.prompt
    shortened = classifier.shortened(texts)
    sides = _written if prompt.writes else _labelled
    ours, theirs = sides(classifier, shortened, True), sides(classifier, shortened, False)
    found = [
        {
            "text": text,
            "cut": short != text.strip(),
            "with": {"reads": classifier.reads(short), **ours[row]},
            "without": {"reads": classifier.reads(short, with_prompt=False), **theirs[row]},
        }
        for row, (text, short) in enumerate(zip(texts, shortened, strict=True))
    ]
    return {
        "schema": "hardprompt.try/1",
        "prompt": prompt.text,
        "template": prompt.template,
        "model": classifier.model.info.name,
        "labels": {label.name: label.word for label in prompt.labels},
        "texts": found,
    }


def _labelled(
    classifier: Classifier, texts: Sequence[str], with_prompt: bool
) -> list[dict[str, Any]]:
    """The likeliest label of each text, and the probabilities of all."""
    names = [label.name for label in classifier.prompt.labels]
    score = classifier.log_probs if with_prompt else classifier.without_prompt
    return [
        {
            "label": names[int(row.argmax())],
            "probabilities": {
                name: round(float(p), DIGITS) for name, p in zip(names, np.exp(row), strict=True)
            },
        }
        for row in score(texts)
    ]


def _written(
    classifier: Classifier, texts: Sequence[str], with_prompt: bool
) -> list[dict[str, Any]]:
    return [{"written": text} for text in classifier.write(texts, with_prompt=with_prompt)]
