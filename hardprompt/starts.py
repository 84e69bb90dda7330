"""Prompts to begin a search with: manual ones, or those that a user gives, as tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardprompt.config import STARTS, RunConfig
from hardprompt.halves import check_whole
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.tasks import Task
from hardprompt.types import EMPTY, IntArray


def start_texts(config: RunConfig, task: Task, template: str) -> list[str]:
    texts: list[str] = []
    for start in config.start:
        if start == "manual":
            texts += task.manual.get(template, ())
        elif start not in STARTS:
            check_whole(start, "--start")
            texts.append(start)
    return texts


def seed_rows(scorer: Scorer, space: SearchSpace, texts: Sequence[str]) -> IntArray | None:
    """Prompts as rows of allowed tokens, EMPTY where too short; words that bear the hint stay.

    Words outside the vocabulary are left out. Too long a prompt keeps its end, which stands
    next to the text or the label; None where nothing is left.
    """
    if len(space.slots) > 1:
        return None
    allowed = set(space.tokens.tolist())
    codec = scorer.renderer.codec
    n = len(codec.encode("a"))
    rows = []
    for text in texts:
        plain = text.replace("?", " ").replace(":", " ").replace(",", " ").replace(".", " ")
        ids = codec.encode("a " + " ".join(plain.split()).lower())[n:]
        kept = [i for i in ids if i in allowed][-space.length :]
        if kept:
            rows.append(kept + [EMPTY] * (space.length - len(kept)))
    if not rows:
        return None
    unique = list(dict.fromkeys(map(tuple, rows)))
    return np.array(unique, dtype=np.int64)
