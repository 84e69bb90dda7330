"""Written texts as a report shows them: every metric that can be had, and a few of the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hardprompt.errors import UsageError
from hardprompt.metrics.text import text_metric_named, text_metric_names
from hardprompt.tasks import Example

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
        try:
            metric = text_metric_named(name)
        except UsageError:  # an extra that is not installed, or a model that is not given
            continue
        figures = {who: metric.figure(metric.stats(t, references)) for who, t in written.items()}
        found.append(
            {
                "metric": name,
                "label": metric.label,
                "signature": metric.signature,
                **{who: round(value, 6) for who, value in figures.items()},
            }
        )
    return found
