"""What a sweep varies, and what it keeps: every option that its results depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardprompt import __version__, runs
from hardprompt.compare import CompareConfig, check_seeds
from hardprompt.config import RunConfig, check_models
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.session import choose_metric, choose_template
from hardprompt.tasks import Task, load_choice

RUN_SCHEMA = "hardprompt.sweep.run/1"
# What is varied, in its file as in a `SweepConfig`.
VARIED = {"models": [str], "lengths": [int], "methods": [str], "seeds": [int]}


@dataclass(frozen=True)
class Part:
    """One comparison of a sweep."""

    model: str
    length: int


@dataclass(frozen=True)
class SweepConfig:
    """A search's options, of which model, length and seed are not used, and what is varied."""

    search: RunConfig
    models: tuple[str, ...]
    lengths: tuple[int, ...]  # ascending
    methods: tuple[str, ...]  # in the order of the table
    seeds: tuple[int, ...] = (0,)

    @classmethod
    def of(
        cls,
        search: RunConfig,
        models: Sequence[str],
        lengths: Sequence[int],
        methods: list[str],
        seeds: list[int],
        shares: Sequence[str] = (),
    ) -> SweepConfig:
        """Checks what can be checked without a model; raises `UsageError`."""
        compare = CompareConfig.of(search, methods, seeds, shares)
        check_models(models, search.revision)
        if not lengths or min(lengths) < 1 or len(set(lengths)) < len(lengths):
            raise UsageError(f"--len takes different numbers from 1, got {list(lengths)}")
        config = cls(search, tuple(models), tuple(sorted(lengths)), compare.methods, compare.seeds)
        task = config.task()
        check_seeds(search, seeds)
        choose_metric(task, search)
        _, template = choose_template(task, search.template)
        if template.fixed_length is not None:
            raise UsageError(
                f"the template {template.source!r} fixes the length; a sweep needs one {{prompt}}"
            )
        return config

    @property
    def parts(self) -> list[Part]:
        return [Part(model, length) for model in self.models for length in self.lengths]

    def task(self) -> Task:
        return load_choice(replace(self.search, seed=self.seeds[0]))

    def compare(self, part: Part, budget: float | None) -> CompareConfig:
        """One part of the sweep."""
        search = replace(
            self.search, model=part.model, length=part.length, seed=self.seeds[0], budget=budget
        )
        return CompareConfig(search, self.methods, self.seeds)

    def create(self, root: Path) -> Path:
        """A new folder that a sweep can go on in."""
        folder = runs.new_folder(root, "sweep", runs.slug(self.search.name))
        content = {
            "schema": RUN_SCHEMA,
            "hardprompt": __version__,
            "config": self.search.to_json(),
            "models": list(self.models),
            "lengths": list(self.lengths),
            "methods": list(self.methods),
            "seeds": list(self.seeds),
            "task": self.task().fingerprint(),
        }
        runs.write_json(folder / runs.SWEEP, content)
        return folder

    @classmethod
    def read(cls, folder: Path) -> SweepConfig:
        """As it was created; raises where the task has changed since."""
        shape = {**VARIED, "task": str}
        search, stored = runs.read_made(folder / runs.SWEEP, RUN_SCHEMA, shape)
        config = cls(search, *(tuple(stored[key]) for key in VARIED))
        if config.task().fingerprint() != stored["task"]:
            raise HardpromptError(
                f"'{folder}' cannot be resumed, because the rows or words of its task have changed"
            )
        check_seeds(config.search, config.seeds)
        return config
