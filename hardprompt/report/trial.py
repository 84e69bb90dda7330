"""What a model says of a text with a prompt and without."""

from __future__ import annotations

from typing import Any

from hardprompt.escaping import escape
from hardprompt.report.text import figure, quoted, table


def trial_report(trial: dict[str, Any]) -> str:
    """The prompt, then each text as the model reads it, and both answers side by side."""
    blocks = [f"prompt    {quoted(trial['prompt'])}\nmodel     {escape(trial['model'])}"]
    for text in trial["texts"]:
        cut = "  (cut: too long for the model)" if text["cut"] else ""
        blocks.append(
            f"with      {escape(text['with']['reads'])}{cut}\n"
            f"without   {escape(text['without']['reads'])}\n"
            + (_classes(trial, text) if trial["labels"] else _texts(text))
        )
    return "\n\n".join(blocks)


def _classes(trial: dict[str, Any], text: dict[str, Any]) -> str:
    sides = [text["with"], text["without"]]
    rows = [
        [escape(f"{name} = {word}"), *(figure(side["probabilities"][name]) for side in sides)]
        for name, word in trial["labels"].items()
    ]
    rows.append(["label", *(escape(side["label"]) for side in sides)])
    return table(("class", "with prompt", "without"), rows)


def _texts(text: dict[str, Any]) -> str:
    rows = [
        ["with prompt", quoted(text["with"]["written"])],
        ["without", quoted(text["without"]["written"])],
    ]
    return table(("", "written"), rows, left=(0, 1))
