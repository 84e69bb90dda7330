"""What `hardprompt check` found, one line each, with the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hardprompt.escaping import escape

MOST = 10  # rows listed in a line


def check_report(found: dict[str, Any]) -> str:
    """What was looked at, every finding, and whether a search would run."""
    files = ", ".join(f"{n} {file['rows']:,} rows" for n, file in found["files"].items())
    lines = {
        "task": found["task"],
        "data": files,
        "model": f"{found['model']['name']}; rows of at most {found['model']['context']:,} tokens",
        "template": found["template"],
        **_answers(found),
    }
    head = [f"{name:<9} {escape(value)}" for name, value in lines.items()]
    notes = [f"note      {escape(note)}" for note in found["notes"]]
    findings = sorted(found["findings"], key=lambda finding: finding["level"] != "error")
    return "\n".join([*head, *notes, "", *map(_line, findings), _verdict(found)])


def _answers(found: dict[str, Any]) -> dict[str, str]:
    """What the model is to say: label words with their tokens, or texts of at most so many."""
    if written := found.get("written"):
        counts = ", ".join(f"{split} {n:,}" for split, n in written["references"].items())
        return {"writes": f"up to {written['limit']} tokens; references: {counts}"}
    labels = found["labels"]
    words = ", ".join(map(_word, labels[:MOST]))
    return {"words": words + (f" and {len(labels) - MOST} more" if len(labels) > MOST else "")}


def _word(label: dict[str, Any]) -> str:
    tokens = "|".join(label["tokens"]).strip() or "no token of its own"
    return f"{label['label']} = {label['word']} ({tokens})"


def _line(finding: dict[str, Any]) -> str:
    line = f"{finding['level']:<9} {escape(finding['message'])}"
    if not finding["rows"]:
        return line
    return f"{line}: {finding['count']:,} ({_rows(finding['rows'])})"


def _rows(groups: Sequence[Sequence[dict[str, Any]]]) -> str:
    """`train line 4 = 17, 9 = 12`: at most ten, then how many more; a file when it changes."""
    shown, last = [], None
    for group in groups[:MOST]:
        places = []
        for place in group:
            name, line = place["file"], place["line"]
            places.append(str(line) if name == last else f"{name} line {line}")
            last = name
        shown.append(" = ".join(places))
    more = f" and {len(groups) - MOST:,} more" if len(groups) > MOST else ""
    return escape(", ".join(shown)) + more


def _verdict(found: dict[str, Any]) -> str:
    levels = [finding["level"] for finding in found["findings"]]
    errors, warnings = levels.count("error"), levels.count("warning")
    counts = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    if errors:
        return f"{counts}: a search would stop at the errors."
    return f"{counts}: a search would run." if warnings else "Nothing found: a search would run."
