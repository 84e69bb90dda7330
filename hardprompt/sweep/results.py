"""`sweep.json` and `sweep.csv`. `docs/sweep-and-transfer.md` describes the fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from hardprompt.standings import COLUMNS, cell, cells
from hardprompt.sweep.config import Part
from hardprompt.sweep.folder import SweepFolder

SCHEMA = "hardprompt.sweep/1"
ALIKE = ("task", "template", "metric")  # of every part


def assemble(
    folder: SweepFolder, skipped: Mapping[Part, str], levels: Sequence[str]
) -> dict[str, Any]:
    """All figures of a sweep, from the tables of its parts.

    `skipped`: why a part could not be done; one that has a table of an earlier time keeps it.
    """
    config, tables = folder.config, folder.tables()
    common: dict[str, Any] = next(iter(tables.values()), {})
    left = [part for part in config.parts if part not in tables and part not in skipped]
    return {
        "schema": SCHEMA,
        "run": str(folder.path),
        **{key: common.get(key) for key in ALIKE},
        "seeds": list(config.seeds),
        "lengths": list(config.lengths),
        "methods": list(config.methods),
        "levels": list(levels),
        "models": [_model(name, tables) for name in config.models],
        "parts": [
            _part(folder, part, tables.get(part), None if part in tables else skipped.get(part))
            for part in config.parts
            if part not in left
        ],
        "left": [{"model": part.model, "length": part.length} for part in left],
    }


def _model(name: str, tables: Mapping[Part, dict[str, Any]]) -> dict[str, Any]:
    """Size and cost; null where no part of the model is finished."""
    known = next((table for part, table in tables.items() if part.model == name), None)
    about: dict[str, Any] = dict.fromkeys(("parameters", "fingerprint"))
    if known is None:
        return {"name": name, **about, "budget": None}
    return {"name": name, **{key: known["model"][key] for key in about}, "budget": known["budget"]}


def _part(
    folder: SweepFolder, part: Part, table: dict[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    rows = [] if table is None else table["methods"]
    return {
        "model": part.model,
        "length": part.length,
        "skipped": reason,
        "folder": None if table is None else folder.of(part).name,
        "best_discrete": None if table is None else table["best_discrete"],
        "methods": [{key: value for key, value in row.items() if key != "runs"} for row in rows],
    }


def as_csv(results: dict[str, Any]) -> str:
    """One line a model, length and method, with the columns of a comparison behind them."""
    parameters = {model["name"]: model["parameters"] for model in results["models"]}
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(("model", "parameters", "length", *COLUMNS))
    for part in results["parts"]:
        place = [cell(part["model"]), parameters[part["model"]], part["length"]]
        if part["skipped"] is not None:
            writer.writerow([*place, None, cell(part["skipped"])])
        writer.writerows([*place, *cells(row)] for row in part["methods"])
    return file.getvalue()
