"""hardprompt: find the words that make a frozen language model solve a task.

Importing this package loads neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardprompt.bank.bank import PromptBank
    from hardprompt.prompt import HardPrompt

__all__ = ["HardPrompt", "PromptBank", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The classes are imported when they are first asked for."""
    if name == "HardPrompt":
        from hardprompt.prompt import HardPrompt

        return HardPrompt
    if name == "PromptBank":
        from hardprompt.bank.bank import PromptBank

        return PromptBank
    raise AttributeError(f"module 'hardprompt' has no attribute '{name}'")
