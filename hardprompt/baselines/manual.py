"""What a person would write: the task's own manual prompts, the best on dev."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.baselines.base import Bench, Fitted, Method, Unfit, as_text


class Manual(Method):
    """The manual prompt that does best on dev."""

    name: ClassVar[str] = "manual"
    discrete: ClassVar[bool] = True
    portable: ClassVar[bool] = True
    uses_length: ClassVar[bool] = False

    def fit(self, bench: Bench) -> Fitted:
        prompts = bench.session.manual[: int(bench.room // bench.judging)]
        if not bench.session.manual:
            raise Unfit("the task has no manual prompts for this template")
        if not prompts:
            raise Unfit(f"{bench.budget:,.0f} rows are too few to try a prompt on dev")
        quality = {text: bench.judged((text,)) for text in prompts}
        best = max(quality, key=quality.__getitem__)
        return as_text(bench.session, (best,), trained=0, tried=len(prompts))
