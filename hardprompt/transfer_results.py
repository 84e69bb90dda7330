"""`transfer.json` and `transfer.csv`. `docs/sweep-and-transfer.md` describes the fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardprompt.errors import HardpromptError
from hardprompt.standings import cell

SCHEMA = "hardprompt.transfer/1"
COPIED = ("task", "template", "metric", "objective")  # from the results of the run
COLUMNS = (
    "model", "parameters", "own", "skipped", "kind", "number", "text", "tokens", "certified",
    "dev", "test", "test_low", "test_high", "gain", "gain_low", "gain_high",
)  # fmt: skip

Entry = Mapping[str, Any]  # a prompt with its figures, as in results.json


@dataclass(frozen=True)
class Column:
    """One model: what was measured on it, as `hardprompt eval` gives it, or why nothing was."""

    model: str
    found: dict[str, Any] | None = None
    error: HardpromptError | None = None
    notes: Sequence[str] = ()


def assemble(
    folder: Path, results: Mapping[str, Any], entries: Sequence[Entry], columns: Sequence[Column]
) -> dict[str, Any]:
    """`prompts[i]["cells"][j]` is prompt i on `models[j]`; the run's own model is the first."""
    cells = [_cells(entries, column) for column in columns]
    return {
        "schema": SCHEMA,
        "run": str(folder),
        **{key: results[key] for key in COPIED},
        "models": [
            _about(column, own, number == 0)
            for number, (column, own) in enumerate(zip(columns, cells, strict=True))
        ],
        "prompts": [
            {
                "text": entry["text"],
                **({"words": entry["words"]} if "words" in entry else {}),
                "cells": [own[number] for own in cells],
            }
            for number, entry in enumerate(entries)
        ],
    }


def _cells(entries: Sequence[Entry], column: Column) -> list[dict[str, Any] | None]:
    """What each prompt is worth on one model, in the order of the run."""
    if column.found is None:
        return [None] * len(entries)
    known = {_key(found): found for found in column.found["prompts"]}
    left_out = ("text", "words", "source", "per_class")
    return [
        {key: value for key, value in known[_key(entry)].items() if key not in left_out}
        for entry in entries
    ]


def _key(entry: Entry) -> tuple[str, ...]:
    return (entry["text"], *entry.get("words", {}).values())


def _about(column: Column, cells: Sequence[Entry | None], own: bool) -> dict[str, Any]:
    """A model, its baselines, and which prompt dev would choose there."""
    about: dict[str, Any] = {"name": column.model, "own": own, "skipped": None}
    if column.found is None:
        about["skipped"] = str(column.error)
        return about | dict.fromkeys(("model", "best", "baselines", "notes"))
    dev = [-1.0 if entry is None else entry["dev"] for entry in cells]
    best = max(range(len(dev)), key=dev.__getitem__)  # the first of equals, as in the run
    return about | {
        "model": column.found["model"],
        "best": best,
        "baselines": column.found["baselines"],
        "notes": list(column.notes),
    }


def as_csv(results: Mapping[str, Any]) -> str:
    """One line a model and prompt, with no prompt and the manual ones among them."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    for number, model in enumerate(results["models"]):
        place = {key: model[key] for key in ("own", "skipped")} | {"model": model["name"]}
        if model["skipped"] is not None:
            writer.writerow({key: cell(value) for key, value in place.items()})
            continue
        place["parameters"] = model["model"]["parameters"]
        for line in _lines(results, number):
            writer.writerow({key: cell(value) for key, value in (place | line).items()})
    return file.getvalue()


def _lines(results: Mapping[str, Any], number: int) -> Iterator[dict[str, Any]]:
    """The prompts of one model as lines of a table."""
    for place, prompt in enumerate(results["prompts"], start=1):
        yield _line(prompt["cells"][number], "found", place, prompt["text"])
    baselines = results["models"][number]["baselines"]
    yield _line(baselines["empty"], "empty", None, "")
    for place, entry in enumerate(baselines["manual"], start=1):
        yield _line(entry, "manual", place, entry["text"])


def _line(entry: Entry, kind: str, number: int | None, text: str) -> dict[str, Any]:
    low, high = entry["test_interval"] or (None, None)
    gain_low, gain_high = entry["gain_empty_interval"] or (None, None)
    return {
        "kind": kind,
        "number": number,
        "text": text,
        "tokens": len(entry["ids"]),
        "certified": entry["certified"],
        "dev": entry["dev"],
        "test": entry["test"],
        "test_low": low,
        "test_high": high,
        "gain": entry["gain_empty"],
        "gain_low": gain_low,
        "gain_high": gain_high,
    }
