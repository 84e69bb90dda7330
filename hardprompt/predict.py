"""Labels for a stream of texts, or texts written for them, in batches: `hardprompt predict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from hardprompt.classifier import Classifier
from hardprompt.streams import Prediction, TextRow

# Rows held at once; enough of like length to fill the model's batches.
CHUNK = 512
DIGITS = 6


@dataclass
class Tally:
    """What was done."""

    rows: int = 0
    empty: int = 0  # rows without a text: kept in their place, without an answer
    cut: int = 0  # texts too long for the model
    labels: Counter[str] = field(default_factory=Counter)
    written: int = 0  # rows for which a text was written


def predict_rows(
    classifier: Classifier,
    rows: Iterable[TextRow],
    write: Callable[[Prediction], None],
    on_rows: Callable[[int], None] = lambda n: None,
) -> Tally:
    """Every row with its label and probabilities, or with what is written for it, in the order
    of the input; `on_rows` is told how many more are done."""
    answer = _written if classifier.prompt.writes else _predicted
    tally, waiting = Tally(), iter(rows)
    while chunk := list(islice(waiting, CHUNK)):
        for row, found in zip(chunk, answer(classifier, chunk), strict=True):
            write(found)
            tally.rows += 1
            tally.empty += not row.text
            if found.label is not None:
                tally.labels[found.label] += 1
            tally.written += found.written is not None
        on_rows(len(chunk))
    tally.cut = classifier.cut
    return tally


def _predicted(classifier: Classifier, rows: Sequence[TextRow]) -> list[Prediction]:
    names = [label.name for label in classifier.prompt.labels]
    probabilities = iter(np.exp(classifier.log_probs([row.text for row in rows if row.text])))
    found = []
    for row in rows:
        if not row.text:
            found.append(Prediction(row.fields))
            continue
        figures = next(probabilities)
        best = names[int(figures.argmax())]
        shares = {name: round(float(p), DIGITS) for name, p in zip(names, figures, strict=True)}
        found.append(Prediction(row.fields, best, shares))
    return found


def _written(classifier: Classifier, rows: Sequence[TextRow]) -> list[Prediction]:
    texts = iter(classifier.write([row.text for row in rows if row.text]))
    return [Prediction(row.fields, written=next(texts) if row.text else None) for row in rows]
