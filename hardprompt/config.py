"""One search as the user asked for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from hardprompt.errors import UsageError

STARTS = ("manual", "random")


@dataclass(frozen=True)
class RunConfig:
    """Every option that a result depends on; stored in run.json, and what a resume goes by."""

    task: str = "sentiment"
    model: str = "mini"
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    batch_size: int | None = None  # None: as many rows as memory allows
    template: str | None = None  # a name of the task's, or a template; None: the task's default
    length: int | None = None
    min_length: int | None = None
    strategy: str = "auto"
    settings: tuple[tuple[str, Any], ...] = ()
    vocabulary: str = "words"
    vocabulary_top: int | None = None
    ban: str | None = None
    allow_label_words: bool = False
    objective: str = "nll"
    metric: str = "accuracy"
    budget: float | None = None  # None: by the size of model and texts
    time: float | None = None  # seconds of the whole command
    patience: float | None = None
    search_rows: int | None = 128  # None: all
    start: tuple[str, ...] = ("manual",)  # manual, random, or texts
    seed: int = 0
    dropping: bool = True

    def __post_init__(self) -> None:
        if self.length is not None and self.length < 1:
            raise UsageError(f"--len must be 1 or more, got {self.length}")
        longest = self.length or 10**9
        if self.min_length is not None and not 1 <= self.min_length <= longest:
            raise UsageError(
                f"--min-len must be between 1 and --len ({self.length}), got {self.min_length}"
            )
        for name, value in (
            ("--budget", self.budget),
            ("--time", self.time),
            ("--vocab-top", self.vocabulary_top),
            ("--search-rows", self.search_rows),
            ("--batch-size", self.batch_size),
            ("--patience", self.patience),
        ):
            if value is not None and value <= 0:
                raise UsageError(f"{name} must be above 0, got {value:g}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> RunConfig:
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in stored.items() if key in known}
        values["settings"] = tuple((key, value) for key, value in values.get("settings", ()))
        values["start"] = tuple(values.get("start", ()))
        return cls(**values)
