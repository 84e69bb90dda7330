"""What `hardprompt export` writes: two scripts that run as they are, and how they are filled."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.resources import files
from pprint import pformat
from typing import Any

from hardprompt.errors import HardpromptError, UsageError, unknown
from hardprompt.prompt import HardPrompt

PLACE = "PROMPT: dict[str, Any] = {}\n"  # the line of a script that the prompt replaces
MARK = "\0"  # stands for the text while the row around it is taken apart
WIDTH = 96
SKIPPED = ("scores", "versions", "task", "schema", "slots")


def exported(prompt: HardPrompt, to: str) -> str:
    """A prompt as text, JSON or a script; raises `UsageError` for a form that there is not,
    or not for its model."""
    if to not in FORMS:
        raise unknown("form to export to", to, FORMS)
    return FORMS[to](prompt)


def _text(prompt: HardPrompt) -> str:
    return prompt.filled("{text}") + "\n"


def _json(prompt: HardPrompt) -> str:
    return json.dumps(prompt.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _python(prompt: HardPrompt) -> str:
    return _script("with_hardprompt.py", prompt.to_json())


def _transformers(prompt: HardPrompt) -> str:
    if prompt.model.kind != "causal":
        raise UsageError(
            f"the script for transformers alone reads causal models, and '{prompt.model.name}' is "
            f"a {prompt.model.kind} one; take --to python, which needs hardprompt"
        )
    content = {key: value for key, value in prompt.to_json().items() if key not in SKIPPED}
    row = {
        "with_prompt": _around(prompt, prompt.texts),
        "without": _around(prompt, prompt.parsed.no_prompt),
        "before_label": prompt.parsed.before_label,
        "room": prompt.room,
    }
    if prompt.writes:
        content["writing"] = asdict(prompt.writing)
    return _script("with_transformers.py", content | {"row": row})


def _around(prompt: HardPrompt, texts: Sequence[str]) -> list[str]:
    """What stands before and after the text, all before the label's word."""
    before, _, after = prompt.parsed.render(texts, MARK).partition(MARK)
    return [before, after]


def _script(name: str, content: dict[str, Any]) -> str:
    script = files(__package__).joinpath(name).read_text(encoding="utf8")
    before, found, after = script.partition(PLACE)
    if not found:
        raise HardpromptError(f"{name} has no place for a prompt; install hardprompt again")
    literal = pformat(content, width=WIDTH, sort_dicts=False)
    return f"{before}{PLACE.removesuffix('{}' + chr(10))}{literal}\n{after}"


FORMS: dict[str, Callable[[HardPrompt], str]] = {
    "text": _text,
    "json": _json,
    "python": _python,
    "transformers": _transformers,
}
