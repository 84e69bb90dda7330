"""What `hardprompt bench` found, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardprompt.report.header import subject
from hardprompt.report.text import table

if TYPE_CHECKING:
    from hardprompt.session import Session

COLUMNS = ("prompts", "computed in", "prompts/s", "pairs/s", "tokens", "of peak")


def speed_report(session: Session, found: dict[str, Any]) -> str:
    """Header, rates, and what they are measured by."""
    rows = [
        [
            rate["way"],
            rate["dtype"],
            f"{rate['prompts']:,.1f}",
            f"{rate['pairs']:,.0f}",
            f"{rate['tokens']:.1f}",
            f"{rate['share']:.0%}",
        ]
        for rate in found["rates"]
    ]
    peaks = ", ".join(
        f"{peak / 1e9:,.0f} GFLOP/s in {name}" for name, peak in found["peaks"].items()
    )
    search = found["search"]
    return "\n".join(
        [
            subject(session, session.example()),
            "",
            table(COLUMNS, rows),
            "",
            f"prompts: on all {found['rows']} search rows; new ones, one-token extensions of four, "
            "single swaps of one, the gradient of one. pairs: prompts times rows. tokens: of a "
            "pair, that no other shares. of peak: by the weights that these tokens pass.",
            f"peak: {peaks}, products of the model's shape; {found['threads']} threads, "
            f"{found['device']}",
            f"a search of {search['budget']:,.0f} prompts: about {search['seconds']:.0f} s",
        ]
    )
