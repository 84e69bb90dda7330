"""More measurements of a finished run, on request: `hardprompt inspect --probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hardprompt import runs
from hardprompt.evaluation import Evaluator, without_each_word
from hardprompt.ledger import Ledger
from hardprompt.session import Session


def probe_run(folder: Path, results: dict[str, Any], top: int) -> list[dict[str, Any]]:
    """Loss on dev of each listed prompt without each of its words; kept in the ledger."""
    session = Session.prepare(runs.read_config(folder))
    probed = []
    with Ledger.open(folder / runs.LEDGER) as ledger:
        ledger.check(session.header())
        evaluator = Evaluator(session, ledger)
        for entry in results["best"][:top]:
            label_words = evaluator.words_of(entry)
            loss = evaluator.loss((entry["text"],), "dev", label_words)
            words = without_each_word(evaluator, entry["text"], loss, "dev", label_words)
            probed.append({"text": entry["text"], "loss": loss, "words": words})
    return probed
