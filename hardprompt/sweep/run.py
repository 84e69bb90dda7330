"""A sweep from its first part to its plots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardprompt import runs
from hardprompt.baselines.table import make_method
from hardprompt.compare import Comparison
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, bare
from hardprompt.models.base import PromptModel
from hardprompt.models.load import load_model
from hardprompt.report.sweep_plots import length_plot, size_plot
from hardprompt.session import Session
from hardprompt.sweep.config import Part, SweepConfig
from hardprompt.sweep.folder import SweepFolder
from hardprompt.sweep.results import as_csv, assemble

RESULTS, RESULTS_CSV = "sweep.json", "sweep.csv"
PLOTS = {"length.svg": length_plot, "size.svg": size_plot}


@dataclass
class Sweep:
    """Makes one comparison for each model and length; all of a model cost the same.

    A part that cannot be done is left out with its reason. Methods that do not use the length are
    fitted once for each model.
    """

    config: SweepConfig
    folder: SweepFolder | None = None  # None: a new one
    on_method: Callable[[str, int, float], None] = lambda name, seed, budget: None
    on_spend: Callable[[float], None] = lambda spent: None
    _first: Session | None = field(default=None, init=False)
    _model: PromptModel | None = field(default=None, init=False)  # the latest
    _unusable: dict[str, HardpromptError] = field(default_factory=dict, init=False)  # models
    _skipped: dict[Part, HardpromptError] = field(default_factory=dict, init=False)

    def first(self) -> Session | None:
        """The session of the first part that is left to do; None where there is none.

        Raises what is in the way where no part of the sweep can be done.
        """
        for part in self._left():
            try:
                self._first = self._session(part)
                return self._first
            except HardpromptError as reason:
                self._skipped[part] = bare(reason)
        self._check_any()
        return None

    def run(self, root: Path = runs.DEFAULT_ROOT) -> dict[str, Any]:
        """The results, also written as JSON, CSV and plots after every part; into a folder under
        `root` unless there is one."""
        if self.folder is None:
            self.folder = SweepFolder(self.config.create(root), self.config)
        for part in self._left():
            self._do(part, self.folder)
            self._write(self.folder)
        self._check_any()
        return self._write(self.folder)

    def so_far(self) -> dict[str, Any]:
        """The results of the parts that are finished."""
        assert self.folder is not None, "nothing was run"
        skipped = {part: str(reason) for part, reason in self._skipped.items()}
        return assemble(self.folder, skipped, self._levels())

    def _left(self) -> list[Part]:
        done = self.folder.whole if self.folder is not None else lambda part: False
        return [p for p in self.config.parts if not done(p) and p not in self._skipped]

    def _do(self, part: Part, folder: SweepFolder) -> None:
        try:
            session = self._session(part)
        except HardpromptError as reason:
            self._skipped[part] = bare(reason)
            return
        config = folder.begin(part, session)
        folder.carry(part, self._levels())
        place = f"{part.model}, {part.length} tokens"
        work = Comparison(
            config,
            folder.of(part),
            session,
            on_method=lambda name, seed, budget: self.on_method(f"{place}: {name}", seed, budget),
            on_spend=self.on_spend,
        )
        try:
            work.run()
        except HardpromptError as reason:
            self._skipped[part] = bare(reason)

    def _write(self, folder: SweepFolder) -> dict[str, Any]:
        results = self.so_far()
        runs.write_json(folder.path / RESULTS, results)
        runs.write_text(folder.path / RESULTS_CSV, as_csv(results))
        for name, plot in PLOTS.items():
            drawn = plot(results)
            if drawn is not None:
                runs.write_text(folder.path / name, drawn)
        return results

    def _check_any(self) -> None:
        """A sweep of which nothing can be done, or was before, fails as its first part does."""
        if self.folder is not None and self.folder.tables():
            return
        if len(self._skipped) == len(self.config.parts):
            raise self._skipped[self.config.parts[0]]

    def _session(self, part: Part) -> Session:
        budget = self.config.search.budget if self.folder is None else self.folder.budget(part)
        config = self.config.compare(part, budget).search
        if self._first is not None and self._first.config == config:
            return self._first
        self._first = None  # makes room
        return Session.prepare(config, model=self._loaded(config))

    def _loaded(self, config: RunConfig) -> PromptModel:
        """The model, which serves all its lengths; one that cannot be loaded is tried once."""
        if config.model in self._unusable:
            raise self._unusable[config.model]
        if self._model is None or self._model.info.name != config.model:
            self._model = None  # makes room
            try:
                self._model = load_model(
                    config.model,
                    revision=config.revision,
                    dtype=config.dtype,
                    device=config.device,
                    batch_size=config.batch_size,
                )
            except HardpromptError as reason:
                self._unusable[config.model] = bare(reason)
                raise
        return self._model

    def _levels(self) -> list[str]:
        """Methods that are the same at every length."""
        return [name for name in self.config.methods if not make_method(name).uses_length]
