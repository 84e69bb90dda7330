"""Which references of a task a search can reach: what it lets the model write, and what is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hardprompt.fit import Fit
from hardprompt.tasks.draft import DEV_ROWS, SPLITS, Draft, drawn
from hardprompt.tasks.finding import Finding, Place
from hardprompt.tasks.references import example, row_fault
from hardprompt.tasks.schema import Example


@dataclass(frozen=True)
class Reach:
    """Lengths of references in tokens, their end included; those of rows with a fault are left
    out."""

    limit: int  # of the longest of the search rows: what is written has at most so many
    reserved: int  # of the longest that is scored: so many are kept free behind each text
    counts: dict[str, int]  # references of each split
    short: tuple[tuple[str, Place], ...]  # split and place of rows that no written text can equal
    judged: dict[str, tuple[Example, ...]]  # rows of dev and test for which texts are written

    @classmethod
    def of(cls, draft: Draft, fit: Fit, search_rows: int | None, seed: int) -> Reach:
        """As in a search with so many rows, drawn with this seed."""
        found = {split: list(_usable(draft, split)) for split in SPLITS}
        rows = {split: tuple(row for _, row in placed) for split, placed in found.items()}
        given = [text for some in rows.values() for row in some for text in row.references]
        lengths = {text: len(ids) for text, ids in zip(given, fit.targets(given), strict=True)}
        used = drawn(rows, search_rows, DEV_ROWS, seed)
        # The first reference is what a row's loss is of.
        longest = {
            split: max((lengths[row.references[0]] for row in some), default=0)
            for split, some in used.items()
        }
        limit = longest["train"]
        return cls(
            limit,
            max(longest.values()),
            {split: sum(len(row.references) for row in some) for split, some in rows.items()},
            tuple(
                (split, place)
                for split in ("dev", "test")
                for place, row in found[split]
                if min(lengths[text] for text in row.references) > limit
            ),
            {split: used[split] for split in ("dev", "test")},
        )

    def findings(self) -> Iterator[Finding]:
        """Rows whose references are longer than what is written."""
        for split in ("dev", "test"):
            rows = tuple((place,) for where, place in self.short if where == split)
            if rows:
                yield Finding(
                    "cut",
                    f"rows of {split} whose references are all longer than what is written: "
                    f"{self.limit} tokens, the longest of the search rows; --max-new-tokens N says "
                    "otherwise",
                    rows,
                )


def _usable(draft: Draft, split: str) -> Iterator[tuple[Place, Example]]:
    """Each row without a fault, and its place."""
    part = draft.parts[split]
    name = split if draft.whole is None else draft.whole.path.name
    for row in part.rows:
        if row_fault(part, row) is None:
            yield (name, row.line), example(row)
