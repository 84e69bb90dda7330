"""A bank as one folder: `bank.json`, and the numbers in a file that is called after its hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import save_file

from hardprompt import runs
from hardprompt.bank.folders import check_template, labels_of, tensor
from hardprompt.bank.held import Hard, Held, Prefix, Soft
from hardprompt.errors import HardpromptError
from hardprompt.prompt import SHAPE as PROMPT_SHAPE
from hardprompt.prompt import FoundOn, HardPrompt
from hardprompt.shape import fault, read_outside
from hardprompt.types import FloatArray

SCHEMA = "hardprompt.bank/2"
FIRST = "hardprompt.bank/1"  # all numbers in `NUMBERS`, under the names of the tasks
ABOUT, NUMBERS = "bank.json", "bank.safetensors"
NUMBERED_FILE = re.compile(r"bank-[0-9a-f]{16}\.safetensors")
MEGABYTES = 64  # of `bank.json`: thousands of hard prompts
SHAPE: dict[str, Any] = {
    "schema": str,
    "model": PROMPT_SHAPE["model"],
    "numbers": (str, type(None)),  # sha256 of the file; null: hard prompts need none
    "tasks": [{"name": str, "kind": str}],
}
NUMBERED: dict[str, Any] = {"template": str, "labels": dict, "tensor": str}


def write_bank(folder: Path, model: FoundOn, tasks: Mapping[str, Held]) -> None:
    """Writes the numbers beside those of an earlier bank, which go last: a bank is what its
    `bank.json` says, the old one or the new one whenever this is killed."""
    # Under names of our own: a task may be called what the format keeps for itself.
    tensors = {name: f"task{number}" for number, name in enumerate(tasks)}
    kept = {
        tensors[name]: held.numbers for name, held in tasks.items() if not isinstance(held, Hard)
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digest = _write_numbers(folder, kept) if kept else None
    except (OSError, SafetensorError) as error:
        raise HardpromptError(f"cannot write the bank '{folder}': {error}") from None
    content = {
        "schema": SCHEMA,
        "model": asdict(model),
        "numbers": digest,
        "tasks": [
            {"name": name, "kind": held.kind, **_told(held, tensors[name])}
            for name, held in tasks.items()
        ],
    }
    runs.write_json(folder / ABOUT, content)
    _drop_others(folder, None if digest is None else _file_of(digest))


def _write_numbers(folder: Path, kept: Mapping[str, FloatArray]) -> str:
    """The sha256 of the file that they are in now."""
    part = folder / f".{NUMBERS}.part"
    try:
        save_file(dict(kept), part, metadata={"format": "pt"})
        with part.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        part.replace(folder / _file_of(digest))
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    return digest


def _file_of(digest: str) -> str:
    return f"bank-{digest[:16]}.safetensors"


def _drop_others(folder: Path, kept: str | None) -> None:
    """The numbers of earlier banks; what cannot be deleted is in nobody's way."""
    for path in folder.iterdir():
        ours = path.name == NUMBERS or NUMBERED_FILE.fullmatch(path.name)
        if ours and path.name != kept:
            with suppress(OSError):
                path.unlink()


def read_bank(folder: Path) -> tuple[FoundOn, dict[str, Held]]:
    """The model that a bank belongs to, and its tasks; raises `HardpromptError` with one line for
    what is no bank, or was changed."""
    path = folder / ABOUT
    content = read_outside(path, "bank", MEGABYTES)
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, str) and schema not in (FIRST, SCHEMA):
        raise HardpromptError(f"'{path}' is of schema '{schema}'; this hardprompt reads '{SCHEMA}'")
    if wrong := fault(content, SHAPE):
        raise HardpromptError(f"'{path}' is no bank: {wrong}")
    numbers, tasks = _numbers_of(folder, content), dict[str, Held]()
    for number, told in enumerate(content["tasks"]):
        if told["name"] in tasks:
            raise HardpromptError(f"'{path}' is no bank: it names '{told['name']}' twice")
        if schema == FIRST:
            told["tensor"] = told["name"]
        tasks[told["name"]] = _held(numbers, told, f"{path}, task {number + 1}")
    if content["numbers"] is not None and content["numbers"] != _sha256(numbers):
        raise HardpromptError(
            f"'{numbers}' was changed after '{path}' was written; save the bank again"
        )
    return FoundOn(**{key: content["model"][key] for key in SHAPE["model"]}), tasks


def _numbers_of(folder: Path, content: dict[str, Any]) -> Path:
    """The file that the numbers of a bank are in, where it has any."""
    if content["schema"] == FIRST or content["numbers"] is None:
        return folder / NUMBERS
    name = _file_of(content["numbers"])
    if not NUMBERED_FILE.fullmatch(name):
        raise HardpromptError(f"'{folder / ABOUT}' is no bank: 'numbers' must be a sha256")
    return folder / name


def _told(held: Held, key: str) -> dict[str, Any]:
    """What JSON holds of a task."""
    if isinstance(held, Hard):
        return {"prompt": held.prompt.to_json()}
    told: dict[str, Any] = {
        "template": held.template,
        "labels": {label.name: label.word for label in held.labels},
        "tensor": key,
    }
    return told | ({"slots": list(held.slots)} if isinstance(held, Soft) else {})


def _held(numbers: Path, told: dict[str, Any], source: str) -> Held:
    kind = told["kind"]
    if kind == Hard.kind:
        return Hard(HardPrompt.from_json(told.get("prompt"), source))
    if kind not in (Soft.kind, Prefix.kind):
        raise HardpromptError(f"'{source}' is of kind '{kind}'; there are hard, soft and prefix")
    shape = NUMBERED | ({"slots": [int]} if kind == Soft.kind else {})
    if wrong := fault(told, shape):
        raise HardpromptError(f"'{source}' is no {kind} prompt: {wrong}")
    check_template(told["template"], source)
    labels, template = labels_of(told["labels"], source), told["template"]
    found = tensor(numbers, told["tensor"])
    if kind == Soft.kind:
        return Soft(labels, template, tuple(told["slots"]), found)
    return Prefix(labels, template, found)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None
