"""Errors that a user can cause: one line with the rule, the value and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class HardpromptError(Exception):
    """Something went wrong while running: bad data, a model that cannot load. Exit code 1."""

    exit_code = 1


class UsageError(HardpromptError):
    """Something was asked for that does not exist or makes no sense. Exit code 2."""

    exit_code = 2


def bare(error: HardpromptError) -> HardpromptError:
    """The same error to keep: its traceback would keep all that was in use, models among it."""
    return type(error)(str(error))


class UnfitModel(HardpromptError):
    """A model of this kind cannot be used this way; the message says why."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not there, with the nearest one that is."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    there = f"There are: {', '.join(names)}." if names else "There are none."
    hint = f"Did you mean '{near[0]}'?" if near else there
    return UsageError(f"no {kind} named '{name}'. {hint}")
