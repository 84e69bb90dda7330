"""Many methods on one task, model and budget: one record each, and a table of all."""

from __future__ import annotations

import gc
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hardprompt import __version__, runs
from hardprompt.baselines.base import Bench, Fitted, Method, Unfit
from hardprompt.baselines.table import expand, make_method
from hardprompt.config import RunConfig, TaskChoice
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.ledger import differences
from hardprompt.metrics.figures import TextFigures
from hardprompt.scoring.batching import NO_MEMORY, out_of_memory
from hardprompt.session import Session
from hardprompt.standings import as_csv, assemble
from hardprompt.tasks import load_choice

TABLE, CSV = "table.json", "table.csv"
RUN_SCHEMA, RECORD = "hardprompt.compare.run/1", "hardprompt.compare.record/2"
# Of a record's header: a short space may be searched whole, so in full precision, and which tokens
# find a place depends on how many stand side by side.
BY_LENGTH = ("length", "dtype", "vocabulary")


@dataclass(frozen=True)
class CompareConfig:
    """What is compared: a search's options, methods and seeds. `search.seed` is not used."""

    search: RunConfig
    methods: tuple[str, ...]  # in the order of the table
    seeds: tuple[int, ...] = (0,)

    @classmethod
    def of(
        cls, search: RunConfig, methods: list[str], seeds: list[int], shares: Sequence[str] = ()
    ) -> CompareConfig:
        """Checks names, seeds and sizes (see `expand`); raises `UsageError`."""
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise UsageError(f"--seeds are different numbers from 0, got {seeds}")
        return cls(search, expand(methods, shares), tuple(seeds))

    def create(self, root: Path) -> Path:
        """A new folder that a comparison can go on in."""
        names = (runs.slug(self.search.name), runs.model_slug(self.search.model))
        folder = runs.new_folder(root, "compare", *names)
        self.write(folder)
        return folder

    def write(self, folder: Path) -> None:
        """What a comparison goes by, into its folder."""
        content = {
            "schema": RUN_SCHEMA,
            "hardprompt": __version__,
            "config": self.search.to_json(),
            "methods": list(self.methods),
            "seeds": list(self.seeds),
        }
        runs.write_json(folder / runs.COMPARE, content)

    @classmethod
    def read(cls, folder: Path) -> CompareConfig:
        path = folder / runs.COMPARE
        search, stored = runs.read_made(path, RUN_SCHEMA, {"methods": [str], "seeds": [int]})
        return cls(search, expand(stored["methods"]), tuple(stored["seeds"]))


@dataclass
class Comparison:
    """Fits every method with every seed; what has a record is not fitted again, but where it was
    skipped: what was in the way may be gone."""

    config: CompareConfig
    folder: Path
    first: Session  # of the first seed
    on_method: Callable[[str, int, float], None] = lambda name, seed, budget: None
    on_spend: Callable[[float], None] = lambda spent: None

    @classmethod
    def prepare(cls, config: CompareConfig) -> Session:
        """The session of the first seed; its budget, if none was given, is everybody's. Raises
        where the seeds cannot be compared, before any of them is worked on."""
        check_seeds(config.search, config.seeds)
        return Session.prepare(replace(config.search, seed=config.seeds[0]))

    def run(self) -> dict[str, Any]:
        """The table, also written to the folder as JSON and CSV."""
        for seed in self.config.seeds:
            session = self._session(seed)
            for name in self.config.methods:
                record = self._record(name, session)
                if record is None or record["skipped"]:
                    self._fit(name, session)
        results = self.so_far()
        runs.write_json(self.folder / TABLE, results)
        runs.write_text(self.folder / CSV, as_csv(results))
        return results

    def so_far(self) -> dict[str, Any]:
        """The table of the methods that are finished with every seed."""
        records = {}
        for name in self.config.methods:
            paths = [self._path(name, seed) for seed in self.config.seeds]
            if all(path.exists() for path in paths):
                records[name] = [runs.read_json(path) for path in paths]
        return assemble(self.first, self.config.seeds, records, self.folder)

    def _session(self, seed: int) -> Session:
        first = self.first
        if seed == first.config.seed:
            return first
        config = replace(self.config.search, seed=seed, budget=first.budget)
        return Session.prepare(config, model=first.model)

    def _path(self, name: str, seed: int) -> Path:
        return self.folder / record_name(name, seed)

    def _record(self, name: str, session: Session) -> dict[str, Any] | None:
        """What is known of a method; refused where it was another model, task or version."""
        path = self._path(name, session.config.seed)
        if not path.exists():
            return None
        record = runs.read_json(path)
        if record["schema"] != RECORD:
            raise HardpromptError(
                f"'{path}' is a {record['schema']}, not a {RECORD}; start a new comparison"
            )
        carried = "fitted_at_length" in record  # by a sweep, from another length
        if other := changes(record["header"], session, any_length=carried):
            raise HardpromptError(
                f"'{self.folder}' cannot be resumed, because these differ: {'; '.join(other)}"
            )
        return record

    def _fit(self, name: str, session: Session) -> None:
        seed = session.config.seed
        bench = Bench(
            session,
            rng=np.random.default_rng([seed, zlib.crc32(name.encode())]),
            budget=session.budget * len(session.task.search),
            folder=self.folder / f"{name}__seed{seed}",
            on_spend=self.on_spend,
        )
        self.on_method(name, seed, bench.budget)
        record: dict[str, Any] = {
            "schema": RECORD,
            "method": name,
            "seed": seed,
            "header": session.header(),
            "skipped": None,
        }
        try:
            record |= _fitted(make_method(name), bench)
        except (HardpromptError, RuntimeError, MemoryError) as error:
            record["skipped"] = _obstacle(error)
            if record["skipped"] is None:
                raise
        if record["skipped"]:
            _make_room()  # not before: the error kept all that was in use
        runs.write_json(self._path(name, seed), record)


def check_seeds(choice: TaskChoice, seeds: Sequence[int]) -> None:
    """Every seed must leave the same test rows, on which means are taken; raises `UsageError`."""
    if len(seeds) < 2:
        return
    first, *others = (load_choice(replace(choice, seed=seed)).test for seed in seeds)
    if any(test != first for test in others):
        raise UsageError(
            "the test rows of this task change with the seed, so that seeds cannot be compared on "
            "them; compare one seed at a time, or split the data yourself: --dev and --test"
        )


def changes(header: dict[str, Any], session: Session, *, any_length: bool = False) -> list[str]:
    """In what a record's header is not the session's; `any_length`: but for what the length
    decides."""
    kept = {key: header.get(key) for key in BY_LENGTH} if any_length else {}
    return differences(header, session.header() | kept)


def record_name(method: str, seed: int) -> str:
    """The file that a method's record is in."""
    return f"{method}__seed{seed}.json"


def _fitted(method: Method, bench: Bench) -> dict[str, Any]:
    """What a method found, what it took, and its figures; raises `Unfit`."""
    session = bench.session
    if session.task.writes and not method.writes:
        raise Unfit("it chooses among labels, and this task has texts to be written")
    began, cpu = time.monotonic(), time.process_time()
    fitted = method.fit(bench)
    return {
        "discrete": method.discrete,
        "portable": method.portable,
        "rows": bench.spent,
        "forward": bench.forward,
        "backward": bench.backward,
        "seconds": round(time.monotonic() - began, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        **_measured(session, fitted),
    }


def _obstacle(error: Exception) -> str | None:
    """Why a method is skipped and the others go on; None: the whole comparison must stop."""
    if isinstance(error, HardpromptError):
        return str(error) if isinstance(error, Unfit) or out_of_memory(error) else None
    if out_of_memory(error):
        return NO_MEMORY
    return None


def _make_room() -> None:
    """Gives back what a skipped method held: the next one may need it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _measured(session: Session, fitted: Fitted) -> dict[str, Any]:
    """Size, predictions and figures; the one place that opens test."""
    figures: dict[str, Any] = {}
    for split in ("dev", "test"):
        judged = session.figures(split)
        if isinstance(judged, TextFigures):
            written = fitted.write(split)
            figures[split] = round(judged.value(judged.outcome(written)), 6)
            figures[f"{split}_written"] = written
        else:
            predicted = fitted.predict(split).argmax(axis=1)
            figures[split] = round(judged.value(predicted), 6)
            figures[f"{split}_predicted"] = predicted.tolist()
    return {
        "trained": fitted.trained,
        "stored": fitted.stored,
        "bytes": fitted.n_bytes,
        "text": fitted.text,
        "details": fitted.details | fitted.late(),
        **figures,
    }
