"""`python -m hardprompt` and the console script: errors as one line, with their exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import click

from hardprompt.cli import main as group
from hardprompt.errors import HardpromptError
from hardprompt.escaping import escape
from hardprompt.scoring.batching import NO_MEMORY, out_of_memory

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and exits: 0, 1 for a failure, 2 for misuse, 130 when interrupted."""
    if isinstance(sys.stdout, TextIOWrapper):  # what a terminal cannot show is written out
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = group.main(prog_name="hardprompt", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except HardpromptError as error:
        _print_error(str(error))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        _print_error(NO_MEMORY)
        sys.exit(HardpromptError.exit_code)
    except OSError as error:
        _print_error(_said(error))
        sys.exit(HardpromptError.exit_code)


def _print_error(message: str) -> None:
    """One line: names in files may hold line ends, or what steers a terminal."""
    click.echo(f"error: {escape(message)}", err=True)


def _said(error: OSError) -> str:
    """What the system refused and where, as a full disk or a folder that may not be read."""
    place = "" if error.filename is None else f": '{error.filename}'"
    return f"{error.strerror or error}{place}"


if __name__ == "__main__":
    main()
