"""Names of methods -> classes. Adding a method is one file and one line here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
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
    "bbt": "hardprompt.baselines.bbt:BlackBoxTuning",
    "prompt-tuning": "hardprompt.baselines.prompt_tuning:PromptTuning",
    "p-tuning-mlp": "hardprompt.baselines.p_tuning:MlpTuning",
    "p-tuning-lstm": "hardprompt.baselines.p_tuning:LstmTuning",
    "prefix": "hardprompt.baselines.prefix:PrefixTuning",
    "llama-adapter": "hardprompt.baselines.llama_adapter:GatedPrompts",
    "lora": "hardprompt.baselines.lora:LowRank",
    "adapter": "hardprompt.baselines.adapters:Adapters",
    "top-2": "hardprompt.baselines.weights:TopBlocks",
    "fine-tune": "hardprompt.baselines.weights:FineTune",
    "tf-idf": "hardprompt.baselines.linear:TfIdf",
    "probe": "hardprompt.baselines.linear:Probe",
}
# A name that stands for several.
GROUPS = {"p-tuning": ("p-tuning-mlp", "p-tuning-lstm"), "linear": ("tf-idf", "probe")}
ALL = "all"
# Methods of any size, in per cent of the model's parameters: adapter-3 is one. Without a size the
# name stands for all of `SHARES`.
SIZED = ("adapter",)
SHARES = ("3", "0.1")
DEFAULT = ("none", "manual", "shots", "search", "relax", "prompt-tuning", "p-tuning", "linear")


def expand(names: Iterable[str], shares: Sequence[str] = ()) -> tuple[str, ...]:
    """Names as a user gives them -> methods, in the order of the table, each once.

    `shares` are sizes that names without a size stand for; none: the usual ones.
    """
    wanted: set[str] = set()
    given = list(names)
    for name in given:
        for one in METHODS if name == ALL else GROUPS.get(name, (name,)):
            wanted |= set(_sizes(one, shares or SHARES)) if one in SIZED else {_known(one)}
    if not wanted:
        raise UsageError(f"--methods is empty; there are: {', '.join((*DEFAULT, *SIZED, ALL))}")
    if shares and not {*SIZED, ALL} & set(given):
        raise UsageError(f"--share sets sizes of '{SIZED[0]}', but --methods has none")
    return tuple(sorted(wanted, key=_place))


def make_method(name: str) -> Method:
    """The method of that name."""
    kind, size = _split(name)
    module, _, attribute = METHODS[kind].partition(":")
    make = getattr(import_module(module), attribute)
    made: Method = make() if size is None else make(size / 100)
    return made


def _sizes(kind: str, shares: Iterable[str]) -> list[str]:
    return [_known(f"{kind}-{share.removesuffix('%')}") for share in shares]


def _known(name: str) -> str:
    """The method's name as it is written everywhere; raises `UsageError`."""
    kind, size = _split(name)
    if size is None:
        if kind not in METHODS:
            raise unknown("method", name, [*METHODS, *GROUPS, ALL])
        return kind
    if not 0 < size <= 100:
        raise UsageError(f"--share is in per cent, above 0 and up to 100; got '{size:g}%'")
    return f"{kind}-{Decimal(f'{size:g}'):f}"  # never 1e-05: a dash ends the kind


def _split(name: str) -> tuple[str, float | None]:
    """A method's name and its size in per cent, where it has one."""
    kind, dash, size = name.partition("-")
    if kind not in SIZED or not dash:
        return name, None
    try:
        return kind, float(size)
    except ValueError:
        raise UsageError(
            f"'{size}' is no share of the weights; write for example --share 3%,0.1%"
        ) from None


def _place(name: str) -> tuple[int, float]:
    """Where it stands in the table: the larger of a kind first."""
    kind, size = _split(name)
    return list(METHODS).index(kind), -(size or 0.0)
