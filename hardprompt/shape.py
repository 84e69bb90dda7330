"""JSON from outside, checked against an example of what it must look like."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hardprompt.errors import HardpromptError
from hardprompt.halves import SAID, broken

MEGABYTES = 1  # of a file, at most
NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    type(None): "null",
}


def read_outside(path: Path, what: str, megabytes: int = MEGABYTES) -> Any:
    """The JSON of a file that anybody may have written; raises `HardpromptError` with one line
    for what is none. `what` it should be is for the messages."""
    try:
        if path.stat().st_size > megabytes * 1024**2:
            raise HardpromptError(f"'{path}' is no {what}: it is larger than {megabytes} MB")
        found = json.loads(
            path.read_text(encoding="utf-8-sig"), parse_constant=_no_number, parse_float=_finite
        )
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise HardpromptError(f"'{path}' is no JSON: {error}") from None
    if broken(json.dumps(found, ensure_ascii=False)):
        raise HardpromptError(f"'{path}' is no {what}: it {SAID}")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large a number")
    return value


def fault(value: Any, shape: Any, place: str = "") -> str | None:
    """What is wrong with a value, as half a sentence; None where it fits.

    A shape is a type, a tuple of types, `[shape]` for a list of such, or `{key: shape}` for an
    object that has these keys; further keys are left alone, so that a later edition may add some.
    """
    if isinstance(shape, dict):
        return _fault_of_object(value, shape, place)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _wrong(value, (list,), place)
        faults = (fault(item, shape[0], f"{place}[{i}]") for i, item in enumerate(value))
        return next((found for found in faults if found), None)
    types = shape if isinstance(shape, tuple) else (shape,)
    # True is an int to Python, but not to JSON.
    fits = isinstance(value, types) and not isinstance(value, bool)
    return None if fits else _wrong(value, types, place)


def _fault_of_object(value: Any, shape: dict[str, Any], place: str) -> str | None:
    if not isinstance(value, dict):
        return _wrong(value, (dict,), place)
    for key, inner in shape.items():
        where = f"{place}.{key}" if place else key
        if key not in value:
            return f"'{where}' is missing"
        found = fault(value[key], inner, where)
        if found:
            return found
    return None


def _wrong(value: Any, types: tuple[type, ...], place: str) -> str:
    wanted = " or ".join(NAMES[kind] for kind in types)
    what = f"'{place}'" if place else "it"
    return f"{what} must be {wanted}, got {NAMES.get(type(value), str(type(value)))}"
