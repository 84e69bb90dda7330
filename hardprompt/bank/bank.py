"""A bank of prompts: many tasks on one frozen model, their rows in the same batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt.bank.files import read_bank, write_bank
from hardprompt.bank.folders import read_prefix, read_soft
from hardprompt.bank.held import Hard, Held
from hardprompt.bank.placed import Placed, placed
from hardprompt.errors import HardpromptError, UsageError, unknown
from hardprompt.halves import check_whole, stripped_text
from hardprompt.models.base import ModelInfo, PromptModel
from hardprompt.models.load import load_model
from hardprompt.prompt import FoundOn, HardPrompt
from hardprompt.scoring.losses import normalise
from hardprompt.scoring.mixed import MixedRow
from hardprompt.tasks.schema import Label
from hardprompt.types import FloatArray


class PromptBank:
    """Hard prompts, soft prompts and prefixes by the names of their tasks.

    bank = PromptBank.on("mini")
    bank.add("mood", "prompt.json")
    bank.predict([("mood", "What a day!")])

    `cut` counts the texts so far that were too long for the model.
    """

    def __init__(self, model: PromptModel) -> None:
        self.model, self.cut = model, 0
        self._tasks: dict[str, Placed] = {}

    @classmethod
    def on(cls, model: str | PromptModel = "mini", **options: Any) -> PromptBank:
        """An empty bank on a model, or on one to load; options as of `load_model`."""
        return cls(load_model(model, **options) if isinstance(model, str) else model)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tasks, in the order in which they were added."""
        return tuple(self._tasks)

    def labels(self, name: str) -> tuple[Label, ...]:
        """The labels of a task, in the order of its log-probabilities."""
        return self._task(name).held.labels

    def add(self, name: str, prompt: HardPrompt | str | Path) -> None:
        """A hard prompt, or its file."""
        if not isinstance(prompt, HardPrompt):
            prompt = HardPrompt.load(prompt)
        _check_model(name, prompt.model, self.model.info)
        self._add(name, Hard(prompt))

    def add_soft(self, name: str, folder: str | Path) -> None:
        """A soft prompt from the folder `soft/` of a run of `hardprompt compare`."""
        self._add(name, read_soft(Path(folder), self.model))

    def add_prefix(self, name: str, folder: str | Path) -> None:
        """A prefix from a folder in the layout of `peft`, with its `hardprompt.json`."""
        self._add(name, read_prefix(Path(folder), self.model))

    def log_probs(self, rows: Sequence[tuple[str, str]]) -> list[FloatArray]:
        """For each row, a task's name and a text: `(classes,)` log-probabilities, normalised over
        the classes of its task. Over-long texts are cut at their end; an empty one is an error."""
        of_task: dict[str, list[int]] = defaultdict(list)
        for number, (name, _) in enumerate(rows):
            of_task[name].append(number)
        ready: dict[int, MixedRow] = {}
        for name, numbers in of_task.items():
            task = self._task(name)
            texts, cut = task.shortened([stripped_text(rows[n][1], n + 1) for n in numbers])
            self.cut += cut
            ready |= zip(numbers, task.rows(texts), strict=True)
        scores = self.model.mixed_log_probs([ready[number] for number in range(len(rows))])
        return [normalise(found) for found in scores]

    def predict(self, rows: Sequence[tuple[str, str]]) -> list[str]:
        """The name of the likeliest label of each row, a task's name and a text."""
        return [
            self.labels(name)[int(np.argmax(found))].name
            for (name, _), found in zip(rows, self.log_probs(rows), strict=True)
        ]

    def save(self, folder: str | Path) -> None:
        """Writes `bank.json` and the file of the numbers that it names. Over an earlier bank: at
        every moment the folder holds that one or this one."""
        tasks = {name: task.held for name, task in self._tasks.items()}
        write_bank(Path(folder), _identity(self.model.info), tasks)

    @classmethod
    def load(
        cls, folder: str | Path, model: PromptModel | None = None, **options: Any
    ) -> PromptBank:
        """A bank from its folder, on the model that it names or on this one; options as of
        `load_model`. Raises `HardpromptError` with one line for what was changed."""
        was, tasks = read_bank(Path(folder))
        if model is None:
            options = {"revision": was.revision, "dtype": was.dtype} | options
            model = load_model(was.name, **options)
        _check_model(str(folder), was, model.info)
        bank = cls(model)
        for name, held in tasks.items():
            if isinstance(held, Hard):
                _check_model(name, held.prompt.model, model.info)
            bank._add(name, held)
        return bank

    def _add(self, name: str, held: Held) -> None:
        if not name.strip():
            raise UsageError("a task needs a name")
        check_whole(name, "the name of a task")
        if name in self._tasks:
            raise UsageError(f"the bank has a task named '{name}' already; take another name")
        try:
            self._tasks[name] = placed(held, self.model)
        except HardpromptError as error:
            raise type(error)(f"task '{name}': {error}") from None

    def _task(self, name: str) -> Placed:
        if not self._tasks:
            raise UsageError(f"no task named '{name}': the bank is empty; add() fills it")
        if name not in self._tasks:
            raise unknown("task in the bank", name, self._tasks)
        return self._tasks[name]


def _check_model(name: str, was: FoundOn, info: ModelInfo) -> None:
    """Refuses what was found on other weights or with another tokenizer."""
    if was.tokenizer != info.tokenizer:
        what = "the tokenizer is another"
    elif was.dtype != info.dtype:
        what = f"it was in {was.dtype}, this one is in {info.dtype}: load it with that dtype"
    elif was.weights != info.weights:
        what = "the weights are others"
    else:
        return
    raise HardpromptError(
        f"'{name}' belongs to the model '{was.name}', the bank is on '{info.name}': {what}"
    )


def _identity(info: ModelInfo) -> FoundOn:
    return FoundOn(
        name=info.name,
        revision=info.revision,
        family=info.family,
        kind=info.kind,
        dtype=info.dtype,
        context=info.context,
        weights=info.weights,
        tokenizer=info.tokenizer,
    )
