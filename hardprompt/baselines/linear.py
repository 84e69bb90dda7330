"""What needs no prompt at all: linear classifiers of word counts and of hidden states."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hardprompt.baselines.base import Bench, Fitted, Method, Unfit
from hardprompt.session import Session
from hardprompt.types import FloatArray, IntArray

STRENGTHS = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)  # C, the inverse of the regularisation
FOLDS, ITERATIONS = 5, 2000


class TfIdf(Method):
    """Logistic regression on TF-IDF of words and pairs of words; reads no row with the model."""

    name: ClassVar[str] = "tf-idf"
    writes: ClassVar[bool] = False
    portable: ClassVar[bool] = True
    uses_length: ClassVar[bool] = False

    def fit(self, bench: Bench) -> Fitted:
        session = bench.session
        vectors = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]"
        )
        model, strength = _fit(vectors, session.scorers["search"].texts, bench)
        words = "\n".join(model[0].vocabulary_)
        numbers = _numbers(model) + len(model[0].idf_)
        return Fitted(
            predict=lambda split: _log_probs(model, session.scorers[split].texts, session),
            trained=_numbers(model),
            stored=numbers,
            n_bytes=4 * numbers + len(words.encode()),
            details={"C": strength},
        )


class Probe(Method):
    """Logistic regression on the frozen model's last hidden state before the label word."""

    name: ClassVar[str] = "probe"
    writes: ClassVar[bool] = False
    uses_length: ClassVar[bool] = False

    def fit(self, bench: Bench) -> Fitted:
        session = bench.session
        empty = session.no_prompt
        bench.spend(len(session.task.search))
        states = session.scorers["search"].hidden(empty)
        model, strength = _fit(StandardScaler(), states, bench)
        numbers = _numbers(model) + 2 * states.shape[1]
        return Fitted(
            predict=lambda split: _log_probs(model, session.scorers[split].hidden(empty), session),
            trained=_numbers(model),
            stored=numbers,
            n_bytes=4 * numbers,
            details={"C": strength},
        )


def _fit(first: Any, inputs: Any, bench: Bench) -> tuple[Pipeline, float]:
    gold = bench.session.gold("search")
    if len(np.unique(gold)) < 2:
        raise Unfit("the search rows all have one label, which leaves nothing to tell apart")
    return fit_logistic(first, inputs, gold, bench.rng)


def fit_logistic(
    first: Any, inputs: Any, gold: IntArray, rng: np.random.Generator
) -> tuple[Pipeline, float]:
    """Logistic regression behind `first`, and its C, chosen by cross-validation on these rows."""
    pipeline = make_pipeline(first, LogisticRegression(max_iter=ITERATIONS))
    _, counts = np.unique(gold, return_counts=True)  # of the classes that have a row
    folds = min(FOLDS, int(counts.min()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if folds < 2:  # a class with a single row leaves nothing to validate on
            return pipeline.fit(inputs, gold), 1.0
        split = StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
        grid = {"logisticregression__C": list(STRENGTHS)}
        search = GridSearchCV(pipeline, grid, cv=split, scoring="neg_log_loss")
        search.fit(inputs, gold)
    return search.best_estimator_, float(search.best_params_["logisticregression__C"])


def _numbers(model: Pipeline) -> int:
    """Weights and intercepts."""
    return int(model[-1].coef_.size + model[-1].intercept_.size)


def _log_probs(model: Pipeline, inputs: Any, session: Session) -> FloatArray:
    """`(N, classes)`; minus infinity for a class without a search row, as a rare one may be."""
    with np.errstate(divide="ignore"):  # so sure that the others have nothing left
        known = model.predict_log_proba(inputs)
    found: FloatArray = np.full((len(known), len(session.task.labels)), -np.inf)
    found[:, model.classes_] = known
    return found
