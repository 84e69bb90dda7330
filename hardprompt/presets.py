"""Published algorithms by name: a strategy with the settings of its paper or reference code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hardprompt.errors import unknown


@dataclass(frozen=True)
class Preset:
    """A strategy and its settings as published.

    Settings that name a strategy's own defaults are written out, too: the defaults may move, a
    publication does not.
    """

    strategy: str
    settings: Mapping[str, Any]
    source: str  # paper, and the code that the settings come from
    search: Mapping[str, Any] = field(default_factory=dict)  # published --len, --objective, ...


PRESETS: dict[str, Preset] = {}


def preset_named(name: str) -> Preset:
    """The preset of that name; raises `UsageError` with the nearest name."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
