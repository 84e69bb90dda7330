"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hardprompt.errors import HardpromptError


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """A file to write to that takes its name only once it is complete; lines end as written.

    What is no regular file, such as a pipe or `/dev/null`, is written to directly. Raises
    `HardpromptError` where the file cannot be made.
    """
    if path.is_dir():
        raise HardpromptError(f"cannot write '{path}': it is a folder")
    direct = path.exists() and not path.is_file()
    part = path if direct else path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        file = part.open("w", encoding="utf8", newline="")
    except OSError as error:
        raise HardpromptError(f"cannot write '{path}': {error.strerror}") from None
    try:
        with file:
            yield file
            if not direct:
                file.flush()
                os.fsync(file.fileno())
        if not direct:
            part.replace(path)
    except BaseException:
        if not direct:
            part.unlink(missing_ok=True)
        raise
