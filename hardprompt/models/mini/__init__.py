"""`mini`, the small causal model inside the package; its card is the README.md beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hardprompt.errors import HardpromptError

FOLDER = Path(__file__).parent
SUMS = "sha256.json"


def verified_folder() -> Path:
    """The folder of the weights, once every file has the sha256 it was released with."""
    sums = json.loads((FOLDER / SUMS).read_text(encoding="utf8"))
    for name, expected in sums.items():
        path = FOLDER / name
        if not path.is_file():
            raise HardpromptError(f"the embedded model lacks {name}; install hardprompt again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise HardpromptError(
                f"{name} of the embedded model is not the released file; install hardprompt again"
            )
    return FOLDER
