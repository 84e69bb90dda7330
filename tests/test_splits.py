"""Texts are cut for every prompt that is scored on them."""

from dataclasses import replace

import numpy as np

from hardprompt import session as sessions
from hardprompt.config import RunConfig
from hardprompt.scoring.compile import SPARE
from hardprompt.session import Session
from hardprompt.tasks import Example, load_task

LONG = "one of the many reviews of films that people write, and it says of this one:" * 3


def test_a_manual_prompt_far_longer_than_the_slot_fits_beside_every_text(make_model, monkeypatch):
    """GPT-2 has a table of positions, and what lies beyond it cannot be read."""
    _, model = make_model("gpt2")
    task = load_task("sentiment", search_rows=4)
    rows = (*task.search[:3], Example("a long story " * 200, task.search[3].label))
    task = replace(task, search=rows, manual=dict.fromkeys(task.templates, (LONG,)))
    monkeypatch.setattr(sessions, "load_choice", lambda _: task)
    ready = Session.prepare(RunConfig(strategy="random", length=2, budget=4), model=model)
    assert len(model.codec.encode(LONG)) > 2 + SPARE
    assert ready.manual == (LONG,)
    assert ready.splits.cut["search"] == 1
    assert np.isfinite(ready.scorers["search"].by_text([LONG])).all()
