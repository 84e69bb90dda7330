"""The prompts of a run on other models: what they are worth there, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hardprompt import runs
from hardprompt.assess import UNSEARCHED, Given, assess
from hardprompt.config import AUTO, RunConfig, check_models
from hardprompt.errors import HardpromptError, UsageError, bare
from hardprompt.report.header import cut_notes
from hardprompt.session import Session
from hardprompt.tasks import load_choice
from hardprompt.transfer_results import Column, as_csv, assemble

RESULTS, RESULTS_CSV = "transfer.json", "transfer.csv"
# Besides: a search's own settings, which a prompt that is given has no use for.
NO_SEARCH: dict[str, Any] = UNSEARCHED | {
    "length": None,
    "min_length": None,
    "vocabulary_top": None,
    "ban": None,
    "settings": (),
    "preset": None,
    "race": False,
    "fluency": 0.0,
    "optuna_storage": None,
}


def transfer(
    folder: Path,
    models: Sequence[str],
    top: int,
    loading: Mapping[str, Any],
    on_model: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """The first `top` prompts of a finished run on its own model and on these, as JSON.

    `loading` are the revision, dtype, device and batch size of a `RunConfig`. A model on which
    nothing can be measured is a column with the reason; raises where that holds for all of these.
    """
    results, config = runs.read_results(folder), runs.read_config(folder)
    _check(models, loading, config)
    if load_choice(config).fingerprint() != results["task"]["fingerprint"]:
        raise HardpromptError(
            f"the rows or words of the task have changed since '{folder}'; search again"
        )
    entries = results["best"][:top]
    config, given = _with_words(config, entries)

    def column(name: str) -> Column:
        on_model(name)
        return _column(_on(config, name, loading), given, results)

    others = [column(name) for name in models]
    failed = [other.error for other in others if other.error is not None]
    if len(failed) == len(others):
        raise failed[0]
    return assemble(folder, results, entries, [column(config.model), *others])


def save(folder: Path, found: dict[str, Any]) -> None:
    """Writes the figures to the run's folder, with a CSV beside them."""
    runs.write_json(folder / RESULTS, found)
    runs.write_text(folder / RESULTS_CSV, as_csv(found))


def _check(models: Sequence[str], loading: Mapping[str, Any], config: RunConfig) -> None:
    check_models(models, loading.get("revision"))
    if config.model in models:
        raise UsageError(f"'{config.model}' is the run's own model, which is always measured")


def _with_words(config: RunConfig, entries: Sequence[Mapping[str, Any]]) -> tuple[RunConfig, Given]:
    """The prompts, and the run's options with only those sets of label words that go with them."""
    words = [tuple(entry["words"].values()) if "words" in entry else None for entry in entries]
    sets = tuple(dict.fromkeys(some for some in words if some is not None))
    prompts = tuple(tuple(slot["text"] for slot in entry["slots"]) for entry in entries)
    numbers = tuple(None if some is None else sets.index(some) for some in words)
    labels = None if config.labels == AUTO else config.labels
    return replace(config, labels=labels, label_sets=sets), Given(prompts, words=numbers)


def _on(config: RunConfig, name: str, loading: Mapping[str, Any]) -> RunConfig:
    """The run's options on a model; its own keeps its revision."""
    options = {key: value for key, value in loading.items() if value is not None}
    revision = config.revision if name == config.model else options.pop("revision", None)
    return replace(config, **NO_SEARCH | options | {"model": name, "revision": revision})


def _column(config: RunConfig, given: Given, results: Mapping[str, Any]) -> Column:
    try:
        session = Session.prepare(config, given.prompts)
        found = assess(session, given)
    except HardpromptError as error:
        return Column(config.model, error=bare(error))
    notes = cut_notes(session.splits.cut)
    info, was = found["model"], results["model"]
    if config.model == was["name"] and info["weights"] != was["weights"]:
        notes.append("these are not the weights that the prompts were found on")
    return Column(config.model, found, notes=notes)
