"""Prompts that a user brought, in the same table as found ones."""

from __future__ import annotations

from typing import Any

from hardprompt.report.inspect import class_table
from hardprompt.report.search import legend, prior_warning, prompt_table
from hardprompt.report.text import quoted, writes
from hardprompt.report.written import EMPTY, MANUAL, samples, text_metrics

SHOWN = 3  # prompts whose classes or texts are shown; --json has all


def assess_report(results: dict[str, Any]) -> str:
    """The table, what it means, and what the first prompts make of the rows."""
    prompts, split = results["prompts"], results["split"]
    marks = ["" if entry["certified"] else " !" for entry in prompts]
    lines = [
        prompt_table(results, prompts, marks, len(prompts)),
        "",
        legend(results, split),
        "The order is that of dev.",
        *_uncertified(prompts),
        *(prior_warning(results["prior"], prompts[0], split) if results["prior"] else []),
        *(_written(results, split) if writes(results) else _classes(prompts, split)),
    ]
    return "\n".join(lines)


def _classes(prompts: list[dict[str, Any]], split: str) -> list[str]:
    lines = []
    for entry in prompts[:SHOWN]:
        title = f"Classes, on {split}, with {quoted(entry['text'])}"
        lines += ["", title, class_table(entry["per_class"])]
    return lines


def _written(results: dict[str, Any], split: str) -> list[str]:
    """All metrics of all prompts, and the first texts of the first prompts."""
    written, rivals = results["written"], {"manual": MANUAL, "empty": EMPTY}
    each = {str(n): quoted(entry["text"]) for n, entry in enumerate(results["prompts"], start=1)}
    first = {name: f"prompt {name}" for name in list(each)[:SHOWN]}
    metrics = text_metrics(written, each | rivals, split)
    return ["", metrics, "", samples(written, first | rivals, split)]


def _uncertified(prompts: list[dict[str, Any]]) -> list[str]:
    if all(entry["certified"] for entry in prompts):
        return []
    return ["! the prompt melts into some of the texts beside it: its tokens are not always these."]
