"""What a strategy's settings may be, by the annotations of its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hardprompt.errors import UsageError

KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    NoneType: "null",
}
NUMBERS: dict[type, type] = {int: Integral, float: Real}  # numpy's among them
MOST = 10**15  # beyond, arrays and loops have no sizes, and infinity has no JSON


def check_settings(name: str, cls: type, settings: Mapping[str, Any]) -> None:
    """Refuses values of another kind than a strategy's fields have, and numbers that are not finite
    or past all use; raises `UsageError`.

    Fields of kinds that are not known here are their strategy's own care.
    """
    try:
        hints = get_type_hints(cls)
    except Exception:  # an outside class may be annotated with names that are not there
        return
    for key, value in settings.items():
        kinds = _kinds(hints.get(key))
        if kinds and not any(_is(value, kind) for kind in kinds):
            accepted = " or ".join(KINDS[kind] for kind in kinds)
            got = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=repr)
            raise UsageError(f"strategy '{name}': {key} must be {accepted}, got {got}")
        number = kinds and not isinstance(value, str | NoneType)
        if number and not -MOST <= value <= MOST:  # NaN is not
            raise UsageError(
                f"strategy '{name}': {key} must be between {-MOST:g} and {MOST:g}, got {value}"
            )


def _kinds(hint: Any) -> tuple[type, ...]:
    """The kinds of an annotation, alternatives one by one; none where one is not known."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return kinds if all(kind in KINDS for kind in kinds) else ()


def _is(value: Any, kind: type) -> bool:
    """A whole number is a number, too; true and false are none."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, NUMBERS.get(kind, kind))
