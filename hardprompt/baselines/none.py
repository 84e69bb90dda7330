"""No prompt at all: the template with its slots left empty."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.baselines.base import Bench, Fitted, Method, as_text


class NoPrompt(Method):
    """The empty prompt."""

    name: ClassVar[str] = "none"
    discrete: ClassVar[bool] = True
    portable: ClassVar[bool] = True
    uses_length: ClassVar[bool] = False

    def fit(self, bench: Bench) -> Fitted:
        return as_text(bench.session, bench.session.no_prompt, trained=0)
