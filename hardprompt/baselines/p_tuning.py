"""P-tuning (Liu et al., 2021): the points are what a small network, the prompt encoder, gives."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.baselines.soft import SoftMethod


class _Encoded(SoftMethod):
    """Words that stand in the template as anchors stay words; only the slots are trained.

    After training the network is dropped: its points are kept.
    """

    rates: ClassVar[tuple[float, float]] = (3e-4, 3e-2)
    first_rate: ClassVar[float] = 3e-3


class MlpTuning(_Encoded):
    """Each position by itself through a perceptron."""

    name: ClassVar[str] = "p-tuning-mlp"
    encoder: ClassVar[str] = "mlp"


class LstmTuning(_Encoded):
    """All positions through a bidirectional LSTM and a perceptron."""

    name: ClassVar[str] = "p-tuning-lstm"
    encoder: ClassVar[str] = "lstm"
