"""Adaptations that `peft` makes (`pip install '.[compare]'`): attached in place, and
saved as it saves them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from hardprompt.adapt.base import Adaptation, Adapted
from hardprompt.adapt.peft_files import CONFIG, WEIGHTS, base_of, read_adapter
from hardprompt.adapt.tensors import trained_tensors, write_tensors
from hardprompt.errors import HardpromptError, UnfitModel

ADAPTER = ".default."  # in names of parameters; left out on disk
ROOT = "base_model.model."  # before all names on disk


def import_peft(name: str) -> Any:
    """The package, for the adaptation of that name."""
    try:
        import peft
    except ImportError:
        raise UnfitModel(f"{name} needs peft: pip install peft") from None
    return peft


def attach(peft: Any, model: Any, config: Any, rng: np.random.Generator, **details: Any) -> Adapted:
    """What `peft` adds to the model, drawn from `rng`; nothing else is left to train."""
    with _apart(model):
        torch.manual_seed(int(rng.integers(2**31)))
        # The model of transformers itself, which peft has changed, knows `logits_to_keep`.
        inner = peft.get_peft_model(model, config).get_base_model().eval()
    trained = [weight for weight in inner.parameters() if weight.requires_grad]
    return Adapted(inner, trained, sum(weight.numel() for weight in trained), details)


def save(adapted: Adapted, config: Any, folder: Path) -> list[str]:
    """Writes what `PeftModel.from_pretrained` reads; returns the names of the files."""
    tensors = trained_tensors(adapted).items()
    weights = write_tensors(
        folder / WEIGHTS, {ROOT + name.replace(ADAPTER, "."): weight for name, weight in tensors}
    )
    for key, value in base_of(adapted.model).items():
        setattr(config, key, value)
    config.save_pretrained(str(folder))
    return [CONFIG, weights]


def load(peft: Any, folder: Path, model: Any, kind: str) -> Any:
    """A saved adaptation on a fresh model, frozen."""
    read_adapter(folder, kind)  # in one line what is wrong; peft would also read a pickle
    try:
        with _apart(model):
            loaded = peft.PeftModel.from_pretrained(model, str(folder))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise HardpromptError(f"'{folder}' does not belong to this model: {reason}") from None
    return loaded.get_base_model().eval().requires_grad_(False)


class ThroughPeft(Adaptation):
    """An adaptation that is `peft`'s own, by its settings."""

    kind: ClassVar[str]  # what `peft` calls it

    @abstractmethod
    def _config(self, peft: Any, model: Any) -> Any:
        """Its settings as `peft` takes them; raises `UnfitModel`."""

    def save(self, adapted: Adapted, folder: Path) -> list[str]:
        return save(adapted, self._config(import_peft(self.name), adapted.model), folder)

    @classmethod
    def load(cls, folder: Path, model: Any) -> Any:
        return load(import_peft(cls.name), folder, model, cls.kind)


@contextmanager
def _apart(model: Any) -> Iterator[None]:
    """Leaves torch's global generators as they were, and is silent of names that peft still uses
    and transformers has given up."""
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
