"""hardprompt: find the words that make a frozen language model solve a task.

Importing this package loads neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardprompt.prompt import HardPrompt

__all__ = ["HardPrompt", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`HardPrompt` is imported when it is first asked for."""
    if name == "HardPrompt":
        from hardprompt.prompt import HardPrompt

        return HardPrompt
    raise AttributeError(f"module 'hardprompt' has no attribute '{name}'")
