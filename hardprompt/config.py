"""Which task, and one search on it, as the user asked for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import log2
from pathlib import Path
from typing import Any

from hardprompt.errors import UsageError
from hardprompt.halves import check_path

STARTS = ("manual", "random")
LONGEST = 100_000  # tokens of a prompt, far more than any model reads
AUTO = "auto"  # instead of label words: they are searched together with the prompt
DEFAULT_TASK = "sentiment"
HIDDEN = "***"  # instead of a password
FLUENCY = 0.01  # weight for two labels, in a search that asks for no other; benchmarks/fluency.md
FEWEST_TEST_ROWS = 40  # below, a 95% interval spans over a quarter of the scale


@dataclass(frozen=True)
class TaskChoice:
    """A task by name, task file or folder; or data of one's own, and how to read it."""

    task: str | None = None  # None: the default, unless `data` is given
    data: str | None = None  # a CSV, TSV or JSONL file: all rows, or with `dev` and `test` train
    dev: str | None = None
    test: str | None = None
    text_field: str = "text"
    label_field: str = "label"
    target_field: str | None = None  # where texts to be written are; None: labels are asked for
    labels: str | None = None  # "name=word,name=word"; None: the names found, sorted; or AUTO
    search_rows: int | None = 128  # None: all
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task is not None and self.data is not None:
            raise UsageError(
                f"--task and --data exclude each other, got '{self.task}' and '{self.data}'"
            )
        for option, given in (
            ("--dev", self.dev is not None),
            ("--test", self.test is not None),
            ("--text-field", self.text_field != "text"),
            ("--label-field", self.label_field != "label"),
            ("--target-field", self.target_field is not None),
            ("--labels", self.labels not in (None, AUTO)),
        ):
            if given and self.data is None:
                raise UsageError(f"{option} belongs to --data FILE; a task says it itself")
        if self.target_field is not None and (self.labels or self.label_field != "label"):
            raise UsageError("--target-field asks for texts, --labels and --label-field for labels")
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")
        for path in (self.task, self.data, self.dev, self.test):
            check_path(path or "", "a path")
        if (self.dev is None) != (self.test is None):
            raise UsageError(
                "--dev and --test belong together; without them --data is split in three"
            )

    @property
    def name(self) -> str:
        """What the data, and a run on it, are called after."""
        path = Path(self.data or self.task or DEFAULT_TASK)
        return path.parent.resolve().name if path.name == "task.toml" else path.stem


def check_models(models: Sequence[str], revision: str | None) -> None:
    """Where a command takes several models; raises `UsageError`."""
    if not models or len(set(models)) < len(models):
        raise UsageError(f"--model takes different models, got '{','.join(models)}'")
    if revision is not None and len(models) > 1:
        raise UsageError(f"--revision is of one model, but --model names {len(models)}")


def absolute_storage(url: str) -> str:
    """The same place for a study from any folder: of SQLite, or of a journal file."""
    start, path = ("", url) if "://" not in url else ("sqlite:///", url.removeprefix("sqlite:///"))
    if url.startswith(start) and path not in ("", ":memory:"):
        return f"{start}{Path(path).absolute()}"
    return url


def without_password(url: str) -> str:
    """A URL that may be shown and stored."""
    return re.sub(r"(://[^:/@]*):[^@]*@", rf"\1:{HIDDEN}@", url)


def with_front(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a search that keeps a front of loss, fluency and length."""
    settings = dict(options["settings"])
    sampler = settings.setdefault("sampler", "nsga2")
    if options["strategy"] not in ("auto", "optuna") or sampler != "nsga2":
        raise UsageError(
            "--pareto is a search by strategy optuna with sampler nsga2, got "
            f"--strategy {options['strategy']} and sampler {sampler}"
        )
    if options["fluency"]:
        raise UsageError(
            f"--pareto and --fluency exclude each other, got --fluency {options['fluency']:g}: a "
            "front holds every weight of the fluency"
        )
    shortest = 1 if options["min_length"] is None else options["min_length"]
    changed = {"strategy": "optuna", "settings": tuple(settings.items()), "min_length": shortest}
    return options | changed | {"fluency": 0.0}  # an axis of the front instead


@dataclass(frozen=True)
class RunConfig(TaskChoice):
    """Every option that a result depends on; stored in run.json, and what a resume goes by."""

    model: str = "mini"
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    batch_size: int | None = None  # None: as many rows as memory allows
    template: str | None = None  # a name of the task's, or a template; None: the task's default
    length: int | None = None
    min_length: int | None = None
    strategy: str = "auto"
    preset: str | None = None  # whose strategy and settings these are
    settings: tuple[tuple[str, Any], ...] = ()
    vocabulary: str = "words"
    vocabulary_top: int | None = None
    ban: str | None = None
    allow_label_words: bool = False
    objective: str = "nll"
    # Weight of the prompt's own mean negative log-likelihood in the loss; None: by the labels.
    fluency: float | None = 0.0
    metric: str | None = None  # None: accuracy, or rouge-l where texts are written
    beams: int = 1  # beginnings of a written text kept at a time; 1: greedy
    max_new_tokens: int | None = None  # of a written text; None: as the search rows want
    budget: float | None = None  # None: by the size of model and texts
    time: float | None = None  # seconds of the whole command
    patience: float | None = None
    start: tuple[str, ...] = ("manual",)  # manual, random, or texts
    dropping: bool = True
    race: bool = False
    optuna_storage: str | None = None  # where every measured prompt is mirrored as a trial
    # Found, not asked for: the sets of label words that AUTO chooses among, each in the order of
    # the task's labels, the task's own first.
    label_sets: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.race and not self.dropping:
            raise UsageError("--race and --no-drop exclude each other")
        if self.fluency is not None and not 0 <= self.fluency < float("inf"):
            raise UsageError(f"--fluency must be 0 or more, got {self.fluency:g}")
        if self.race and self.labels == AUTO:
            raise UsageError("--race and --labels auto exclude each other")
        if self.length is not None and not 1 <= self.length <= LONGEST:
            rule = "1 or more" if self.length < 1 else f"{LONGEST:,} or less"
            raise UsageError(f"--len must be {rule}, got {self.length:,}")
        longest = self.length or 10**9
        if self.min_length is not None and not 1 <= self.min_length <= longest:
            given = "" if self.length is None else f" ({self.length})"
            raise UsageError(f"--min-len must be between 1 and --len{given}, got {self.min_length}")
        for name, value in (
            ("--budget", self.budget),
            ("--time", self.time),
            ("--vocab-top", self.vocabulary_top),
            ("--search-rows", self.search_rows),
            ("--beams", self.beams),
            ("--max-new-tokens", self.max_new_tokens),
            ("--batch-size", self.batch_size),
            ("--patience", self.patience),
        ):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name} must be above 0 and finite, got {value:g}")
        for name, path in (
            ("--model", self.model),
            ("--vocab", self.vocabulary),
            ("--ban", self.ban),
            ("--optuna-storage", self.optuna_storage),
        ):
            check_path(path or "", name)

    def to_json(self) -> dict[str, Any]:
        stored = asdict(self)
        if self.optuna_storage is not None:
            stored["optuna_storage"] = without_password(self.optuna_storage)
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> RunConfig:
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in stored.items() if key in known}
        values["settings"] = tuple((key, value) for key, value in values.get("settings", ()))
        values["start"] = tuple(values.get("start", ()))
        values["label_sets"] = tuple(tuple(words) for words in values.get("label_sets", ()))
        return cls(**values)


def with_fluency(config: RunConfig, n_labels: int) -> RunConfig:
    """The config with a weight of the fluency, where that was left open: in proportion to the loss
    of guessing among the labels, log(n), against which it is weighed."""
    if config.fluency is not None:
        return config
    return replace(config, fluency=round(FLUENCY * log2(max(2, n_labels)), 4))
