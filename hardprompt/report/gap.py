"""A run's best prompt beside all prompts of its space."""

from __future__ import annotations

from typing import Any

from hardprompt.escaping import escape
from hardprompt.report.text import quoted, table

HEAD = ("", "loss", "regret", "prompt")


def gap_report(found: dict[str, Any]) -> str:
    """What there was to win, and how much of it was won."""
    best, optimum, luck = found["found"], found["optimum"], found["by_luck"]
    n = found["prompts"] - found["unwritable"]
    rows = [
        ["optimum", f"{optimum['loss']:.4f}", "0.0%", quoted(optimum["text"])],
        ["found", f"{best['loss']:.4f}", _share(best["regret"]), quoted(best["text"])],
        ["by luck", f"{luck['loss']:.4f}", _share(luck["regret"]), ""],
        ["random", f"{found['random']:.4f}", "100.0%", ""],
    ]
    lost = f", and {found['unwritable']:,} that cannot be written" if found["unwritable"] else ""
    weight = found["fluency_weight"]
    fluent = f" plus {weight:g} x a prompt's mean negative log-likelihood" if weight else ""
    loss = f"{found['objective']} on {found['rows']} rows{fluent}"
    return "\n".join(
        [
            f"run       {escape(found['run'])}",
            f"space     {n:,} prompts{lost}; {loss}",
            "",
            table(HEAD, rows, left=(0, 3)),
            "",
            f"The prompt found is number {best['rank']:,} of {n:,}.",
            "regret: the share of the way from the optimum to random, the median of all prompts; "
            f"by luck: the median of the best of {found['measured']:,.0f} random prompts, as many "
            "as the search measured.",
        ]
    )


def _share(regret: float | None) -> str:
    return "-" if regret is None else f"{regret:.1%}"
