"""Written texts as a report shows them: every metric that can be had, and a few of the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hardprompt.errors import HardpromptError
from hardprompt.metrics.text import text_metric_named, text_metric_names
from hardprompt.tasks import Example

# Its search for shifted phrases would take longer than all else.
SLOW, MOST_REFERENCES = ("ter",), 1000
SHOWN = 8  # texts of a report


def about_texts(rows: Sequence[Example], written: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Figures and first texts of what several prompts wrote for the same rows, as JSON."""
    return {
        "metrics": all_metrics(rows, written),
        "samples": [
            {
                "source": row.text,
                "references": list(row.references),
                **{name: texts[number] for name, texts in written.items()},
            }
            for number, row in enumerate(rows[:SHOWN])
        ],
    }


def all_metrics(
    rows: Sequence[Example], written: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Each metric that needs nothing that is not here, with the figure of each list of texts."""
    found = []
    references = [row.references for row in rows]
    for name in text_metric_names():
        if name in SLOW and sum(map(len, references)) > MOST_REFERENCES:
            continue
        try:
            metric = text_metric_named(name)
            each = {who: metric.stats(texts, references) for who, texts in written.items()}
        except HardpromptError:  # an extra that is not there, or texts of a script it cannot read
            continue
        figures = {who: metric.figure(stats) for who, stats in each.items()}
        found.append(
            {
                "metric": name,
                "label": metric.label,
                "signature": metric.signature,
                **{who: round(value, 6) for who, value in figures.items()},
            }
        )
    return found
