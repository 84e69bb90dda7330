"""A bank as one folder: `bank.json`, and the numbers in `bank.safetensors`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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

SCHEMA = "hardprompt.bank/1"
ABOUT, NUMBERS = "bank.json", "bank.safetensors"
MEGABYTES = 64  # of `bank.json`: thousands of hard prompts
SHAPE: dict[str, Any] = {
    "schema": str,
    "model": PROMPT_SHAPE["model"],
    "numbers": (str, type(None)),  # sha256 of the file; null: hard prompts need none
    "tasks": [{"name": str, "kind": str}],
}
NUMBERED: dict[str, Any] = {"template": str, "labels": dict}


def write_bank(folder: Path, model: FoundOn, tasks: Mapping[str, Held]) -> None:
    """Writes the numbers first: a bank is what its `bank.json` says."""
    kept = {name: held.numbers for name, held in tasks.items() if not isinstance(held, Hard)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if kept:
            part = folder / f".{NUMBERS}.part"
            save_file(kept, part, metadata={"format": "pt"})
            part.replace(folder / NUMBERS)
    except (OSError, SafetensorError) as error:
        raise HardpromptError(f"cannot write the bank '{folder}': {error}") from None
    content = {
        "schema": SCHEMA,
        "model": asdict(model),
        "numbers": _sha256(folder / NUMBERS) if kept else None,
        "tasks": [{"name": name, "kind": held.kind, **_told(held)} for name, held in tasks.items()],
    }
    runs.write_json(folder / ABOUT, content)


def read_bank(folder: Path) -> tuple[FoundOn, dict[str, Held]]:
    """The model that a bank belongs to, and its tasks; raises `HardpromptError` with one line for
    what is no bank, or was changed."""
    path = folder / ABOUT
    content = read_outside(path, "bank", MEGABYTES)
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, str) and schema != SCHEMA:
        raise HardpromptError(f"'{path}' is of schema '{schema}'; this hardprompt reads '{SCHEMA}'")
    if wrong := fault(content, SHAPE):
        raise HardpromptError(f"'{path}' is no bank: {wrong}")
    tasks: dict[str, Held] = {}
    for number, told in enumerate(content["tasks"]):
        if told["name"] in tasks:
            raise HardpromptError(f"'{path}' is no bank: it names '{told['name']}' twice")
        tasks[told["name"]] = _held(folder, told, f"{path}, task {number + 1}")
    if content["numbers"] is not None and content["numbers"] != _sha256(folder / NUMBERS):
        raise HardpromptError(
            f"'{folder / NUMBERS}' was changed after '{path}' was written; save the bank again"
        )
    return FoundOn(**{key: content["model"][key] for key in SHAPE["model"]}), tasks


def _told(held: Held) -> dict[str, Any]:
    """What JSON holds of a task."""
    if isinstance(held, Hard):
        return {"prompt": held.prompt.to_json()}
    told: dict[str, Any] = {
        "template": held.template,
        "labels": {label.name: label.word for label in held.labels},
    }
    return told | ({"slots": list(held.slots)} if isinstance(held, Soft) else {})


def _held(folder: Path, told: dict[str, Any], source: str) -> Held:
    kind, name = told["kind"], told["name"]
    if kind == Hard.kind:
        return Hard(HardPrompt.from_json(told.get("prompt"), source))
    if kind not in (Soft.kind, Prefix.kind):
        raise HardpromptError(f"'{source}' is of kind '{kind}'; there are hard, soft and prefix")
    shape = NUMBERED | ({"slots": [int]} if kind == Soft.kind else {})
    if wrong := fault(told, shape):
        raise HardpromptError(f"'{source}' is no {kind} prompt: {wrong}")
    check_template(told["template"], source)
    labels, template = labels_of(told["labels"], source), told["template"]
    numbers = tensor(folder / NUMBERS, name)
    if kind == Soft.kind:
        return Soft(labels, template, tuple(told["slots"]), numbers)
    return Prefix(labels, template, numbers)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None
