"""Run folders: their names, and the files inside."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import time
from pathlib import Path
from typing import Any

from hardprompt import __version__
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.files import written_whole
from hardprompt.halves import check_path
from hardprompt.shape import fault

LEDGER, RUN, RESULTS, PROMPT = "ledger.db", "run.json", "results.json", "prompt.json"
READABLE = "readable.json"  # like `PROMPT`, of `hardprompt readable`
# Instead of `RUN`, in the folder of a comparison, or of a sweep.
COMPARE, SWEEP = "compare.json", "sweep-run.json"
COMMANDS = {RUN: "search", COMPARE: "compare", SWEEP: "sweep"}
DEFAULT_ROOT = Path("runs")
RUN_SCHEMA, RESULTS_SCHEMA = "hardprompt.run/1", "hardprompt.results/1"
NUMBER = (int, float)
RESULTS_SHAPE: dict[str, Any] = {  # what every report of a run goes by
    "schema": str,
    "run": str,
    "task": {"name": str, "labels": dict, "rows": dict},
    "model": {"name": str},
    "template": str,
    "metric": str,
    "objective": str,
    "best": [{"text": str}],
    "pick": int,
    "baselines": {"empty": dict, "manual": [dict]},
    "measured": NUMBER,
    "budget": NUMBER,
    "ended": str,
    "tokens": [dict],
    "curve": [list],
    "timing": dict,
}
LATEST = "latest"


def slug(name: str) -> str:
    """A name that is safe in a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[-60:] or "run"


def model_slug(name: str) -> str:
    """Of a hub id, or of the folder that a model is in its own name alone."""
    return slug(Path(name).name if Path(name).is_absolute() else name)


def create(root: Path, config: RunConfig) -> Path:
    """A new folder for a run, with `run.json` in it."""
    folder = new_folder(root, slug(config.name), model_slug(config.model))
    about = {"schema": RUN_SCHEMA, "hardprompt": __version__, "config": config.to_json()}
    write_json(folder / RUN, about)
    return folder


def new_folder(root: Path, *names: str) -> Path:
    """A new folder that is called by these names and the time."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    check_path(str(root), "--output-dir")
    folder = root / "__".join([*names, f"{stamp}-{secrets.token_hex(3)}"])
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise HardpromptError(f"cannot make the run folder '{folder}': {error.strerror}") from None
    return folder


def find(name: str | None, root: Path, mark: str = RUN) -> Path:
    """A run by its folder or name; None or `latest`: the latest under `root`. `mark` is the
    file that it is known by."""
    command = COMMANDS[mark]
    if name is None or name == LATEST:
        found = listed(root, mark)
        if not found:
            raise UsageError(f"no run under '{root}'; start one with: hardprompt {command}")
        return found[-1]
    for folder in (Path(name), root / name):
        try:
            if (folder / mark).is_file():
                return folder
        except OSError as error:
            raise UsageError(f"cannot look for a run in '{folder}': {error.strerror}") from None
    if mark == RUN:
        raise UsageError(
            f"no run '{name}'; 'hardprompt ls runs' shows what there is, and '{LATEST}' is the "
            "latest"
        )
    raise UsageError(f"no run '{name}' of hardprompt {command}, neither here nor under '{root}'")


def listed(root: Path, mark: str = RUN) -> list[Path]:
    """Run folders, oldest first."""
    folders = [path.parent for path in root.glob(f"*/{mark}")]
    return sorted(folders, key=lambda folder: ((folder / mark).stat().st_mtime_ns, folder.name))


def read_config(folder: Path) -> RunConfig:
    return read_made(folder / RUN, RUN_SCHEMA, {})[0]


def read_made(path: Path, schema: str, shape: dict[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
    """The options that a folder was made with, and its whole file, which is of `shape` besides;
    raises with one line where it is of another edition, or damaged."""
    stored = read_json(path)
    wrong = _wrong(stored, schema, {"config": dict, **shape})
    if wrong is not None:
        raise HardpromptError(f"'{path}' {wrong}; it cannot go on: start anew")
    try:
        return RunConfig.from_json(stored["config"]), stored
    except (TypeError, ValueError) as error:  # a value of another type, after an edit by hand
        raise HardpromptError(f"'{path}' holds options that are none: {error}") from None


def read_results(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise UsageError(f"no run in '{folder}': 'hardprompt ls runs' shows what there is")
    if not (folder / RESULTS).is_file():
        raise UsageError(
            f"'{folder}' has no results yet; finish it with: hardprompt search --resume "
            f"{shlex.quote(str(folder))}"
        )
    results = read_json(folder / RESULTS)
    wrong = _wrong(results, RESULTS_SCHEMA, RESULTS_SHAPE)
    if wrong is None and not results["best"]:
        wrong = "is damaged: 'best' lists no prompt"
    if wrong is not None:
        raise HardpromptError(
            f"'{folder / RESULTS}' {wrong}; make it anew with: hardprompt search --resume "
            f"{shlex.quote(str(folder))}"
        )
    return results


def _wrong(content: dict[str, Any], schema: str, shape: dict[str, Any]) -> str | None:
    """Why a file of a run cannot be used, as half a sentence; None where it can."""
    said = content.get("schema")
    if isinstance(said, str) and said != schema:
        return f"is of schema '{said}', this hardprompt reads '{schema}'"
    found = fault(content, shape)
    return None if found is None else f"is damaged: {found}"


def write_results(folder: Path, results: dict[str, Any]) -> None:
    write_json(folder / RESULTS, results)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all: a reader never sees half a file."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Whole or not at all, like `write_json`."""
    with written_whole(path) as file:
        file.write(text)


def read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise HardpromptError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise HardpromptError(f"cannot read '{path}': {error}") from None
    if not isinstance(content, dict):
        raise HardpromptError(f"cannot read '{path}': it is no JSON object")
    return content
