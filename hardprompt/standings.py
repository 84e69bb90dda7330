"""The table of a comparison as plain JSON and CSV. `docs/compare.md` describes the fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hardprompt.baselines.base import BACKWARD
from hardprompt.metrics.figures import Outcome, TextFigures
from hardprompt.metrics.seeds import runs_interval
from hardprompt.results import about_decoding
from hardprompt.tables import safe

if TYPE_CHECKING:
    from hardprompt.session import Session

SCHEMA = "hardprompt.compare/2"
SIZES = ("trained", "stored")
COSTS = ("bytes", "rows", "forward", "backward", "seconds", "cpu_seconds")
FIGURES = ("dev", "test")
MEANS = (*SIZES, *COSTS, *FIGURES)
SHARES = tuple(f"{size}_share" for size in SIZES)  # of the model's parameters
INTERVALS = {  # the prefix of a CSV's columns -> the field
    "test": "test_interval",
    "dev_runs": "dev_runs_interval",
    "test_runs": "test_runs_interval",
    "gain": "gain_interval",
}
COLUMNS = (
    "method", "skipped", "readable", "portable", *SIZES, *SHARES, *COSTS, "dev", "dev_runs_low",
    "dev_runs_high", "test", "test_low", "test_high", "test_runs_low", "test_runs_high", "gain",
    "gain_low", "gain_high", "text",
)  # fmt: skip

Records = Mapping[str, Sequence[dict[str, Any]]]  # method -> its record of each seed


def assemble(
    session: Session, seeds: Sequence[int], records: Records, folder: Path
) -> dict[str, Any]:
    """All figures of a comparison; means over the seeds, on the same test rows."""
    fitted = {name: found for name, found in records.items() if not _skipped(found)}
    best = _best_discrete(fitted)
    rival = None if best is None else _outcome(session, fitted[best])
    info, task = session.model.info, session.task
    return {
        "schema": SCHEMA,
        "run": str(folder),
        "task": {
            "name": task.name,
            "version": task.version,
            "kind": task.kind,
            "labels": {label.name: label.word for label in task.labels},
            "rows": {split: len(getattr(task, split)) for split in ("search", "dev", "test")},
        },
        "model": {
            "name": info.name,
            "parameters": info.parameters,
            "fingerprint": info.fingerprint,
        },
        "template": session.template.source,
        "slots": list(session.space.slots),
        "metric": session.metric.name,
        **(about_decoding(session) if task.writes else {}),
        "seeds": list(seeds),
        "budget": {"prompts": session.budget, "rows": session.budget * len(task.search)},
        "gradient_price": session.space.gradient_price,
        "weights_price": 1 + BACKWARD,
        "best_discrete": best,
        "methods": [
            _skip(name, found)
            if name not in fitted
            else _row(session, name, found, None if name == best else rival)
            for name, found in records.items()
        ],
    }


def as_csv(results: dict[str, Any]) -> str:
    """One line a method. A field that a spreadsheet would run as a formula gets a `'` in front."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows(map(cells, results["methods"]))
    return file.getvalue()


def cells(row: dict[str, Any]) -> list[object]:
    """A method's row, column by column of `COLUMNS`."""
    low_high = {
        f"{name}_{end}": bounds[i]
        for name, field in INTERVALS.items()
        if (bounds := row[field]) is not None
        for i, end in enumerate(("low", "high"))
    }
    flat = row | low_high
    return [cell(flat.get(column)) for column in COLUMNS]


def cell(value: object) -> object:
    """A field as it may stand in a CSV file that a spreadsheet opens."""
    return safe(value) if isinstance(value, str) else value


def _skipped(found: Sequence[dict[str, Any]]) -> str | None:
    return next((record["skipped"] for record in found if record["skipped"]), None)


def _best_discrete(fitted: Records) -> str | None:
    """The method of words in the slot that does best on dev; the first of equals."""
    known = [name for name, found in fitted.items() if found[0]["discrete"]]
    return max(known, key=lambda name: _mean(fitted[name], "dev"), default=None)


def _mean(found: Sequence[dict[str, Any]], field: str) -> float:
    return float(np.mean([record[field] for record in found]))


def _outcome(session: Session, found: Sequence[dict[str, Any]]) -> Outcome:
    """Answers to the test rows: of one seed, or of several with an axis in front."""
    judged = session.figures("test")
    if isinstance(judged, TextFigures):
        called = np.stack([judged.outcome(record["test_written"]) for record in found])
    else:
        called = np.array([record["test_predicted"] for record in found], dtype=np.int64)
    return called[0] if len(called) == 1 else called


def _row(
    session: Session, name: str, found: Sequence[dict[str, Any]], rival: Outcome | None
) -> dict[str, Any]:
    judged, called = session.figures("test"), _outcome(session, found)
    gain: list[float] | None = None
    if rival is not None:
        gain = [round(value, 6) for value in judged.gain(called, rival)]
    shown = max(found, key=lambda record: record["dev"])
    means = {field: round(_mean(found, field), 6) for field in MEANS}
    parameters = session.model.info.parameters
    return {
        "method": name,
        "skipped": None,
        "readable": shown["text"] is not None,
        "portable": shown["portable"],
        **means,
        **{f"{size}_share": round(means[size] / parameters, 9) for size in SIZES},
        "test_interval": _rounded(judged.interval(called)),
        **{
            f"{name}_runs_interval": _rounded(runs_interval([record[name] for record in found]))
            for name in FIGURES
        },
        "gain": None if gain is None else gain[0],
        "gain_interval": None if gain is None else gain[1:],
        "text": shown["text"],
        "tuned": _tuned(found),
        "runs": [
            {key: record[key] for key in ("seed", "dev", "test", "text", "details")}
            for record in found
        ],
    }


def _tuned(found: Sequence[dict[str, Any]]) -> bool | None:
    """Whether with every seed a second training was tried; None where nothing is trained."""
    trials = [record["details"]["trials"] for record in found if "trials" in record["details"]]
    return all(len(tried) > 1 for tried in trials) if trials else None


def _rounded(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [round(bound, 6) for bound in bounds]


def _skip(name: str, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(
        ("readable", "portable", *MEANS, *SHARES, *INTERVALS.values(), "gain", "text", "tuned")
    )
    return {"method": name, "skipped": _skipped(found), **empty, "runs": []}
