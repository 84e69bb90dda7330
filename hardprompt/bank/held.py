"""What a bank holds of a task: a hard prompt, a soft prompt or a prefix. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hardprompt.prompt import HardPrompt
from hardprompt.tasks.schema import Label
from hardprompt.types import FloatArray


@dataclass(frozen=True)
class Hard:
    """Words in the slots of a template."""

    kind: ClassVar[str] = "hard"
    prompt: HardPrompt

    @property
    def labels(self) -> tuple[Label, ...]:
        return self.prompt.labels

    @property
    def template(self) -> str:
        return self.prompt.template


@dataclass(frozen=True, eq=False)
class Soft:
    """Points between tokens in the slots of a template."""

    kind: ClassVar[str] = "soft"
    labels: tuple[Label, ...]
    template: str
    slots: tuple[int, ...]  # points of each slot
    numbers: FloatArray  # (points of all slots, dim)


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values before all tokens; the slots of the template are empty."""

    kind: ClassVar[str] = "prefix"
    labels: tuple[Label, ...]
    template: str
    numbers: FloatArray  # (places, layers * 2 * kv_heads * head_dim), as `peft` has them


Held = Hard | Soft | Prefix
