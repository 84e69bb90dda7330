"""A found prompt as one JSON file: what is needed to use it, and to see whether it still holds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardprompt import runs
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.shape import fault, read_outside
from hardprompt.tasks.schema import Label
from hardprompt.template import Template
from hardprompt.types import FloatArray

if TYPE_CHECKING:
    from hardprompt.classifier import Classifier
    from hardprompt.models.base import PromptModel

SCHEMA = "hardprompt.prompt/1"
SCORES = ("search", "dev", "dev_interval", "test", "test_interval", "gain_empty",
          "gain_empty_interval", "gain_manual", "gain_manual_interval", "fluency")  # fmt: skip
OPTIONAL = (str, type(None))
SHAPE: dict[str, Any] = {
    "schema": str,
    "text": str,
    "slots": [{"text": str, "ids": [int]}],
    "template": str,
    "labels": [{"name": str, "word": str}],
    "model": {
        "name": str,
        "revision": OPTIONAL,
        "family": str,
        "kind": str,
        "dtype": str,
        "context": int,
        "weights": str,
        "tokenizer": str,
    },
    "task": {"name": str, "version": str, "fingerprint": str},
    "scores": dict,
    "versions": dict,
}


@dataclass(frozen=True)
class PromptSlot:
    """The words of one slot and the tokens as which they were measured."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class FoundOn:
    """The model that a prompt was found on, and what tells it from another."""

    name: str
    revision: str | None
    family: str
    kind: str  # causal or masked
    dtype: str
    context: int  # most tokens of one row
    weights: str  # sha256 of the weights as loaded
    tokenizer: str  # sha256


@dataclass(frozen=True)
class Writing:
    """How a prompt's texts were written; the defaults are of a file that does not say."""

    limit: int = 64  # most tokens of a text
    beams: int = 1  # 1: greedy
    reserved: int = 64  # tokens of the context that were kept free for it


WRITING = tuple(field.name for field in fields(Writing))  # among the scores of such a prompt
ROOM = "room"  # too, of every prompt


@dataclass(frozen=True)
class HardPrompt:
    """A prompt with its template, label words, model and scores. Data only: loading runs nothing.

    HardPrompt.load("prompt.json").predict(["What a day!"])

    One that was found for texts to be written has no labels: it has `write` instead.
    """

    slots: tuple[PromptSlot, ...]
    template: str
    labels: tuple[Label, ...]
    model: FoundOn
    task: Mapping[str, str]  # name, version, fingerprint
    scores: Mapping[str, Any]  # as in results.json, with metric, objective, rows, `WRITING`, `ROOM`
    versions: Mapping[str, str]

    @classmethod
    def from_run(cls, folder: str | Path, number: int = 0) -> HardPrompt:
        """A prompt of a finished run: line `number` of its table, 0 being the best on dev."""
        results = runs.read_results(Path(folder))
        best = results["best"]
        if not 0 <= number < len(best):
            raise UsageError(
                f"'{folder}' lists {len(best)} prompts; the one asked for is not among them"
            )
        if "slots" not in best[number] or "versions" not in results:
            raise UsageError(
                f"'{folder}' was written by an earlier hardprompt; "
                f"bring it up to date with: hardprompt search --resume {shlex.quote(str(folder))}"
            )
        return cls.from_entry(results, best[number])

    @classmethod
    def from_entry(cls, results: Mapping[str, Any], entry: Mapping[str, Any]) -> HardPrompt:
        """A prompt of a run's results, or one measured like them since."""
        return cls.from_json(_from_results(results, entry))

    @classmethod
    def load(cls, path: str | Path) -> HardPrompt:
        """A prompt from its file; raises `HardpromptError` with one line for what is no such."""
        return cls.from_json(read_outside(Path(path), "prompt"), str(path))

    @classmethod
    def from_json(cls, content: Any, source: str = "the prompt") -> HardPrompt:
        """A prompt from what `to_json` gave; `source` is what errors call it."""
        _check(content, source)
        return cls(
            slots=tuple(PromptSlot(s["text"], tuple(s["ids"])) for s in content["slots"]),
            template=content["template"],
            labels=tuple(Label(label["name"], label["word"]) for label in content["labels"]),
            model=FoundOn(**{key: content["model"][key] for key in SHAPE["model"]}),
            task={key: content["task"][key] for key in SHAPE["task"]},
            scores=content["scores"],
            versions=content["versions"],
        )

    def to_json(self) -> dict[str, Any]:
        """As written to a file; `docs/using-a-prompt.md` describes the schema."""
        content = {"schema": SCHEMA, "text": self.text, **asdict(self)}
        content["slots"] = [{"text": slot.text, "ids": list(slot.ids)} for slot in self.slots]
        content["labels"] = list(content["labels"])
        return content

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all."""
        runs.write_json(Path(path), self.to_json())

    @property
    def texts(self) -> tuple[str, ...]:
        """The words of each slot."""
        return tuple(slot.text for slot in self.slots)

    @cached_property
    def parsed(self) -> Template:
        return Template.parse(self.template)

    @property
    def text(self) -> str:
        """What a user pastes; with several slots the template filled in."""
        return self.parsed.show(self.texts)

    def filled(self, text: str) -> str:
        """All that the model reads of a text before the label word; where something follows
        that, the whole with `{label}` in its place."""
        label = self.parsed.before_label + "{label}" if self.parsed.tail else None
        return self.parsed.render(self.texts, text, label)

    def load_model(self, name: str | None = None, **options: Any) -> PromptModel:
        """The model that the prompt was found on, or another; options as of `load_model`."""
        from hardprompt.models.load import load_model

        if name is None or name == self.model.name:
            options = {"revision": self.model.revision} | options
        options = {"dtype": self.model.dtype} | options
        return load_model(name or self.model.name, **options)

    @property
    def writes(self) -> bool:
        """Whether the model answers with a text, not with one of a few labels."""
        return not self.labels

    @property
    def writing(self) -> Writing:
        """How its texts were written."""
        return Writing(**{key: self.scores[key] for key in WRITING if key in self.scores})

    @property
    def room(self) -> int | None:
        """Tokens that a row of the search could have without a prompt, beyond which its text was
        cut; None: the file does not say."""
        room: int | None = self.scores.get(ROOM)
        return room

    def on(
        self,
        model: PromptModel | None = None,
        *,
        beams: int | None = None,
        limit: int | None = None,
    ) -> Classifier:
        """Ready to read texts with this model; None: the one it was found on. `beams` and `limit`
        say how texts are written; None: as the prompt was found with."""
        from hardprompt.classifier import Classifier

        return Classifier(self, model or self.load_model(), beams, limit)

    @cached_property
    def _own(self) -> Classifier:
        return self.on()

    def write(self, texts: Sequence[str], model: PromptModel | None = None) -> list[str]:
        """What the model writes for each text, where the prompt was found for that."""
        return (self.on(model) if model else self._own).write(texts)

    def check(self, model: PromptModel) -> list[str]:
        """Sentences on what differs from where the prompt was found; none where nothing does.

        Raises `HardpromptError` where the text is no longer read as its ids: then the model does
        not see the prompt that was measured.
        """
        return self.on(model).differences

    def log_probs(self, texts: Sequence[str], model: PromptModel | None = None) -> FloatArray:
        """`(N, classes)` log-probabilities, normalised over the classes."""
        return (self.on(model) if model else self._own).log_probs(texts)

    def predict(self, texts: Sequence[str], model: PromptModel | None = None) -> list[str]:
        """The name of the likeliest label of each text."""
        return (self.on(model) if model else self._own).predict(texts)


def find_prompt(run: str | None, root: Path, number: int = 0) -> HardPrompt:
    """A prompt by its file, or by its run: a name, a folder, or `latest` (None: the same)."""
    if run is not None and (os.path.isfile(run) or run.endswith(".json")):
        if number:
            raise UsageError(f"'{run}' holds one prompt; a number is for the table of a run")
        if not os.path.isfile(run):
            raise UsageError(f"no prompt file '{run}'")
        return HardPrompt.load(run)
    return HardPrompt.from_run(runs.find(run, root), number)


def _from_results(results: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    task = results["task"]
    words = entry.get("words", task["labels"])  # with --labels auto a prompt has its own
    return {
        "schema": SCHEMA,
        "text": entry["text"],
        "slots": entry["slots"],
        "template": results["template"],
        "labels": [{"name": name, "word": word} for name, word in words.items()],
        "model": results["model"],
        "task": task,
        "scores": {
            "objective": results["objective"],
            "metric": results["metric"],
            "rows": task["rows"],
            **{key: entry[key] for key in SCORES},
            **{key: results[key] for key in (*WRITING, ROOM) if key in results},
        },
        "versions": results["versions"],
    }


def _check(content: Any, source: str) -> None:
    """Refuses what is no prompt, with one line."""
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, str) and schema != SCHEMA:
        raise HardpromptError(
            f"'{source}' is of schema '{schema}'; this hardprompt reads '{SCHEMA}'"
        )
    wrong = fault(content, SHAPE)
    if wrong:
        raise HardpromptError(f"'{source}' is no prompt: {wrong}")
    template = _template(content["template"], source)
    texts = [slot["text"] for slot in content["slots"]]
    if len(texts) != template.n_slots:
        raise HardpromptError(
            f"'{source}' is no prompt: its template has {template.n_slots} slots, "
            f"but it has {len(texts)}"
        )
    if content["text"] != template.show(texts):
        raise HardpromptError(
            f"'{source}' contradicts itself: 'text' is {content['text']!r}, "
            f"but its slots give {template.show(texts)!r}"
        )
    for key in (*WRITING, ROOM):
        value = content["scores"].get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise HardpromptError(
                f"'{source}' is no prompt: '{key}' of its scores must be 1 or more, got {value!r}"
            )
    names = {label["name"] for label in content["labels"]}
    if not names:  # the answer is a text
        return
    if len(names) < 2 or len(names) < len(content["labels"]):
        raise HardpromptError(f"'{source}' is no prompt: it needs two or more different labels")


def _template(template: str, source: str) -> Template:
    try:
        return Template.parse(template)
    except UsageError as error:
        raise HardpromptError(f"'{source}' is no prompt: {error}") from None
