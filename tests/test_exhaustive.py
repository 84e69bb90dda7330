"""Exhaustive search on a real small model equals a brute-force loop, with and without dropping."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from hardprompt.config import RunConfig
from hardprompt.search import Search
from hardprompt.session import Session
from tests.conftest import shared

KEEP = 20


@pytest.fixture(scope="module")
def config():
    return RunConfig(
        task="sentiment",
        model=str(shared("models/stories260K")),
        length=2,
        strategy="exhaustive",
        search_rows=16,
        budget=10**6,
    )


@pytest.fixture(scope="module")
def brute_force(config):
    """`{prompt text: loss}` of every two words, each scored as text, one prompt at a time."""
    session = Session.prepare(config)
    scorer, gold = session.scorers["search"], session.gold("search")
    codec = session.model.codec
    words = [codec.piece([int(token)]) for token in session.vocabulary.tokens]
    found = {}
    # This tokenizer reads a text as if a space stood before it; the template brings no other.
    for prompt in ("".join(pair)[1:] for pair in product(words, words)):
        log_probs = scorer.by_text((prompt,))
        found[prompt] = -log_probs[np.arange(len(gold)), gold].mean()
    return found


@pytest.mark.parametrize("dropping", [True, False])
def test_the_best_twenty_equal_a_brute_force_loop(config, brute_force, tmp_path, dropping, capsys):
    session = Session.prepare(replace(config, dropping=dropping))
    search = Search(session, tmp_path)
    search.run()
    ranking = search.study.ranking()[:KEEP]
    best = sorted(brute_force, key=brute_force.get)[:KEEP]
    assert [search.show(found.ids) for found in ranking] == best
    losses = [brute_force[text] for text in best]
    np.testing.assert_allclose([found.loss for found in ranking], losses, atol=1e-5)
    objective = session.objective
    with capsys.disabled():
        print(
            f"\n  {len(brute_force)} prompts, dropping {dropping}: "
            f"{objective.pairs_saved} of {objective.pairs} pairs saved"
        )
