"""The comparisons of a sweep on disk: which are finished, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardprompt import runs
from hardprompt.compare import CSV, TABLE, CompareConfig, changes, record_name
from hardprompt.errors import HardpromptError
from hardprompt.session import Session
from hardprompt.sweep.config import Part, SweepConfig


@dataclass(frozen=True)
class SweepFolder:
    """One folder for each part, which `hardprompt compare --resume` can go on with as well."""

    path: Path
    config: SweepConfig

    def of(self, part: Part) -> Path:
        number = self.config.models.index(part.model) + 1  # two models may be called alike
        return self.path / f"{number}-{runs.model_slug(part.model)}__len{part.length}"

    def finished(self, part: Part) -> bool:
        return all((self.of(part) / name).exists() for name in (TABLE, CSV))

    def whole(self, part: Part) -> bool:
        """Whether it is finished and no method was skipped: what was in the way may be gone."""
        if not self.finished(part):
            return False
        rows = runs.read_json(self.of(part) / TABLE)["methods"]
        return all(row["skipped"] is None for row in rows)

    def tables(self) -> dict[Part, dict[str, Any]]:
        """The table of each part that is finished."""
        done = filter(self.finished, self.config.parts)
        return {part: runs.read_json(self.of(part) / TABLE) for part in done}

    def begin(self, part: Part, session: Session) -> CompareConfig:
        """The comparison of a part, ready to run; refused where what is recorded of its model was
        of another version, task or model."""
        self._check(part, session)
        config, folder = self.config.compare(part, session.budget), self.of(part)
        if not (folder / runs.COMPARE).exists():
            folder.mkdir(exist_ok=True)
            config.write(folder)
        return config

    def budget(self, part: Part) -> float | None:
        """Prompts that this part may spend: as many as its model may at every length."""
        for folder in self._alike(part):
            if (folder / runs.COMPARE).exists():
                return CompareConfig.read(folder).search.budget
        return self.config.search.budget

    def carry(self, part: Part, methods: Iterable[str]) -> None:
        """Copies what is recorded of methods that would be the same at this length."""
        for name in (record_name(m, seed) for m in methods for seed in self.config.seeds):
            found = (_fitted(folder / name) for folder in self._alike(part))
            known = next((record for record in found if record is not None), None)
            if known is None or _fitted(self.of(part) / name) is not None:
                continue
            at = {"fitted_at_length": known["header"]["length"]}
            runs.write_json(self.of(part) / name, at | known)

    def _check(self, part: Part, session: Session) -> None:
        seed = session.config.seed
        for folder in self._alike(part):
            for path in folder.glob(record_name("*", seed)):
                header = runs.read_json(path)["header"]
                if other := changes(header, session, any_length=True):
                    raise HardpromptError(
                        f"'{self.path}' cannot be resumed, because these differ: {'; '.join(other)}"
                    )
                return  # the others are like this one

    def _alike(self, part: Part) -> Iterator[Path]:
        """The folders of the parts with the same model."""
        return (self.of(Part(part.model, length)) for length in self.config.lengths)


def _fitted(path: Path) -> dict[str, Any] | None:
    """A method's record; None where there is none, or the method was skipped."""
    record = runs.read_json(path) if path.exists() else None
    return None if record is None or record["skipped"] else record
