"""A run's prompts as trials of an Optuna study, for optuna-dashboard to look at.

The run's ledger stays the truth: nothing is ever read back but which prompts are there already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from hardprompt.config import HIDDEN, without_password
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.quiet import quiet_optuna
from hardprompt.space import SearchSpace
from hardprompt.study import Found
from hardprompt.types import EMPTY

OBJECTIVES = ("loss", "fluency", "length")  # all lower is better; fluency is a mean NLL


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """An Optuna storage by its URL, or a journal file by its path; a `UsageError` if it cannot be
    opened."""
    if HIDDEN in url:
        raise UsageError(
            f"a run does not keep the password of '{url}'; give --optuna-storage beside --resume"
        )
    storage: optuna.storages.BaseStorage
    try:
        with quiet_optuna():
            storage = RDBStorage(url) if "://" in url else _journal(Path(url))
            storage.get_all_studies()
    except Exception as error:  # whatever a driver, a server or a file may raise
        raise UsageError(
            f"cannot open --optuna-storage '{without_password(url)}': {_first_line(error)}. It is "
            "a URL such as sqlite:///study.db, or the path of a journal file"
        ) from error
    return storage


def _journal(path: Path) -> JournalStorage:
    if path.exists():
        with path.open("rb") as file:
            first = file.readline()
        # Optuna would write behind whatever stands there.
        if first and not first.startswith(b'{"op_code"'):
            raise ValueError("the file is no journal of Optuna")
    return JournalStorage(JournalFileBackend(str(path)))


class Mirror:
    """One study, called after the run; each measured prompt is a trial with its tokens as
    parameters and its text as an attribute."""

    def __init__(self, url: str, name: str, space: SearchSpace, pareto: bool) -> None:
        self.seen = 0  # prompts of the run that are known to be in the study
        self._url, self._pareto = url, pareto
        highest = int(space.embeddings.shape[0]) - 1
        # One range for all, since a categorical of a whole vocabulary would be written out with
        # every trial.
        token = optuna.distributions.IntDistribution(EMPTY, highest)
        self._distributions: dict[str, BaseDistribution] = {
            f"token{place}": token for place in range(space.length)
        }
        storage = open_storage(url)
        with self._writing():
            self._study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=["minimize"] * (len(OBJECTIVES) if pareto else 1),
                load_if_exists=True,
            )
            self._study.set_metric_names(list(OBJECTIVES) if pareto else ["loss"])
            trials = self._study.get_trials(deepcopy=False)
            self._there = {self._key(trial.params) for trial in trials}

    def add(self, prompts: Sequence[tuple[Found, str]]) -> None:
        """Mirrors prompts and their texts, in the order of the run; those that are there already,
        as after a resume, are passed over."""
        with self._writing():
            for found, text in prompts:
                params = dict(zip(self._distributions, found.ids.tolist(), strict=True))
                if self._key(params) not in self._there:
                    self._study.add_trial(self._trial(found, params, text))
                    self._there.add(self._key(params))
                self.seen += 1

    def _trial(self, found: Found, params: dict[str, int], text: str) -> optuna.trial.FrozenTrial:
        values = [found.loss]
        if self._pareto:
            assert found.fluency is not None  # who keeps a front asks for it
            values += [found.fluency, float((found.ids != EMPTY).sum())]
        return optuna.trial.create_trial(
            params=params,
            distributions=self._distributions,
            values=values,
            user_attrs={"prompt": text},
        )

    def _key(self, params: dict[str, Any]) -> tuple[int, ...]:
        return tuple(params[name] for name in self._distributions)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with quiet_optuna():
                yield
        except Exception as error:
            raise HardpromptError(
                f"cannot write to --optuna-storage '{without_password(self._url)}': "
                f"{_first_line(error)}; what was measured is safe: go on with --resume"
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
