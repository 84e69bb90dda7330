"""JSON from outside, checked against an example of what it must look like."""

from __future__ import annotations

from typing import Any

NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    type(None): "null",
}


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
