"""What a user should know about the rows of a task before searching on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from hardprompt.config import FEWEST_TEST_ROWS
from hardprompt.tasks.draft import FEWEST, Draft
from hardprompt.tasks.finding import Finding, by_text, each, files_of, together
from hardprompt.tasks.label_findings import label_findings
from hardprompt.tasks.references import references, row_fault
from hardprompt.tasks.rows import Fault, Part, Row, fault, listed

FAULTS = {
    "empty": "without a text",
    "text": "whose text is no text",
    "label": "with a label that the task does not name",
    "reference": "without a reference, or with one that is empty or no text",
}


def data_findings(draft: Draft) -> list[Finding]:
    """Rows and labels that break a search, and what makes its figures say less than they seem."""
    files = files_of(draft)
    own = _too_few(draft) if draft.task.writes else label_findings(draft)
    return [
        *(finding for name, part in files.items() for finding in _faults(draft, name, part)),
        *own,
        *_few_tests(draft),
        *(finding for name, part in files.items() for finding in _repeated(draft, name, part)),
        *_conflicts(draft, files),
        *_leaks(draft, files),
    ]


def _faults(draft: Draft, name: str, part: Part) -> Iterator[Finding]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in part.rows:
        wrong = _fault(draft, part, row)
        if wrong is not None:
            found[wrong.kind].append(row)
    for kind, rows in found.items():
        message = f"rows of {name} {FAULTS[kind]}"
        if kind == "label":
            message += f" ({listed(sorted({repr(row.label) for row in rows}))})"
        yield Finding(kind, message, each(name, rows), breaks=True)


def _fault(draft: Draft, part: Part, row: Row) -> Fault | None:
    return row_fault(part, row) if draft.task.writes else fault(part, row, draft.classes)


def _too_few(draft: Draft) -> Iterator[Finding]:
    if draft.whole is not None and len(by_text(draft.whole)) < FEWEST:
        yield Finding(
            "rare",
            f"{draft.whole.path.name} has fewer than {FEWEST} different texts, too few for a file "
            "that is split in three",
            breaks=True,
        )


def _few_tests(draft: Draft) -> Iterator[Finding]:
    n = len(draft.parts["test"].rows)
    if n < FEWEST_TEST_ROWS:
        yield Finding("few", f"test has {n} rows: too few rows for a test figure")


def _repeated(draft: Draft, name: str, part: Part) -> Iterator[Finding]:
    """Texts that stand more than once, with the same answer and with others."""
    groups = [rows for rows in by_text(part).values() if len(rows) > 1]
    same = [rows for rows in groups if len(_answers(draft, rows)) == 1]
    if same:
        stay = " (they stay in one split)" if draft.whole is not None else ""
        yield Finding(
            "duplicates", f"texts that stand more than once in {name}{stay}", together(name, same)
        )
    apart = [rows for rows in groups if len(_answers(draft, rows)) > 1]
    if apart and draft.task.writes:
        yield Finding(
            "apart",
            f"texts of {name} in several rows with different references; each row is judged by "
            "its own, and one row may list them all",
            together(name, apart),
        )


def _answers(draft: Draft, rows: Iterable[Row]) -> set[object]:
    """What the rows say is right."""
    if draft.task.writes:
        return {tuple(sorted(references(row))) for row in rows}
    return {draft.classes.of(row.label) for row in rows}


def _conflicts(draft: Draft, files: dict[str, Part]) -> Iterator[Finding]:
    if draft.task.writes:  # there are many right ways to write a text
        return
    groups: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for name, part in files.items():
        for key, rows in by_text(part).items():
            groups[key] += [(name, row) for row in rows]
    found = [
        group for group in groups.values() if len(_answers(draft, (row for _, row in group))) > 1
    ]
    if found:
        yield Finding(
            "conflict",
            "texts with different labels",
            tuple(tuple((name, row.line) for name, row in group) for group in found),
        )


def _leaks(draft: Draft, files: dict[str, Part]) -> Iterator[Finding]:
    """Texts of one split in another: what was searched or chosen on is not tested on."""
    texts = {name: by_text(part) for name, part in files.items()}
    for first, second in combinations(files, 2):
        shared = [key for key in texts[second] if key in texts[first]]
        if shared:
            yield Finding(
                "leak",
                f"texts of {second} that are also in {first}",
                tuple(
                    tuple((name, row.line) for name in (second, first) for row in texts[name][key])
                    for key in shared
                ),
            )
