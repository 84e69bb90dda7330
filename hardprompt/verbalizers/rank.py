"""Ways to say how well each word would stand for each class, from what the model itself says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hardprompt.baselines.linear import fit_logistic
from hardprompt.errors import UsageError
from hardprompt.scoring.plan import group_rows
from hardprompt.session import Session
from hardprompt.types import BoolArray, FloatArray, IntArray

LIKELY = 400  # words that may be named; what is said of rarer ones moves by chance


@dataclass(frozen=True)
class Evidence:
    """What the model holds of the search rows where it would write the label word, with a prompt
    in place."""

    gold: IntArray  # (N,)
    states: FloatArray  # (N, dim) what the output layer reads
    embeddings: FloatArray  # (v, dim) the output layer's row of each word
    log_probs: FloatArray  # (classes, v) mean log p(word | row) over the class' rows
    log_odds: FloatArray  # (classes, v) mean log(p / (1 - p)) over the class' rows
    counts: IntArray  # (classes,) rows
    seed: int

    @classmethod
    def gather(cls, session: Session, prompts: Sequence[str], tokens: IntArray) -> Evidence:
        """Reads every search row twice; only sums over the rows of a class are kept of words."""
        scorer, gold, model = session.scorers["search"], session.gold("search"), session.model
        rows = scorer.renderer.rows([prompts] * len(scorer.texts), scorer.texts)
        counts = np.bincount(gold, minlength=len(session.task.labels))
        if not counts.all():
            raise UsageError("every label needs a search row; raise --search-rows")
        sums = np.zeros((2, len(counts), len(tokens)))
        states: list[tuple[IntArray, FloatArray]] = []
        for group in group_rows(rows, range(len(rows))):
            states.append((group.examples, model.output_states(group)))
            for members, found in model.word_log_probs(group, tokens):
                log_probs = np.minimum(found.astype(np.float64), -1e-9)  # a sure word has odds, too
                classes = gold[group.examples[members]]
                np.add.at(sums[0], classes, log_probs)
                np.add.at(sums[1], classes, log_probs - np.log(-np.expm1(log_probs)))
        order = np.concatenate([examples for examples, _ in states]).argsort()
        return cls(
            gold,
            np.concatenate([found for _, found in states])[order],
            model.output_embeddings(tokens),
            sums[0] / counts[:, None],
            sums[1] / counts[:, None],
            counts,
            session.config.seed,
        )

    def common(self) -> BoolArray:
        """`(v,)` which words are likely at all: the first by mean log-probability on all rows."""
        total = (self.log_probs * self.counts[:, None]).sum(axis=0)
        among: BoolArray = np.argsort(np.argsort(-total, kind="stable")) < LIKELY
        return among


def probe(evidence: Evidence) -> FloatArray:
    """A linear classifier of the states, applied to the words' embeddings (AutoPrompt, Shin et
    al., 2020, section 2.3): log-odds of each class, which rank as its probability does."""
    # One scale for all directions, so that the strength of the regularisation means the same
    # for every model; the directions themselves stay as the output layer sees them.
    scale = np.linalg.norm(evidence.states - evidence.states.mean(axis=0), axis=1).mean()
    rng = np.random.default_rng(evidence.seed)
    model, _ = fit_logistic(
        "passthrough", evidence.states / max(float(scale), 1e-12), evidence.gold, rng
    )
    weights = model[-1].coef_
    if len(weights) == 1:  # two classes: the second against the first
        weights = np.concatenate([-weights, weights]) / 2
    return _against_others(weights @ evidence.embeddings.T)


def likely(evidence: Evidence) -> FloatArray:
    """Mean log-probability on the rows of the class (LM-BFF, Gao et al., 2021, section 5.1)."""
    return evidence.log_probs


def ratio(evidence: Evidence) -> FloatArray:
    """Mean log-odds on the rows of the class above that on all others (PETAL, Schick et al., 2020;
    OpenPrompt's automatic verbalizer): the likelihood alone gives every class the same words."""
    counts = evidence.counts[:, None]
    sums = evidence.log_odds * counts
    others = (sums.sum(axis=0) - sums) / (counts.sum() - counts)
    gain: FloatArray = evidence.log_odds - others
    return gain


WAYS: dict[str, Callable[[Evidence], FloatArray]] = {
    "probe": probe,
    "ratio": ratio,
    "likely": likely,
}


def _against_others(logits: FloatArray) -> FloatArray:
    """`(classes, v)` logits -> log-odds of each class against all others."""
    n_classes = len(logits)
    others = np.stack([np.delete(logits, c, axis=0) for c in range(n_classes)])
    odds: FloatArray = logits - np.logaddexp.reduce(others, axis=1)
    return odds
