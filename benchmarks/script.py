"""How a benchmark is run: what a user can cause is said in one line, as by the command line."""

from __future__ import annotations

from collections.abc import Callable

from hardprompt.errors import HardpromptError


def run(main: Callable[[], None]) -> None:
    """Runs `main`; raises `SystemExit` with one line where data, models or options do not do."""
    try:
        main()
    except HardpromptError as error:
        raise SystemExit(f"Error: {error}") from None
