"""What a task is, and the checks of its TOML file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hardprompt.errors import HardpromptError, unknown
from hardprompt.template import Template

CLASSIFICATION, GENERATION = "classification", "generation"
DEFAULT_TEMPLATES = {"prefix": "{prompt} {text} {label}", "suffix": "{text} {prompt} {label}"}
WRITING_TEMPLATES = {"prefix": "{prompt} {source} Summary:", "suffix": "{source} {prompt}"}
TABLES = {
    "task": {
        "name",
        "version",
        "licence",
        "description",
        "kind",
        "labels",
        "default_template",
    },
    "label_words": None,  # one key a label
    "templates": None,  # one key a template
    "manual": None,  # one key a template
    "data": {"train", "dev", "test"},
}


@dataclass(frozen=True)
class Example:
    text: str
    label: int = 0  # index into the task's labels
    references: tuple[str, ...] = ()  # where a text is to be written: what would be right


@dataclass(frozen=True)
class Label:
    name: str
    word: str  # what the model is to write


@dataclass(frozen=True)
class Task:
    """`search` is what strategies see, `dev` ranks, `test` reports. A task of kind `generation`
    has no labels but references; its search rows have one each."""

    name: str
    labels: tuple[Label, ...]
    templates: Mapping[str, str]
    default_template: str
    manual: Mapping[str, tuple[str, ...]]  # template name -> prompts that people would write
    search: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    version: str = ""
    licence: str = ""
    description: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()  # what a user should know about how the task was read
    kind: str = CLASSIFICATION

    @property
    def writes(self) -> bool:
        """Whether the answer is a text that the model writes, not one of a few labels."""
        return self.kind == GENERATION

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(label.word for label in self.labels)

    @property
    def shortest(self) -> str:
        """The shortest text to search on, which templates and label words are tried with."""
        return min((example.text for example in self.search), key=len)

    def counts(self, split: Iterable[Example]) -> list[int]:
        """Rows of each class."""
        counts = Counter(example.label for example in split)
        return [counts[c] for c in range(len(self.labels))]

    def manual_for(self, name: str, template: Template) -> tuple[str, ...]:
        """The manual prompts of a template; one that the task does not name takes those of its
        kind, and one with several slots has none."""
        if template.n_slots > 1:
            return ()
        own = self.manual.get(name)
        if own is not None:
            return own
        return self.manual.get("suffix" if template.label_follows_prompt else "prefix", ())

    def fingerprint(self) -> str:
        """sha256 over all that a score depends on."""
        content = asdict(self)
        for key in ("notes", "source", "description", "licence"):
            content.pop(key)
        if not self.writes:  # as before there were others
            content.pop("kind")
            for split in ("search", "dev", "test"):
                content[split] = [
                    {"text": row.text, "label": row.label} for row in getattr(self, split)
                ]
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def check_tables(tables: Mapping[str, Any], file: str) -> None:
    """Refuses keys that a task file does not know, naming file and key."""
    for name, table in tables.items():
        if name not in TABLES:
            raise HardpromptError(f"{file}: {unknown('table', name, TABLES)}")
        known = TABLES[name]
        if not isinstance(table, dict):
            raise HardpromptError(f"{file}: [{name}] must be a table")
        for key in table:
            if known is not None and key not in known:
                raise HardpromptError(f"{file}: {unknown(f'key in [{name}]', key, known)}")


def check_texts(table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    """TOML has types: `no = true` is no word. Every value must be a non-empty string."""
    for key in keys:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise HardpromptError(f"{where}: '{key}' must be a text in quotes, got {value!r}")


def check_templates(templates: Mapping[str, str], where: str) -> None:
    if not templates:
        raise HardpromptError(
            f"{where}: [templates] names none; give one, or leave the table out for the usual two"
        )
    for name, source in templates.items():
        try:
            Template.parse(source)
        except HardpromptError as error:
            raise HardpromptError(f"{where}: template '{name}': {error}") from error


WRITING_PROMPTS: dict[str, tuple[str, ...]] = {
    "prefix": (
        "Summarize the following text.",
        "Rewrite this in one sentence:",
        "Write a summary.",
        "Text:",
    ),
    "suffix": ("In short:", "TL;DR:", "Summary:", "In other words:"),
}


def generic_prompts(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Prompts that anybody would try first, for tasks that bring none."""
    listed = list(words)
    choice = " or ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
    return {
        "prefix": (
            f"Is this {choice}?",
            f"Classify the text as {choice}:",
            "What is the label of this text?",
            "Label:",
        ),
        "suffix": (
            "It is",
            "The label is",
            f"Is this {choice}? It is",
            "Answer:",
        ),
    }
