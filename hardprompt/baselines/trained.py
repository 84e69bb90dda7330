"""Methods that train weights, in the model or beside it, where others search for a prompt."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from hardprompt.adapt.base import Adaptation
from hardprompt.baselines.base import BACKWARD, Bench, Fitted, Method
from hardprompt.baselines.soft_files import write_about
from hardprompt.baselines.training import Training, no_prompt_rows
from hardprompt.baselines.tuning import Settings, rows_of_step, tune
from hardprompt.models.trainable import Copy
from hardprompt.scoring.scorer import score_rows
from hardprompt.types import FloatArray

FOLDER = "weights"  # in the method's own


class TrainedMethod(Method):
    """An adaptation trained on the search rows without a prompt; its rate is chosen on dev.

    Of all states that dev saw, in whichever trial, the best is saved; what predicts is what was
    saved, loaded into a fresh copy of the model.
    """

    rates: ClassVar[tuple[float, float]]  # lowest and highest
    first_rate: ClassVar[float]  # tried first

    @abstractmethod
    def adaptation(self, bench: Bench) -> Adaptation:
        """What is trained; may look at the labels and at the model."""

    def fit(self, bench: Bench) -> Fitted:
        adaptation, folder = self.adaptation(bench), bench.folder / FOLDER
        about = self._train(bench, adaptation, folder)
        loaded = Loaded(bench, type(adaptation), folder)
        return Fitted(predict=loaded.log_probs, write=loaded.written, **about)

    def _train(self, bench: Bench, adaptation: Adaptation, folder: Path) -> dict[str, Any]:
        """Trains, saves the best state to the folder, and says what it is as `Fitted` does."""
        training = Training(bench, adaptation)

        def ask(trial: Any) -> Settings:
            return {"rate": trial.suggest_float("rate", *self.rates, log=True)}

        best, settings, trials = tune(
            bench,
            price=rows_of_step(bench) * (1 + BACKWARD),
            first={"rate": self.first_rate},
            ask=ask,
            train=lambda settings, plan: training.run(settings["rate"], plan),
        )
        training.restore(best.state)
        adapted = training.adapted
        files = [*adaptation.save(adapted, folder), write_about(folder, bench.session)]
        return {
            "trained": sum(weight.numel() for weight in adapted.trained),
            "stored": adapted.stored,
            "n_bytes": 4 * adapted.stored,
            "details": {**settings, **adapted.details, "trials": trials, "files": files},
        }


class Loaded:
    """A fresh copy of the session's model, adapted as a folder says."""

    def __init__(self, bench: Bench, kind: type[Adaptation], folder: Path) -> None:
        copy = Copy.of(bench.session.model)
        self._bench, self._model = bench, copy.scoring(kind.load(folder, copy.module))

    def log_probs(self, split: str) -> FloatArray:
        """`(N, classes)`; of texts to be written `(N, 1)`."""
        labels = self._bench.session.scorers[split].labels
        return score_rows(self._model, no_prompt_rows(self._bench, split), labels)

    def written(self, split: str) -> list[str]:
        """What the model writes for each row."""
        session = self._bench.session
        scorer = session.scorers[split]
        return scorer.on(self._model).written(session.no_prompt, session.decoding)
