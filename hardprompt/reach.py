"""Which references of a task a search can reach: what it lets the model write, and what is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hardprompt.fit import Fit
from hardprompt.tasks.draft import SPLITS, Draft
from hardprompt.tasks.finding import Finding, Place
from hardprompt.tasks.references import references, row_fault


@dataclass(frozen=True)
class Reach:
    """Lengths of references in tokens, their end included; those of rows with a fault are left
    out."""

    limit: int  # of the longest in train: what is written has at most so many
    reserved: int  # of the longest that is scored: so many are kept free behind each text
    counts: dict[str, int]  # references of each split
    short: tuple[tuple[str, Place], ...]  # split and place of rows that no written text can equal

    @classmethod
    def of(cls, draft: Draft, fit: Fit) -> Reach:
        lengths = {split: list(_lengths(draft, split, fit)) for split in SPLITS}
        limit = max((max(found) for _, found in lengths["train"]), default=0)
        # Of dev and test, the first reference is what the loss is of.
        first = (found[0] for rows in lengths.values() for _, found in rows)
        return cls(
            limit,
            max([limit, *first]),
            {split: sum(len(found) for _, found in rows) for split, rows in lengths.items()},
            tuple(
                (split, place)
                for split in ("dev", "test")
                for place, found in lengths[split]
                if min(found) > limit
            ),
        )

    def findings(self) -> Iterator[Finding]:
        """Rows whose references are longer than what is written."""
        for split in ("dev", "test"):
            rows = tuple((place,) for where, place in self.short if where == split)
            if rows:
                yield Finding(
                    "cut",
                    f"rows of {split} whose references are all longer than what is written: "
                    f"{self.limit} tokens, the longest of train; --max-new-tokens N says otherwise",
                    rows,
                )


def _lengths(draft: Draft, split: str, fit: Fit) -> Iterator[tuple[Place, list[int]]]:
    """The place of each row, and the lengths of its references."""
    part = draft.parts[split]
    name = split if draft.whole is None else draft.whole.path.name
    rows = [row for row in part.rows if row_fault(part, row) is None]
    texts = [references(row) for row in rows]
    ids = iter(fit.targets([text for row in texts for text in row]))
    for row, given in zip(rows, texts, strict=True):
        yield (name, row.line), [len(next(ids)) for _ in given]
