"""Names of strategies -> classes: a built-in table, then entry points of other packages."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from hardprompt.errors import UsageError, unknown
from hardprompt.settings import check_settings
from hardprompt.strategies.base import Strategy

GROUP = "hardprompt.strategies"
# Modules are named, not imported: `relax` needs torch, `--help` must not.
STRATEGIES = {
    "auto": "hardprompt.strategies.auto:Auto",
    "random": "hardprompt.strategies.random:Random",
    "exhaustive": "hardprompt.strategies.exhaustive:Exhaustive",
    "beam": "hardprompt.strategies.beam:Beam",
    "evolution": "hardprompt.strategies.evolution:Evolution",
    "swap": "hardprompt.strategies.swap:Swap",
    "anneal": "hardprompt.strategies.anneal:Anneal",
    "optuna": "hardprompt.strategies.optuna:Optuna",
    "relax": "hardprompt.strategies.relax:Relax",
    "edit": "hardprompt.strategies.edit:Edit",
    "policy": "hardprompt.strategies.policy:Policy",
    "portfolio": "hardprompt.strategies.portfolio:Portfolio",
}


def strategy_names() -> list[str]:
    outside = (point.name for point in entry_points(group=GROUP))
    return [*STRATEGIES, *(name for name in outside if name not in STRATEGIES)]


def strategy_class(name: str) -> type[Strategy]:
    """The class of that name; raises `UsageError` with the nearest name, or why it fails."""
    if name in STRATEGIES:
        module, _, attribute = STRATEGIES[name].partition(":")
        found: type[Strategy] = getattr(import_module(module), attribute)
        return found
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                loaded: type[Strategy] = point.load()
            except Exception as error:  # an outside module may fail in any way
                raise UsageError(
                    f"strategy '{name}' ({point.value}) cannot be loaded: {error}"
                ) from error
            return loaded
    raise unknown("strategy", name, strategy_names())


def make_strategy(name: str, settings: dict[str, Any] | None = None) -> Strategy:
    """A strategy with its fields set; an unknown field, or a value that does not fit, is a
    `UsageError`."""
    cls = strategy_class(name)
    fields = hyperparameters(cls)
    for key in settings or {}:
        if key not in fields:
            raise unknown(f"setting of strategy '{name}'", key, fields)
    check_settings(name, cls, settings or {})
    try:
        return cls(**(settings or {}))
    except ValueError as error:
        raise UsageError(f"strategy '{name}': {error}") from error


def hyperparameters(cls: type[Strategy]) -> dict[str, Any]:
    """Field -> default value of a strategy."""
    if not dataclasses.is_dataclass(cls):
        return {}
    return {field.name: field.default for field in dataclasses.fields(cls) if field.init}
