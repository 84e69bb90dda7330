"""A few texts with a found prompt and without: `hardprompt try`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hardprompt.classifier import Classifier
from hardprompt.types import FloatArray

DIGITS = 6


def try_texts(classifier: Classifier, texts: Sequence[str]) -> dict[str, Any]:
    """What the model reads and what it says, with and without the prompt, as JSON."""
    prompt = classifier.prompt
    shortened = classifier.shortened(texts)
    scores = classifier.log_probs(shortened), classifier.without_prompt(shortened)
    found = [
        {
            "text": text,
            "cut": short != text.strip(),
            "with": _side(classifier, short, scores[0][row], with_prompt=True),
            "without": _side(classifier, short, scores[1][row], with_prompt=False),
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


def _side(
    classifier: Classifier, text: str, log_probs: FloatArray, *, with_prompt: bool
) -> dict[str, Any]:
    names = [label.name for label in classifier.prompt.labels]
    shares = [round(float(p), DIGITS) for p in np.exp(log_probs)]
    return {
        "reads": classifier.reads(text, with_prompt=with_prompt),
        "label": names[int(log_probs.argmax())],
        "probabilities": dict(zip(names, shares, strict=True)),
    }
