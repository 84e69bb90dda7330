"""Label words that were found, in a table beside the task's own."""

from __future__ import annotations

import shlex
from typing import Any

from hardprompt.escaping import escape
from hardprompt.report.text import figure, gain, quoted, reported, table

HEAD = ("label words", "prompt", "search", "dev [95%]", "test [95%]", "over own")


def labels_report(results: dict[str, Any], *, own_data: bool, file: str | None) -> str:
    """The table and what it means; `file` is the task file that the best words were written to,
    if they were, and `own_data` says whether --labels takes them."""
    found, own = results["found"], results["own"]
    rows = [_row(results, entry) for entry in found]
    rows += [_row(results, entry, "(own) ") for entry in own]
    names = ", ".join(map(escape, results["task"]["labels"]))
    count = results["task"]["rows"]
    lines = [
        table(HEAD, rows, left=(0, 1)),
        "",
        f"words for {names}. search: {results['objective']} on {count['search']} rows, lower is "
        f"better; dev, test: {results['metric']}, higher is better; the gain over the task's own "
        "words is paired, on test, with the same prompt.",
        f"{results['candidates']:,} words were weighed on the search rows; dev, {count['dev']} "
        f"rows, chose among {results['judged']} sets, so that its figure of the first is too kind.",
    ]
    lines += _warning(found[0], own[0])
    if found[0]["prompt"]:
        lines.append(f"They were found with the prompt {quoted(found[0]['prompt'])} in place.")
    return "\n".join([*lines, _use(found[0]["words"], own_data=own_data, file=file)])


def _warning(best: dict[str, Any], own: dict[str, Any]) -> list[str]:
    """A sentence where dev does not tell the first from the task's own words."""
    if best["dev"] <= own["dev"]:
        return ["No words that were found do better on dev than the task's own: keep those."]
    if best["dev_gain_interval"][0] > 0:
        return []
    return [
        "On dev the first is not surely better than the task's own words with the same prompt, "
        f"{gain(best['dev_gain'], best['dev_gain_interval'])}: it may have been found by chance."
    ]


def _use(words: dict[str, str], *, own_data: bool, file: str | None) -> str:
    if file is not None:
        return f"Use the first: hardprompt search --task {shlex.quote(file)} --len 5"
    if own_data and not any(mark in name for name in words for mark in ",="):
        option = ",".join(f"{name}={word}" for name, word in words.items())
        return f"Use the first: --labels {shlex.quote(escape(option))}"
    return "Use the first: --save DIR writes a task with these words, which --task takes"


def _row(results: dict[str, Any], entry: dict[str, Any], mark: str = "") -> list[str]:
    low, high = entry["dev_interval"]
    return [
        mark + escape(" | ".join(entry["words"].values())),
        quoted(entry["prompt"]) if entry["prompt"] else "(none)",
        figure(entry["search"]),
        f"{figure(entry['dev'])} [{low:.3f}, {high:.3f}]",
        reported(entry["test"], entry["test_interval"], results["task"]["rows"]["test"]),
        gain(entry["test_gain"], entry["test_gain_interval"]),
    ]
