"""The prompts of a run on several models as a matrix, from `transfer.json` alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hardprompt.config import FEWEST_TEST_ROWS
from hardprompt.escaping import escape
from hardprompt.report.text import digits, ending, figure, gain, quoted, table

Entry = Mapping[str, Any]


def transfer_report(results: dict[str, Any]) -> str:
    """One matrix of dev and one of test, what they mean, and what could not be measured."""
    dev = _matrix(results, "dev", _dev)
    test = _matrix(results, "test, over no prompt", _test)
    return "\n\n".join([dev, test, "\n".join([*_sentences(results), *_notes(results)])])


def _matrix(results: dict[str, Any], title: str, show: Callable[[Entry, int], str]) -> str:
    """A row for each prompt, a column for each model; `*` where dev is best."""

    def cell(entry: Entry) -> str:
        return show(entry, digits(results))

    models = [model for model in results["models"] if model["skipped"] is None]
    columns = [n for n, model in enumerate(results["models"]) if model["skipped"] is None]
    rows = [
        [
            _prompt(prompt),
            *(
                _marked(cell(prompt["cells"][n]), prompt["cells"][n], model["best"] == number)
                for n, model in zip(columns, models, strict=True)
            ),
        ]
        for number, prompt in enumerate(results["prompts"])
    ]
    baselines = [model["baselines"] for model in models]
    rows.append(["(no prompt)", *(cell(some["empty"]) for some in baselines)])
    for number, entry in enumerate(baselines[0]["manual"]):
        name = f"(manual) {quoted(entry['text'])}"
        rows.append([name, *(cell(some["manual"][number]) for some in baselines)])
    return table((title, *(ending(model["name"]) for model in models)), rows)


def _dev(entry: Entry, n: int) -> str:
    return figure(entry["dev"], n)


def _test(entry: Entry, n: int) -> str:
    """`0.746 +0.049 [+0.016, +0.080]`"""
    if entry["gain_empty"] is None:
        return figure(entry["test"], n)
    gained = gain(entry["gain_empty"], entry["gain_empty_interval"], n)
    return f"{figure(entry['test'], n)} {gained}"


def _marked(text: str, entry: Entry, best: bool) -> str:
    return text + (" *" if best else "") + ("" if entry["certified"] else " !")


def _prompt(prompt: Entry) -> str:
    words = f" -> {escape(' | '.join(prompt['words'].values()))}" if "words" in prompt else ""
    return quoted(prompt["text"]) + words


def _sentences(results: dict[str, Any]) -> list[str]:
    own, rows = results["models"][0], results["task"]["rows"]
    lines = [
        f"{results['metric']} on {rows['dev']} dev and {rows['test']} test rows, higher is better; "
        "gains are paired with the same model's own figure without a prompt, with 95% intervals.",
        f"The prompts were found on {escape(own['name'])}, in the order of its dev. * what dev "
        "would choose of them for each model; test only reports.",
    ]
    cells = [cell for prompt in results["prompts"] for cell in prompt["cells"] if cell is not None]
    if not all(cell["certified"] for cell in cells):
        lines.append("! the prompt melts into some of the texts beside it on this model.")
    if rows["test"] < FEWEST_TEST_ROWS:
        lines.append(f"Only {rows['test']} test rows: too few rows for a test figure.")
    return lines


def _notes(results: dict[str, Any]) -> list[str]:
    """What is particular to a model, then where the figures are."""
    lines = []
    for model in results["models"]:
        name = escape(model["name"])
        if model["skipped"] is not None:
            lines.append(f"{name}: not measured, {escape(model['skipped'])}")
        else:
            lines += [f"{name}: {escape(note)}" for note in model["notes"]]
    return [*lines, f"Files: {escape(results['run'])}/transfer.json and transfer.csv"]
