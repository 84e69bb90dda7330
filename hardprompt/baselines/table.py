"""Names of methods -> classes. Adding a method is one file and one line here."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from hardprompt.errors import UsageError, unknown

if TYPE_CHECKING:
    from hardprompt.baselines.base import Method

# In the order of the table. Modules are named, not imported: most need torch.
METHODS = {
    "none": "hardprompt.baselines.none:NoPrompt",
    "manual": "hardprompt.baselines.manual:Manual",
    "shots": "hardprompt.baselines.shots:Shots",
    "search": "hardprompt.baselines.search:Searched",
    "relax": "hardprompt.baselines.relax:Relaxed",
    "prompt-tuning": "hardprompt.baselines.prompt_tuning:PromptTuning",
    "p-tuning-mlp": "hardprompt.baselines.p_tuning:MlpTuning",
    "p-tuning-lstm": "hardprompt.baselines.p_tuning:LstmTuning",
    "tf-idf": "hardprompt.baselines.linear:TfIdf",
    "probe": "hardprompt.baselines.linear:Probe",
}
# A name that stands for several.
GROUPS = {"p-tuning": ("p-tuning-mlp", "p-tuning-lstm"), "linear": ("tf-idf", "probe")}
DEFAULT = ("none", "manual", "shots", "search", "relax", "prompt-tuning", "p-tuning", "linear")


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Names as a user gives them -> methods, in the order of the table, each once."""
    wanted: set[str] = set()
    for name in names:
        if name not in METHODS and name not in GROUPS:
            raise unknown("method", name, [*METHODS, *GROUPS])
        wanted |= set(GROUPS.get(name, (name,)))
    if not wanted:
        raise UsageError(f"--methods is empty; there are: {', '.join(DEFAULT)}")
    return tuple(name for name in METHODS if name in wanted)


def make_method(name: str) -> Method:
    """The method of that name."""
    module, _, attribute = METHODS[name].partition(":")
    made: Method = getattr(import_module(module), attribute)()
    return made
