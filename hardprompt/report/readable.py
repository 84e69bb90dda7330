"""The readable prompt of a run beside its best, and the price."""

from __future__ import annotations

from typing import Any

from hardprompt.escaping import pasted
from hardprompt.report.search import legend, prompt_table
from hardprompt.report.text import digits, figure, gain, quoted


def readable_report(found: dict[str, Any]) -> str:
    """The two prompts, no prompt and the manual ones as a table, and what the first costs."""
    pick, best = found["readable"], found["best"]
    same = pick["text"] == best["text"]
    entries, marks = ([pick], [" *"]) if same else ([pick, best], [" *", " (best)"])
    lines = [
        legend(found),
        f"* the most fluent of {found['qualified']:,} prompts (of {found['measured']:,} measured) "
        f"that keep {found['keep']:g} of the largest gain in search loss: "
        f"{quoted(pick['text'])}",
        f"It keeps {figure(found['kept'], 2)} of the gain: {figure(pick['search'])}, where no "
        f"prompt has {figure(found['none'])} and the lowest is {figure(found['lowest'])}.",
        "Price: none; it is the best prompt itself." if same else _price(found),
        f"Test was opened for {found['test_opened']} prompts of this run: choose --keep by dev.",
        f'Use it: hardprompt try {pasted(found["run"] + "/readable.json")} "a text of yours"',
    ]
    return "\n".join([prompt_table(found, entries, marks, len(entries)), "", *lines])


def _price(found: dict[str, Any]) -> str:
    price, n = found["price"], digits(found)
    dev, test = (gain(price[split], price[f"{split}_interval"], n) for split in ("dev", "test"))
    return (
        f"Price, paired with the best: dev {dev}, test {test}. Dev chose the best, so that its "
        "difference is harder on this one than it should be."
    )
