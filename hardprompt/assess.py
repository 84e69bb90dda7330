"""Prompts that a user brings, measured like found ones: `hardprompt eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardprompt.candidates import Candidate, measure, measure_baselines
from hardprompt.config import RunConfig
from hardprompt.errors import UsageError, unknown
from hardprompt.evaluation import Evaluator, Memory
from hardprompt.judge import Judge
from hardprompt.prompt import HardPrompt
from hardprompt.results import about_decoding, about_model, about_task
from hardprompt.session import Session, versions
from hardprompt.tasks.schema import Label

SCHEMA = "hardprompt.eval/1"
SPLITS = ("dev", "test")
# Nothing is searched: every token may stand in a prompt, and nothing is tried out beforehand.
UNSEARCHED: dict[str, Any] = {
    "strategy": "random",
    "vocabulary": "all",
    "allow_label_words": True,
    "start": (),
    "budget": 1000.0,  # never spent
}


@dataclass(frozen=True)
class Given:
    """Prompts slot by slot, and the prompt file that they came from, if it was one."""

    prompts: tuple[tuple[str, ...], ...]
    file: HardPrompt | None = None
    words: tuple[int | None, ...] | None = None  # a set of label words each; None: the task's own

    @classmethod
    def read(cls, texts: Sequence[str], path: Path | None) -> Given:
        """Prompts as written, those of a file after them: one a line, or a prompt.json.

        A space at the beginning of a line is part of the prompt. Raises `UsageError` where there
        is no prompt.
        """
        found: list[tuple[str, ...]] = [(text,) for text in texts]
        file = None
        if path is not None and path.suffix == ".json":
            file = HardPrompt.load(path)
            found.append(file.texts)
        elif path is not None:
            found += [(line,) for line in _lines(path) if line.strip()]
        if not found:
            raise UsageError('no prompt to measure; give --prompt "..." or --prompts-file FILE')
        return cls(tuple(dict.fromkeys(found)), file)

    def session(self, options: Mapping[str, Any]) -> Session:
        """Made ready to measure these prompts; options as of `RunConfig`.

        Where no model, template or way of writing is asked for, a prompt file brings its own.
        """
        options = dict(options)
        if self.file is not None and options.get("template") is None:
            options["template"] = self.file.template
        if self.file is not None and options.get("model") is None:
            found_on = self.file.model
            own = {"model": found_on.name, "revision": found_on.revision, "dtype": found_on.dtype}
            options = own | {key: value for key, value in options.items() if value is not None}
        if self.file is not None and self.file.writes:
            writing = self.file.writing
            written = {"beams": writing.beams, "max_new_tokens": writing.limit}
            options = written | {k: value for k, value in options.items() if value is not None}
        given = {key: value for key, value in options.items() if value is not None}
        return Session.prepare(RunConfig(**UNSEARCHED | given), self.prompts)

    def notes(self, session: Session) -> list[str]:
        """What differs from where the prompt of the file was found."""
        if self.file is None:
            return []
        notes = []
        was, now = (_wanted(some) for some in (self.file.labels, session.task.labels))
        if was != now:
            notes.append(f"the prompt was found with {was}; here there are {now}")
        if self.file.model.weights != session.model.info.weights:
            notes.append(f"the prompt was found on '{self.file.model.name}' with other weights")
        return notes


def _wanted(labels: Sequence[Label]) -> str:
    """What the model is to say."""
    if not labels:
        return "texts to be written"
    return f"the label words {', '.join(label.word for label in labels)}"


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"no file '{path}'; --prompts-file takes one prompt a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from None
    return [line.rstrip("\r") for line in content.split("\n")]


def _classes(judge: Judge, session: Session, candidate: Candidate) -> dict[str, Any]:
    return {} if session.task.writes else {"per_class": judge.per_class(candidate)}


def _answers(judge: Judge, session: Session, found: Sequence[Candidate]) -> dict[str, Any]:
    """What the first prompt only shifts; or what all of them write, by their numbers."""
    if not session.task.writes:
        return {"prior": judge.prior(found[0])}
    named = {str(number): candidate for number, candidate in enumerate(found, start=1)}
    return {"prior": None, **about_decoding(session), "written": judge.written(named)}


def assess(session: Session, given: Given, split: str = "test") -> dict[str, Any]:
    """All figures of these prompts, best on dev first, as JSON; `split` is dev or test."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    evaluator = Evaluator(session, Memory())
    baselines = measure_baselines(evaluator)
    words = given.words or (None,) * len(given.prompts)
    found = [
        measure(evaluator, prompt, "given", words=number)
        for prompt, number in zip(given.prompts, words, strict=True)
    ]
    found.sort(key=lambda candidate: (-candidate.dev, candidate.loss))
    judge = Judge(evaluator, baselines, split)
    return {
        "schema": SCHEMA,
        "split": split,
        "task": about_task(session),
        "model": about_model(session),
        "versions": versions(),
        "template": session.template.source,
        "metric": session.metric.name,
        "objective": session.loss.name,
        "prompts": [
            judge.entry(candidate, opened=True) | _classes(judge, session, candidate)
            for candidate in found
        ],
        "baselines": judge.baselines(),
        **_answers(judge, session, found),
        "notes": [*session.task.notes, *given.notes(session)],
    }
