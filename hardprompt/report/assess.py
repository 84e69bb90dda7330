"""Prompts that a user brought, in the same table as found ones."""

from __future__ import annotations

from typing import Any

from hardprompt.report.inspect import class_table
from hardprompt.report.search import legend, prior_warning, prompt_table
from hardprompt.report.text import quoted

CLASSES = 3  # prompts whose classes are shown; --json has all


def assess_report(results: dict[str, Any]) -> str:
    """The table, what it means, and the classes of the first prompts."""
    prompts, split = results["prompts"], results["split"]
    marks = ["" if entry["certified"] else " !" for entry in prompts]
    lines = [
        prompt_table(results, prompts, marks, len(prompts)),
        "",
        legend(results, split),
        "The order is that of dev.",
        *_uncertified(prompts),
        *(prior_warning(results["prior"], split) if results["prior"] is not None else []),
    ]
    for entry in (entry for entry in prompts[:CLASSES] if entry["per_class"]):
        title = f"Classes, on {split}, with {quoted(entry['text'])}"
        lines += ["", title, class_table(entry["per_class"])]
    return "\n".join(lines)


def _uncertified(prompts: list[dict[str, Any]]) -> list[str]:
    if all(entry["certified"] for entry in prompts):
        return []
    return ["! the prompt melts into some of the texts beside it: its tokens are not always these."]
