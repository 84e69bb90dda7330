"""What a search may spend by default, and what it could never afford."""

from __future__ import annotations

from hardprompt.errors import UsageError
from hardprompt.models.base import PromptModel
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Strategy
from hardprompt.strategies.exhaustive import Exhaustive

# The default budget is so much work of the model, two operations for each weight and token;
# in half precision more of it takes the same time.
DEFAULT_WORK, SCREENED_WORK = 8.0e12, 1.2e13
FEWEST, MOST = 120, 4000


def default_budget(model: PromptModel, scorer: Scorer, screened: bool) -> float:
    """Candidates that cost about the same work whatever the model: a figure, not a clock, so
    that the same command is the same search wherever it runs in the same precision."""
    tokens = sum(row.length for row in scorer.rows)
    if scorer.texts_first:
        tokens -= sum(len(row.segments[0]) for row in scorer.rows)
        tokens += sum(scorer.slots) * len(scorer.rows)
    work = SCREENED_WORK if screened else DEFAULT_WORK
    return float(min(MOST, max(FEWEST, round(work / (2 * model.info.parameters * tokens)))))


def check_affordable(strategy: Strategy, space: SearchSpace) -> None:
    """A search that cannot end, or cannot find anything, is a mistake; said before anything is
    spent."""
    if isinstance(strategy, Exhaustive) and space.size > space.budget:
        v = space.fitting(space.budget)
        narrower = f"--vocab-top {v}" if v > 1 else "a smaller --len"
        raise UsageError(
            f"exhaustive over {len(space.tokens):,} tokens and length {space.length} needs "
            f"{space.size_text} measurements; the budget is {space.budget:,.0f}. Narrow it with "
            f"{narrower}, raise --budget, or take another strategy"
        )
    least = strategy.least_budget(space)
    if space.budget <= least:
        raise UsageError(
            f"{strategy.name} with these settings measures {least:,.0f} beginnings before its "
            f"first whole prompt of {space.shortest} tokens; the budget is {space.budget:,.0f}. "
            "Raise --budget, or take a smaller --len, or fewer at a time with --set"
        )
